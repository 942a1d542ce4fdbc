"""Lowering of ONNX operators: compare."""
