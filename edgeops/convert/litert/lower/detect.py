"""Lowering of ONNX operators: detect."""
