"""Lowering of ONNX operators: sequence."""
