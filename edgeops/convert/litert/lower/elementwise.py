"""Lowering of ONNX operators: elementwise."""
