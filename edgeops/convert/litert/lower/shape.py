"""Lowering of ONNX operators: shape."""
