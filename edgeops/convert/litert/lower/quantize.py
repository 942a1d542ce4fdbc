"""Lowering of ONNX operators: quantize."""
