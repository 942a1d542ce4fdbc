// Between Demo.kt and MNN.
#include <jni.h>

#include <MNN/expr/Executor.hpp>
#include <MNN/expr/ExprCreator.hpp>
#include <MNN/expr/Module.hpp>

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

using MNN::Express::Executor;
using MNN::Express::Module;

struct Loaded {
  std::shared_ptr<Executor::RuntimeManager> runtime;
  std::shared_ptr<Module> network;
};

extern "C" JNIEXPORT jlong JNICALL Java_edgeops_demo_Demo_load(
    JNIEnv* env, jobject, jstring path, jobjectArray inputs, jobjectArray outputs) {
  MNN::BackendConfig precise;
  precise.precision = MNN::BackendConfig::Precision_High;
  MNN::ScheduleConfig config;
  config.type = MNN_FORWARD_CPU;
  config.numThread = 1;
  config.backendConfig = &precise;
  auto loaded = std::make_unique<Loaded>();
  loaded->runtime.reset(Executor::RuntimeManager::createRuntimeManager(config),
                        Executor::RuntimeManager::destroy);
  const char* chars = env->GetStringUTFChars(path, nullptr);
  loaded->network.reset(
      Module::load(texts(env, inputs), texts(env, outputs), chars, loaded->runtime),
      Module::destroy);
  env->ReleaseStringUTFChars(path, chars);
  if (loaded->network == nullptr) {
    refuse(env, "MNN does not load the model");
    return 0;
  }
  return reinterpret_cast<jlong>(loaded.release());
}

extern "C" JNIEXPORT jobjectArray JNICALL Java_edgeops_demo_Demo_run(
    JNIEnv* env, jobject, jlong handle, jobjectArray buffers, jobjectArray shapes) {
  auto& network = *reinterpret_cast<Loaded*>(handle)->network;
  std::vector<MNN::Express::VARP> given;
  for (jsize i = 0; i < env->GetArrayLength(buffers); ++i) {
    auto order = network.getInfo()->inputs[static_cast<size_t>(i)].order;
    if (order == MNN::Express::NC4HW4) order = MNN::Express::NCHW;
    const auto shape = ints(env, shapes, i);
    size_t count = 1;
    for (int size : shape) count *= static_cast<size_t>(size);
    const float* data = floats(env, buffers, i, count);
    if (data == nullptr) return nullptr;
    auto variable = MNN::Express::_Input(shape, order, halide_type_of<float>());
    std::memcpy(variable->writeMap<void>(), data, count * sizeof(float));
    given.push_back(variable);
  }
  const auto answers = network.onForward(given);
  const auto result = env->NewObjectArray(static_cast<jsize>(answers.size()),
                                          env->FindClass("[F"), nullptr);
  for (size_t i = 0; i < answers.size(); ++i) {
    const auto* info = answers[i]->getInfo();
    const float* data = answers[i]->readMap<float>();
    if (info == nullptr || data == nullptr) {
      refuse(env, "MNN cannot run the model");
      return nullptr;
    }
    const auto array = env->NewFloatArray(static_cast<jsize>(info->size));
    env->SetFloatArrayRegion(array, 0, static_cast<jsize>(info->size), data);
    env->SetObjectArrayElement(result, static_cast<jsize>(i), array);
  }
  return result;
}

extern "C" JNIEXPORT void JNICALL Java_edgeops_demo_Demo_unload(JNIEnv*, jobject, jlong handle) {
  delete reinterpret_cast<Loaded*>(handle);
}
