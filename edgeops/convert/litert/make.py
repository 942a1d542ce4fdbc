"""A prepared ONNX model to the bytes of a .tflite file."""

from __future__ import annotations

from typing import Any


def tflite(model: Any, precision: str = "fp32") -> memoryview:
    """Return the .tflite of a prepared ``onnx.ModelProto``; ``precision`` is fp32 or fp16.

    The model is changed where it takes a variance in a way that loses digits. Raises RefusedError
    naming the node that LiteRT cannot take, or ``litert-too-large``.
    """
    from edgeops.convert.litert.lowering import lower
    from edgeops.convert.litert.passes import run_passes
    from edgeops.convert.litert.write import pack
    from edgeops.convert.variance import steady_variance

    steady_variance(model)
    graph = lower(model)
    run_passes(graph)
    if precision == "fp16":
        from edgeops.convert.litert.passes.half import to_half

        to_half(graph)
    return pack(graph)
