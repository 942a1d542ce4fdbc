"""Lowering of ONNX operators: scatter."""
