"""Lowering of ONNX operators: reduction."""
