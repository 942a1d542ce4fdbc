"""Lowering of ONNX operators: convolution."""
