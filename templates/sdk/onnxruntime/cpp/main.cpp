// One call of the model on ONNX Runtime: demo FOLDER [INPUT.bin ...]
#include <onnxruntime_cxx_api.h>

#include <exception>
#include <iostream>
#include <map>
#include <string>

#include "model.hpp"

namespace {

ONNXTensorElementDataType element_type(const std::string& dtype) {
  static const std::map<std::string, ONNXTensorElementDataType> types = {
      {"float32", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
      {"float64", ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE},
      {"float16", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16},
      {"int8", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
      {"uint8", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},
      {"int16", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16},
      {"uint16", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16},
      {"int32", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
      {"int64", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
      {"bool", ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL},
  };
  return types.at(dtype);
}

}  // namespace

int main(int argc, char** argv) try {
  auto inputs = model::read_inputs(argc, argv);
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "demo");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, (std::string(argv[1]) + "/" + model::kFile).c_str(), options);

  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<Ort::Value> values;
  std::vector<const char*> input_names, output_names;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& tensor = model::kInputs[i];
    input_names.push_back(tensor.engine.c_str());
    values.push_back(Ort::Value::CreateTensor(memory, inputs[i].data(), inputs[i].size(),
                                              tensor.shape.data(), tensor.shape.size(),
                                              element_type(tensor.dtype)));
  }
  for (const auto& tensor : model::kOutputs) output_names.push_back(tensor.engine.c_str());

  const auto outputs = session.Run(Ort::RunOptions{nullptr}, input_names.data(), values.data(),
                                   values.size(), output_names.data(), output_names.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto shape = outputs[i].GetTensorTypeAndShapeInfo().GetShape();
    model::print(model::kOutputs[i], shape, outputs[i].GetTensorData<char>());
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
