// One call of the model on OpenVINO: demo FOLDER [INPUT.bin ...]
#include <openvino/openvino.hpp>

#include <cstring>
#include <exception>
#include <iostream>
#include <map>
#include <string>

#include "model.hpp"

int main(int argc, char** argv) try {
  const auto inputs = model::read_inputs(argc, argv);
  ov::Core core;
  auto network = core.read_model(std::string(argv[1]) + "/" + model::kFile);

  // One sample: every open axis becomes 1. An input that nothing reads is gone from the network.
  std::map<std::string, ov::PartialShape> shapes;
  for (const auto& port : network->inputs()) {
    for (const auto& tensor : model::kInputs) {
      if (port.get_names().count(tensor.engine)) {
        shapes[tensor.engine] = ov::Shape(tensor.shape.begin(), tensor.shape.end());
      }
    }
  }
  network->reshape(shapes);

  auto compiled = core.compile_model(network, "CPU", ov::inference_num_threads(1),
                                     ov::hint::inference_precision(ov::element::f32));
  auto request = compiled.create_infer_request();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!shapes.count(model::kInputs[i].engine)) continue;
    ov::Tensor tensor = request.get_tensor(model::kInputs[i].engine);
    if (tensor.get_byte_size() != inputs[i].size()) {
      throw std::runtime_error(model::kInputs[i].name + " is of another size in the model");
    }
    std::memcpy(tensor.data(), inputs[i].data(), inputs[i].size());
  }
  request.infer();
  for (const auto& output : model::kOutputs) {
    const ov::Tensor tensor = request.get_tensor(output.engine);
    const ov::Shape shape = tensor.get_shape();
    model::print(output, {shape.begin(), shape.end()}, tensor.data());
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
