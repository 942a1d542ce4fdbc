"""Passes that compute scales and offsets of channels into the weights before them.

What follows a convolution as BatchNormalization, or as Mul, Div, Add or Sub with one constant for
each channel, is a factor and an offset a channel: both go into the weights, in float64, and come
out equal to rounding. A BatchNormalization takes what follows it in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.model.simplify.graph import Graph, Node

_OPERATORS = {"Mul", "Div", "Add", "Sub"}
_FLOATS = {1, 10, 11}
_FLAT = 2  # axes of what Gemm makes: batch and channels


class _Affine(NamedTuple):
    """``output = input * factor + offset``, one float64 a channel."""

    factor: Any
    offset: Any


def fold_affine(graph: Graph) -> bool:
    """Fold factors and offsets into the Conv, ConvTranspose, Gemm, MatMul or norm before them."""
    changed = False
    for node in list(graph.nodes):
        while node in graph.nodes and node.op in _TAKERS and _take(graph, node):
            changed = True
    return changed


def _take(graph: Graph, node: Node) -> bool:
    source = node.outputs[0]
    reader = graph.only_reader(source)
    if reader is None or graph.dtype(source) not in _FLOATS or any(node.outputs[1:]):
        return False
    affine = _affine(graph, reader, source)
    inputs = None if affine is None else _TAKERS[node.op](graph, node, affine)
    if inputs is None:
        return _take_behind_add(graph, node, reader)
    graph.set_inputs(node, inputs)
    _drop(graph, node, reader)
    return True


def _take_behind_add(graph: Graph, node: Node, add: Node) -> bool:
    """Take a factor into a MatMul and the Add of its bias: (x + b) f + o = x f + (b f + o)."""
    from onnx import helper

    after = graph.only_reader(add.outputs[0])
    if node.op != "MatMul" or add.op != "Add" or after is None:
        return False
    bias, affine = _affine(graph, add, node.outputs[0]), _affine(graph, after, add.outputs[0])
    if bias is None or affine is None:
        return False
    inputs = _into_matmul(graph, node, _Affine(affine.factor, bias.offset * 0))
    offset = bias.offset * affine.factor + affine.offset
    at = 1 - add.inputs.index(node.outputs[0])
    dtype = helper.tensor_dtype_to_np_dtype(graph.dtype(add.inputs[at]))
    name = _constant(graph, add.inputs[at], offset, dtype)
    if inputs is None or not name:
        return False
    graph.set_inputs(node, inputs)
    graph.set_input(add, at, name)
    _drop(graph, add, after)
    return True


def _drop(graph: Graph, node: Node, reader: Node) -> None:
    """Remove a reader; what the node makes goes by the reader's name, for it has its values."""
    out = reader.outputs[0]
    graph.remove(reader)
    del graph.makers[node.outputs[0]]
    node.outputs = [out]
    graph.makers[out] = node


def _affine(graph: Graph, node: Node, source: str) -> _Affine | None:
    import numpy as np

    shape = graph.shape(source)
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if not isinstance(channels, int) or shape is None:
        return None
    if node.op == "BatchNormalization" and node.inputs[0] == source:
        return _norm(graph, node, channels)
    if node.op not in _OPERATORS or source not in node.inputs:
        return None
    at = 1 - node.inputs.index(source)
    numbers = _per_channel(graph.array(node.inputs[at]), channels, len(shape))
    if numbers is None or (at == 0 and node.op in {"Div", "Sub"}):
        return None
    if node.op in {"Add", "Sub"}:
        return _Affine(np.ones(channels), -numbers if node.op == "Sub" else numbers)
    zero = node.op == "Div" and not numbers.all()
    return None if zero else _Affine(numbers**-1 if node.op == "Div" else numbers, 0 * numbers)


def _per_channel(array: Any, channels: int, rank: int) -> Any | None:
    """Return a constant as one float64 a channel, when it varies over the channels only."""
    import numpy as np

    if array is None or array.ndim > rank or array.dtype.kind != "f":
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if shape[1] not in {1, channels} or any(n != 1 for axis, n in enumerate(shape) if axis != 1):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (channels,))


