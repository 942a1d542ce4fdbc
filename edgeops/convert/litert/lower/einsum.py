"""Lowering of ONNX operators: einsum."""
