"""Lowering of ONNX operators: normalization."""
