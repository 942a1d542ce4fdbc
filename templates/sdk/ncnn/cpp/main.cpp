// One call of the model on ncnn: demo FOLDER [INPUT.bin ...]
#include <net.h>

#include <cstring>
#include <exception>
#include <iostream>
#include <string>

#include "model.hpp"

namespace {

void check(bool fine, const std::string& what) {
  if (!fine) throw std::runtime_error("ncnn failed: " + what);
}

// ncnn pads each channel to 16 bytes: rows go in and out channel by channel.
void copy(ncnn::Mat& mat, char* rows, bool into) {
  const size_t size = static_cast<size_t>(mat.w) * mat.h * mat.d * mat.elemsize;
  for (int channel = 0; channel < mat.c; ++channel) {
    char* inside = static_cast<char*>(static_cast<void*>(mat.channel(channel).data));
    if (into) std::memcpy(inside, rows + channel * size, size);
    else std::memcpy(rows + channel * size, inside, size);
  }
}

ncnn::Mat create(const model::Tensor& tensor) {
  const auto& s = tensor.shape;
  const size_t item = model::item_size(tensor.dtype);
  const auto at = [&](size_t axis) { return static_cast<int>(s[axis]); };
  if (s.size() == 1) return ncnn::Mat(at(0), item);
  if (s.size() == 2) return ncnn::Mat(at(1), at(0), item);
  if (s.size() == 3) return ncnn::Mat(at(2), at(1), at(0), item);
  if (s.size() == 4) return ncnn::Mat(at(3), at(2), at(1), at(0), item);
  throw std::runtime_error("ncnn has no tensors of " + std::to_string(s.size()) + " axes");
}

std::vector<int64_t> shape(const ncnn::Mat& mat) {
  if (mat.dims == 1) return {mat.w};
  if (mat.dims == 2) return {mat.h, mat.w};
  if (mat.dims == 3) return {mat.c, mat.h, mat.w};
  return {mat.c, mat.d, mat.h, mat.w};
}

}  // namespace

int main(int argc, char** argv) try {
  auto inputs = model::read_inputs(argc, argv);
  const std::string param = std::string(argv[1]) + "/" + model::kFile;
  const std::string bin = param.substr(0, param.rfind('.')) + ".bin";
  ncnn::Net net;
  net.opt.num_threads = 1;
  net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = false;
  net.opt.use_bf16_storage = false;
  check(net.load_param(param.c_str()) == 0, "it does not read " + param);
  check(net.load_model(bin.c_str()) == 0, "it does not read " + bin);

  ncnn::Extractor extractor = net.create_extractor();
  for (size_t i = 0; i < inputs.size(); ++i) {
    ncnn::Mat mat = create(model::kInputs[i]);
    copy(mat, inputs[i].data(), true);
    check(extractor.input(model::kInputs[i].engine.c_str(), mat) == 0,
          "it has no input " + model::kInputs[i].name);
  }
  for (const auto& output : model::kOutputs) {
    ncnn::Mat mat;
    check(extractor.extract(output.engine.c_str(), mat) == 0, "it cannot run the model");
    check(!mat.empty() && mat.elempack == 1, output.name + " came out empty");
    std::vector<char> rows(mat.elemsize * mat.w * mat.h * mat.d * mat.c);
    copy(mat, rows.data(), false);
    model::print(output, shape(mat), rows.data());
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
