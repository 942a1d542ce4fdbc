package ai.onnxruntime;

import java.nio.ByteBuffer;

public class OnnxTensor implements OnnxTensorLike {
  public static native OnnxTensor createTensor(
      OrtEnvironment environment, ByteBuffer data, long[] shape, OnnxJavaType type)
      throws OrtException;

  @Override
  public native Object getValue() throws OrtException;

  @Override
  public native void close();
}
