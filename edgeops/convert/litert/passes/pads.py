"""Pad with zeros where that is as good as the lowest number: XNNPACK has no kernel but for zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.ir import Op

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Graph, Tensor

_NEVER_NEGATIVE = frozenset({"RELU", "RELU6", "LOGISTIC", "EXP", "ABS", "SQRT", "SOFTMAX"})
_FUSED = frozenset({1, 3})  # RELU and RELU6 in the schema's enum ActivationFunctionType


def zero_pads(graph: Graph) -> None:
    """Let pools for the largest read zeros in the padding of what is never negative.

    Every window of ONNX's MaxPool has an element that is no padding.
    """
    import numpy as np

    producers, readers = graph.producers(), graph.readers()
    for position, op in enumerate(graph.ops):
        if op.code != "PADV2" or op.outputs[0] in graph.outputs:
            continue
        source, amounts, filler = op.inputs
        pools = all(reader.code == "MAX_POOL_2D" for reader in readers.get(id(op.outputs[0]), []))
        lowest = filler is not None and filler.is_constant and np.isneginf(filler.data).all()
        if pools and lowest and _is_never_negative(source, producers):
            graph.ops[position] = Op("PAD", [source, amounts], op.outputs, {}, op.node)


def _is_never_negative(tensor: Tensor | None, producers: dict[int, Op]) -> bool:
    maker = producers.get(id(tensor))
    if maker is None:
        return False
    return maker.code in _NEVER_NEGATIVE or maker.options.get("fusedActivationFunction") in _FUSED
