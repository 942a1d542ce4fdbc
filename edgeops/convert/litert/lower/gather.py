"""Lowering of ONNX operators: gather."""
