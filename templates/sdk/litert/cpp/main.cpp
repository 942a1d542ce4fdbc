// One call of the model on LiteRT, through its C API: demo FOLDER [INPUT.bin ...]
#if __has_include(<tflite/c/c_api.h>)
#include <tflite/c/c_api.h>
#else
#include <tensorflow/lite/c/c_api.h>
#endif

#include <exception>
#include <iostream>
#include <memory>
#include <string>

#include "model.hpp"

namespace {

void check(bool fine, const std::string& what) {
  if (!fine) throw std::runtime_error("LiteRT failed: " + what);
}

// The place of a tensor among the inputs or outputs: by its name in the file, else by its number.
template <typename Get>
int place(const std::string& name, int number, int total, Get get) {
  for (int i = 0; i < total; ++i) {
    if (name == TfLiteTensorName(get(i))) return i;
  }
  return number;
}

}  // namespace

int main(int argc, char** argv) try {
  const auto inputs = model::read_inputs(argc, argv);
  const std::string path = std::string(argv[1]) + "/" + model::kFile;
  const std::unique_ptr<TfLiteModel, void (*)(TfLiteModel*)> file(
      TfLiteModelCreateFromFile(path.c_str()), TfLiteModelDelete);
  check(file != nullptr, "it does not read " + path);
  const std::unique_ptr<TfLiteInterpreterOptions, void (*)(TfLiteInterpreterOptions*)> options(
      TfLiteInterpreterOptionsCreate(), TfLiteInterpreterOptionsDelete);
  TfLiteInterpreterOptionsSetNumThreads(options.get(), 1);
  const std::unique_ptr<TfLiteInterpreter, void (*)(TfLiteInterpreter*)> interpreter(
      TfLiteInterpreterCreate(file.get(), options.get()), TfLiteInterpreterDelete);
  check(interpreter != nullptr, "it does not load " + path);

  const auto input = [&](int i) { return TfLiteInterpreterGetInputTensor(interpreter.get(), i); };
  const auto output = [&](int i) { return TfLiteInterpreterGetOutputTensor(interpreter.get(), i); };
  const int taken = TfLiteInterpreterGetInputTensorCount(interpreter.get());
  const int given = TfLiteInterpreterGetOutputTensorCount(interpreter.get());

  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& tensor = model::kInputs[i];
    const std::vector<int> shape(tensor.shape.begin(), tensor.shape.end());
    const int at = place(tensor.engine, static_cast<int>(i), taken, input);
    check(TfLiteInterpreterResizeInputTensor(interpreter.get(), at, shape.data(),
                                             static_cast<int>(shape.size())) == kTfLiteOk,
          "it does not take the shape of " + tensor.name);
  }
  check(TfLiteInterpreterAllocateTensors(interpreter.get()) == kTfLiteOk, "no memory");
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& tensor = model::kInputs[i];
    const int at = place(tensor.engine, static_cast<int>(i), taken, input);
    check(TfLiteTensorCopyFromBuffer(input(at), inputs[i].data(), inputs[i].size()) == kTfLiteOk,
          tensor.name + " is of another size in the model");
  }
  check(TfLiteInterpreterInvoke(interpreter.get()) == kTfLiteOk, "it cannot run the model");
  for (size_t i = 0; i < model::kOutputs.size(); ++i) {
    const auto& wanted = model::kOutputs[i];
    const TfLiteTensor* tensor = output(place(wanted.engine, static_cast<int>(i), given, output));
    std::vector<int64_t> shape;
    for (int axis = 0; axis < TfLiteTensorNumDims(tensor); ++axis) {
      shape.push_back(TfLiteTensorDim(tensor, axis));
    }
    model::print(wanted, shape, TfLiteTensorData(tensor));
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
