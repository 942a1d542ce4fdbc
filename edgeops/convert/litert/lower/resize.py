"""Lowering of ONNX operators: resize."""
