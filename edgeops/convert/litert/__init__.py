"""ONNX to LiteRT without TensorFlow.

Three steps, each with one job. ``lower`` turns every ONNX node into LiteRT operators that mean the
same, keeping ONNX's layout: where an operator wants NHWC it stands between two transposes.
``passes`` rewrite that graph: transposes move to where they cancel, activations are fused, what is
constant is computed. ``write`` packs it into a flatbuffer. No step knows of the others' reasons.
"""
