"""Lowering of ONNX operators: pooling."""