def _norm(graph: Graph, node: Node, channels: int) -> _Affine | None:
    import numpy as np

    arrays = [graph.array(name) for name in node.inputs[1:5]]
    sizes = {None if array is None else array.size for array in arrays}
    if node.get("training_mode", 0) or any(node.outputs[1:]) or sizes != {channels}:
        return None
    scale, bias, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    spread = variance + node.get("epsilon", 1e-5)
    if (spread <= 0).any():
        return None
    factor = scale / np.sqrt(spread)
    return _Affine(factor, bias - mean * factor)


def _into_conv(graph: Graph, node: Node, affine: _Affine) -> list[str] | None:
    rank = len(graph.shape(node.inputs[1]) or ())
    return _weighted(graph, node, affine, affine.factor.reshape(-1, *(1,) * (rank - 1)))


def _into_conv_transpose(graph: Graph, node: Node, affine: _Affine) -> list[str] | None:
    import numpy as np

    shape = graph.shape(node.inputs[1]) or ()
    groups, rows = node.get("group", 1), shape[0] if shape else 0
    if not isinstance(rows, int) or rows % groups:
        return None
    # The weight is [inputs, outputs of one group, ...]: each group's rows make its own channels.
    factors = np.repeat(affine.factor.reshape(groups, -1), rows // groups, axis=0)
    return _weighted(graph, node, affine, factors.reshape(*factors.shape, *(1,) * (len(shape) - 2)))


def _into_gemm(graph: Graph, node: Node, affine: _Affine) -> list[str] | None:
    if node.get("beta", 1.0) != 1:
        return None
    turned = affine.factor.reshape(-1, 1) if node.get("transB", 0) else affine.factor
    return _weighted(graph, node, affine, turned)


def _into_matmul(graph: Graph, node: Node, affine: _Affine) -> list[str] | None:
    flat = len(graph.shape(node.outputs[0]) or ()) == _FLAT
    if not flat or affine.offset.any() or len(graph.shape(node.inputs[1]) or ()) != _FLAT:
        return None
    inputs = _weighted(graph, node, affine, affine.factor)
    return None if inputs is None else inputs[:2]


def _into_norm(graph: Graph, node: Node, affine: _Affine) -> list[str] | None:
    scale, bias = (graph.array(name) for name in node.inputs[1:3])
    if scale is None or bias is None or node.get("training_mode", 0):
        return None
    if {scale.size, bias.size} != {len(affine.factor)}:
        return None
    names = [
        _constant(graph, node.inputs[1], scale * affine.factor, scale.dtype),
        _constant(graph, node.inputs[2], bias * affine.factor + affine.offset, bias.dtype),
    ]
    return [node.inputs[0], *names, *node.inputs[3:]] if all(names) else None


def _weighted(graph: Graph, node: Node, affine: _Affine, factors: Any) -> list[str] | None:
    """Return the inputs of a node whose weight has taken ``factors``, whose bias the rest."""
    import numpy as np

    weight = graph.array(node.inputs[1])
    bias = graph.array(node.input(2)) if node.input(2) else np.zeros(1)
    if weight is None or bias is None or bias.size not in {1, len(affine.factor)}:
        return None
    name, base = node.inputs[1], node.input(2) or f"{node.inputs[1]}_bias"
    if not (affine.factor == 1).all():
        if len(graph.readers[name]) > 1 or name in graph.pinned:
            return None  # others read the weight as it is
        name = _constant(graph, name, weight.astype(np.float64) * factors, weight.dtype)
    offset = bias.astype(np.float64).reshape(-1) * affine.factor + affine.offset
    names = [node.inputs[0], name, _constant(graph, base, offset, weight.dtype)]
    return names if all(names) else None


def _constant(graph: Graph, base: str, array: Any, dtype: Any) -> str:
    """Add a constant in a model's dtype; "" when its numbers do not fit there."""
    import numpy as np

    with np.errstate(over="ignore"):
        typed = array.astype(dtype)
    return graph.constant(base, typed) if np.isfinite(typed).all() else ""


_TAKERS: dict[str, Callable[[Graph, Node, _Affine], list[str] | None]] = {
    "Conv": _into_conv,
    "ConvTranspose": _into_conv_transpose,
    "Gemm": _into_gemm,
    "MatMul": _into_matmul,
    "BatchNormalization": _into_norm,
}
