package org.tensorflow.lite;

import java.io.File;
import java.util.Map;

public class Interpreter implements AutoCloseable {
  public Interpreter(File model, Options options) {}

  public native void resizeInput(int number, int[] shape);

  public native void allocateTensors();

  public native void runForMultipleInputsOutputs(
      Object[] inputs, Map<Integer, Object> outputs);

  public native int getInputTensorCount();

  public native int getOutputTensorCount();

  public native Tensor getInputTensor(int number);

  public native Tensor getOutputTensor(int number);

  @Override
  public native void close();

  public static class Options {
    public Options setNumThreads(int threads) {
      return this;
    }
  }
}
