// Between Demo.kt and ncnn.
#include <jni.h>

#include <net.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

std::vector<std::string> texts(JNIEnv* env, jobjectArray array) {
  std::vector<std::string> found;
  for (jsize i = 0; i < env->GetArrayLength(array); ++i) {
    const auto text = static_cast<jstring>(env->GetObjectArrayElement(array, i));
    const char* chars = env->GetStringUTFChars(text, nullptr);
    found.emplace_back(chars);
    env->ReleaseStringUTFChars(text, chars);
  }
  return found;
}

std::vector<int> ints(JNIEnv* env, jobjectArray arrays, jsize at) {
  const auto array = static_cast<jintArray>(env->GetObjectArrayElement(arrays, at));
  std::vector<int> found(static_cast<size_t>(env->GetArrayLength(array)));
  env->GetIntArrayRegion(array, 0, static_cast<jsize>(found.size()), found.data());
  return found;
}

// What is wrong becomes an exception of the application; the caller returns at once.
void refuse(JNIEnv* env, const std::string& what) {
  env->ThrowNew(env->FindClass("java/lang/IllegalStateException"), what.c_str());
}

// The memory of a direct buffer, null (and an exception) when it has another size.
const float* floats(JNIEnv* env, jobjectArray buffers, jsize at, size_t count) {
  const auto buffer = env->GetObjectArrayElement(buffers, at);
  const void* data = env->GetDirectBufferAddress(buffer);
  if (data == nullptr ||
      env->GetDirectBufferCapacity(buffer) != static_cast<jlong>(count * sizeof(float))) {
    refuse(env, "input " + std::to_string(at) + " is no direct buffer of the model's size");
    return nullptr;
  }
  return static_cast<const float*>(data);
}

}  // namespace

struct Loaded {
  ncnn::Net net;
  std::vector<std::string> inputs, outputs;
};

// ncnn pads each channel to 16 bytes: rows go in and out channel by channel.
static ncnn::Mat filled(const std::vector<int>& s, const float* rows) {
  ncnn::Mat mat = s.size() == 1   ? ncnn::Mat(s[0])
                  : s.size() == 2 ? ncnn::Mat(s[1], s[0])
                  : s.size() == 3 ? ncnn::Mat(s[2], s[1], s[0])
                                  : ncnn::Mat(s[3], s[2], s[1], s[0]);
  const size_t count = static_cast<size_t>(mat.w) * mat.h * mat.d;
  for (int channel = 0; channel < mat.c; ++channel) {
    std::memcpy(mat.channel(channel), rows + channel * count, count * sizeof(float));
  }
  return mat;
}

extern "C" JNIEXPORT jlong JNICALL Java_edgeops_demo_Demo_load(
    JNIEnv* env, jobject, jstring path, jobjectArray inputs, jobjectArray outputs) {
  auto loaded = std::make_unique<Loaded>();
  loaded->inputs = texts(env, inputs);
  loaded->outputs = texts(env, outputs);
  loaded->net.opt.num_threads = 1;
  const char* chars = env->GetStringUTFChars(path, nullptr);
  const std::string param(chars);
  env->ReleaseStringUTFChars(path, chars);
  const std::string bin = param.substr(0, param.rfind('.')) + ".bin";
  if (loaded->net.load_param(param.c_str()) != 0 || loaded->net.load_model(bin.c_str()) != 0) {
    refuse(env, "ncnn does not load the model");
    return 0;
  }
  return reinterpret_cast<jlong>(loaded.release());
}

extern "C" JNIEXPORT jobjectArray JNICALL Java_edgeops_demo_Demo_run(
    JNIEnv* env, jobject, jlong handle, jobjectArray buffers, jobjectArray shapes) {
  auto& loaded = *reinterpret_cast<Loaded*>(handle);
  ncnn::Extractor extractor = loaded.net.create_extractor();
  for (jsize i = 0; i < env->GetArrayLength(buffers); ++i) {
    const auto shape = ints(env, shapes, i);
    size_t count = 1;
    for (int size : shape) count *= static_cast<size_t>(size);
    const float* data = floats(env, buffers, i, count);
    if (data == nullptr) return nullptr;
    extractor.input(loaded.inputs[static_cast<size_t>(i)].c_str(), filled(shape, data));
  }
  const auto result = env->NewObjectArray(static_cast<jsize>(loaded.outputs.size()),
                                          env->FindClass("[F"), nullptr);
  for (size_t i = 0; i < loaded.outputs.size(); ++i) {
    ncnn::Mat mat;
    if (extractor.extract(loaded.outputs[i].c_str(), mat) != 0 || mat.empty()) {
      refuse(env, "ncnn cannot run the model");
      return nullptr;
    }
    const jsize count = mat.w * mat.h * mat.d;
    const auto array = env->NewFloatArray(count * mat.c);
    for (int channel = 0; channel < mat.c; ++channel) {
      const float* row = mat.channel(channel);
      env->SetFloatArrayRegion(array, channel * count, count, row);
    }
    env->SetObjectArrayElement(result, static_cast<jsize>(i), array);
  }
  return result;
}

extern "C" JNIEXPORT void JNICALL Java_edgeops_demo_Demo_unload(JNIEnv*, jobject, jlong handle) {
  delete reinterpret_cast<Loaded*>(handle);
}
