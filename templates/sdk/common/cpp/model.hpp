// What the model of the target @TARGET@ takes and answers. Written by edgeops pack.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace model {

// The file in the variant's folder that the engine opens.
inline const std::string kFile = "@MODEL_FILE@";

// An input or output: the model's name for it, the engine's, its shape for one sample (row-major),
// and the type of its elements.
struct Tensor {
  std::string name;
  std::string engine;
  std::vector<int64_t> shape;
  std::string dtype;
};

inline const std::vector<Tensor> kInputs = {
@INPUTS@
};

inline const std::vector<Tensor> kOutputs = {
@OUTPUTS@
};

inline size_t item_size(const std::string& dtype) {
  if (dtype == "float64" || dtype == "int64" || dtype == "uint64") return 8;
  if (dtype == "float32" || dtype == "int32" || dtype == "uint32") return 4;
  if (dtype == "float16" || dtype == "int16" || dtype == "uint16") return 2;
  if (dtype == "int8" || dtype == "uint8" || dtype == "bool") return 1;
  throw std::runtime_error("this demo does not handle elements of type " + dtype);
}

inline size_t count(const std::vector<int64_t>& shape) {
  size_t product = 1;
  for (int64_t size : shape) product *= static_cast<size_t>(size);
  return product;
}

// The bytes of each input: from the files named after the folder, in order, else zeros.
inline std::vector<std::vector<char>> read_inputs(int argc, char** argv) {
  if (argc != 2 && argc != 2 + static_cast<int>(kInputs.size())) {
    throw std::runtime_error("usage: demo FOLDER [INPUT.bin ...], one file for each input");
  }
  std::vector<std::vector<char>> found;
  for (size_t i = 0; i < kInputs.size(); ++i) {
    const size_t size = count(kInputs[i].shape) * item_size(kInputs[i].dtype);
    std::vector<char> bytes(size, 0);
    if (argc > 2) {
      std::ifstream file(argv[2 + i], std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(file), {});
    }
    if (bytes.size() != size) {
      throw std::runtime_error(kInputs[i].name + " takes " + std::to_string(size) + " bytes, got " +
                               std::to_string(bytes.size()));
    }
    found.push_back(std::move(bytes));
  }
  return found;
}

template <typename T>
void print_as(const void* data, size_t items, const char* format) {
  for (size_t i = 0; i < items; ++i) {
    T value;
    std::memcpy(&value, static_cast<const char*>(data) + i * sizeof(T), sizeof(T));
    std::printf(format, value);
  }
}

// One line an output: its name, its shape, its values.
inline void print(const Tensor& tensor, const std::vector<int64_t>& shape, const void* data) {
  std::printf("%s [", tensor.name.c_str());
  for (size_t i = 0; i < shape.size(); ++i) {
    std::printf("%s%lld", i ? ", " : "", static_cast<long long>(shape[i]));
  }
  std::printf("]:");
  const size_t items = count(shape);
  if (tensor.dtype == "float32") print_as<float>(data, items, " %.9g");
  else if (tensor.dtype == "float64") print_as<double>(data, items, " %.17g");
  else if (tensor.dtype == "int64") print_as<long long>(data, items, " %lld");
  else if (tensor.dtype == "int32") print_as<int32_t>(data, items, " %d");
  else if (tensor.dtype == "int8") print_as<int8_t>(data, items, " %d");
  else if (tensor.dtype == "uint8" || tensor.dtype == "bool") print_as<uint8_t>(data, items, " %u");
  else throw std::runtime_error("this demo does not print elements of type " + tensor.dtype);
  std::printf("\n");
}

}  // namespace model
