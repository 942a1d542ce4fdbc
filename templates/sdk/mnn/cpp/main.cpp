// One call of the model on MNN: demo FOLDER [INPUT.bin ...]
#include <MNN/expr/Executor.hpp>
#include <MNN/expr/ExprCreator.hpp>
#include <MNN/expr/Module.hpp>

#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <string>

#include "model.hpp"

namespace {

halide_type_t element_type(const std::string& dtype) {
  if (dtype == "float32") return halide_type_of<float>();
  if (dtype == "int32") return halide_type_of<int32_t>();
  if (dtype == "uint8") return halide_type_of<uint8_t>();
  if (dtype == "int8") return halide_type_of<int8_t>();
  throw std::runtime_error("MNN has no elements of type " + dtype);
}

std::vector<std::string> names(const std::vector<model::Tensor>& tensors) {
  std::vector<std::string> found;
  for (const auto& tensor : tensors) found.push_back(tensor.engine);
  return found;
}

}  // namespace

int main(int argc, char** argv) try {
  using namespace MNN::Express;
  const auto inputs = model::read_inputs(argc, argv);

  MNN::BackendConfig precise;
  precise.precision = MNN::BackendConfig::Precision_High;
  MNN::ScheduleConfig config;
  config.type = MNN_FORWARD_CPU;
  config.numThread = 1;
  config.backendConfig = &precise;
  const std::shared_ptr<Executor::RuntimeManager> runtime(
      Executor::RuntimeManager::createRuntimeManager(config), Executor::RuntimeManager::destroy);
  const std::string path = std::string(argv[1]) + "/" + model::kFile;
  const std::shared_ptr<Module> network(
      Module::load(names(model::kInputs), names(model::kOutputs), path.c_str(), runtime),
      Module::destroy);
  if (network == nullptr) throw std::runtime_error("MNN does not load " + path);

  std::vector<VARP> given;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& tensor = model::kInputs[i];
    // NC4HW4 is MNN's own layout; what is given is NCHW then.
    auto order = network->getInfo()->inputs[i].order;
    if (order == NC4HW4) order = NCHW;
    const std::vector<int> shape(tensor.shape.begin(), tensor.shape.end());
    auto variable = _Input(shape, order, element_type(tensor.dtype));
    std::memcpy(variable->writeMap<void>(), inputs[i].data(), inputs[i].size());
    given.push_back(variable);
  }
  const auto answers = network->onForward(given);
  if (answers.size() != model::kOutputs.size()) throw std::runtime_error("MNN cannot run the model");
  for (size_t i = 0; i < answers.size(); ++i) {
    const auto* info = answers[i]->getInfo();
    const void* data = answers[i]->readMap<void>();
    if (info == nullptr || data == nullptr) throw std::runtime_error("MNN cannot run the model");
    model::print(model::kOutputs[i], {info->dim.begin(), info->dim.end()}, data);
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
