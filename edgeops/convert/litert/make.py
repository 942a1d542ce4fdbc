"""A prepared ONNX model to the bytes of a .tflite file."""

from __future__ import annotations

from typing import Any


def tflite(model: Any, precision: str = "fp32") -> bytes:  # noqa: ARG001 - passes decide
    """Return the .tflite of a prepared ``onnx.ModelProto``.

    Raises RefusedError naming the node that LiteRT cannot take.
    """
    from edgeops.convert.litert.lowering import lower
    from edgeops.convert.litert.passes import run_passes
    from edgeops.convert.litert.write import pack

    graph = lower(model)
    run_passes(graph)
    return pack(graph)
