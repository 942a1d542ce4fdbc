package ai.onnxruntime;

import java.util.Map;
import java.util.Optional;
import java.util.Set;

public class OrtSession implements AutoCloseable {
  public native Result run(
      Map<String, ? extends OnnxTensorLike> inputs, Set<String> requestedOutputs)
      throws OrtException;

  @Override
  public native void close() throws OrtException;

  public static class SessionOptions implements AutoCloseable {
    @Override
    public void close() {}
  }

  public static class Result implements AutoCloseable {
    public native Optional<OnnxValue> get(String key);

    @Override
    public native void close();
  }
}
