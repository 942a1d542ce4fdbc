"""Values that are known before the model runs: those of small tensors of whole numbers.

Exporters let a model compute its shapes while it runs. Here these computations are followed with
sizes that may be names, from each ``Shape`` to where the result is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeops.model.simplify.dims import Dim, Term, over, plus, product, ratio, times

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.model.simplify.graph import Graph, Node

FEW = 64  # larger tensors are no shapes
_WHOLE = 1 << 24  # beyond this float32 has no whole numbers
_FLOATS = {1, 10, 11, 16}
_COUNTING = {1, 6, 7, 11}  # float32, int32, int64, float64: what shapes are computed in


class Known(NamedTuple):
    """The elements of a tensor of rank 0 or 1; None for those that are not known."""

    items: tuple[Dim | None, ...]
    rank: int


def known(graph: Graph, name: str) -> Known | None:
    """Return what is known of a tensor's elements; None when not even how many there are."""
    if name in graph.values:
        value: Known = graph.values[name]
        items = tuple(None if item is None else graph.resolved(item) for item in value.items)
        return Known(items, value.rank)
    tensor = graph.tensors.get(name)
    if tensor is None or len(tensor.dims) > 1 or sum(tensor.dims) > FEW:
        return None
    array = graph.array(name)
    if array is None or array.dtype.kind not in "iubf":
        return None
    items = tuple(_whole(number) for number in array.reshape(-1).tolist())
    return Known(items, array.ndim)


def _whole(number: float) -> int | None:
    whole = abs(number) < _WHOLE or isinstance(number, int)
    return int(number) if whole and number == int(number) else None


def integers(graph: Graph, name: str) -> tuple[int, ...] | None:
    """Return the elements of a small tensor when all are known numbers, else None."""
    value = known(graph, name) if name else None
    if value is None:
        return None
    numbers = tuple(item for item in value.items if isinstance(item, int))
    return numbers if len(numbers) == len(value.items) else None


def _shape_of(graph: Graph, node: Node) -> Known | None:
    shape = graph.shape(node.inputs[0])
    if shape is None:
        return None
    return Known(shape[slice(node.get("start", 0), node.get("end"))], 1)


def _size_of(graph: Graph, node: Node) -> Known | None:
    shape = graph.shape(node.inputs[0])
    return None if shape is None else Known((product(shape),), 0)


def _first(graph: Graph, node: Node) -> Known | None:
    return known(graph, node.inputs[0])


def _cast(graph: Graph, node: Node) -> Known | None:
    value, to = known(graph, node.inputs[0]), node.get("to")
    if value is None or to not in _COUNTING:
        return None
    fits = all(not isinstance(item, int) or abs(item) < _WHOLE for item in value.items)
    return value if fits or to == 7 else None  # noqa: PLR2004 # onnx.TensorProto.INT64


def _gather(graph: Graph, node: Node) -> Known | None:
    value, index = known(graph, node.inputs[0]), known(graph, node.inputs[1])
    if value is None or index is None or value.rank != 1 or node.get("axis", 0) not in {0, -1}:
        return None
    items: list[Dim | None] = []
    for at in index.items:
        if not isinstance(at, int) or not -len(value.items) <= at < len(value.items):
            return None
        items.append(value.items[at])
    return Known(tuple(items), index.rank)


def _slice(graph: Graph, node: Node) -> Known | None:
    value = known(graph, node.inputs[0])
    parts = [integers(graph, node.input(index)) for index in (1, 2)]
    step = integers(graph, node.input(4)) if node.input(4) else (1,)
    if value is None or value.rank != 1 or not all(parts) or not step or step[0] == 0:
        return None
    (start, *_), (end, *_) = parts[0] or (0,), parts[1] or (0,)
    if step[0] < 0 and end < -len(value.items):
        return Known(value.items[start :: step[0]], 1)
    return Known(value.items[start : end : step[0]], 1)


def _concat(graph: Graph, node: Node) -> Known | None:
    items: list[Dim | None] = []
    for name in node.inputs:
        value = known(graph, name)
        if value is None:
            shape = graph.shape(name)
            if shape is None or len(shape) != 1 or not isinstance(shape[0], int):
                return None
            value = Known((None,) * min(shape[0], FEW), 1)
        if value.rank != 1:
            return None
        items += value.items
    return Known(tuple(items), 1)


def _ranked(graph: Graph, node: Node) -> Known | None:
    """Squeeze, Unsqueeze and Reshape: the elements stay, what changes is the rank."""
    value, shape = known(graph, node.inputs[0]), graph.shape(node.outputs[0])
    if node.op == "Reshape" and shape is None:
        target = known(graph, node.inputs[1])
        shape = None if target is None else (1,) * len(target.items)
    if value is None or shape is None or len(shape) > 1:
        return None
    return Known(value.items, len(shape))


def _filled(graph: Graph, node: Node) -> Known | None:
    sizes = integers(graph, node.inputs[0])
    if sizes is None or len(sizes) > 1 or (sizes and not 0 <= sizes[0] <= FEW):
        return None
    from onnx import numpy_helper

    tensor = node.get("value")
    number = numpy_helper.to_array(tensor).reshape(-1)[0].item() if tensor is not None else 0
    return Known((_whole(number),) * (sizes[0] if sizes else 1), len(sizes))


def _range(graph: Graph, node: Node) -> Known | None:
    bounds = [integers(graph, name) for name in node.inputs]
    if not all(bounds) or any(graph.dtype(name) in _FLOATS for name in node.inputs):
        return None
    start, limit, step = (bound[0] for bound in bounds if bound)
    if step == 0 or (limit - start) // step > FEW:
        return None
    return Known(tuple(range(start, limit, step)), 1)


def _elementwise(
    combine: Callable[[Dim, Dim, bool], Dim | None],
) -> Callable[[Graph, Node], Known | None]:
    def follow(graph: Graph, node: Node) -> Known | None:
        if graph.dtype(node.inputs[0]) not in _COUNTING:
            return None
        values = [known(graph, name) for name in node.inputs]
        floats = graph.dtype(node.inputs[0]) in _FLOATS
        found = values[0]
        for value in values[1:]:
            found = _broadcast(found, value, lambda a, b: combine(a, b, floats))
        return found

    return follow


def _broadcast(
    one: Known | None, other: Known | None, combine: Callable[[Dim, Dim], Dim | None]
) -> Known | None:
    if one is None or other is None:
        return None
    count = max(len(one.items), len(other.items))
    if not {len(one.items), len(other.items)} <= {1, count}:
        return None
    left, right = (v.items * count if len(v.items) == 1 else v.items for v in (one, other))
    items = tuple(
        None if a is None or b is None else combine(a, b) for a, b in zip(left, right, strict=True)
    )
    return Known(items, max(one.rank, other.rank))


def _divided(one: Dim, other: Dim, floats: bool) -> Dim | None:
    return ratio(one, other) if floats else over(one, other)


def _least(one: Dim, other: Dim, _: bool) -> Dim | None:
    if isinstance(one, int) and isinstance(other, int):
        return min(one, other)
    return one if one == other else None


def _most(one: Dim, other: Dim, _: bool) -> Dim | None:
    if isinstance(one, int) and isinstance(other, int):
        return max(one, other)
    return one if one == other else None


def _equal(one: Dim, other: Dim, _: bool) -> Dim | None:
    if isinstance(one, int) and isinstance(other, int):
        return int(one == other)
    if one == other:
        return 1
    # A size is never below zero: exporters ask whether it is -1. Differences may be.
    sizes = all(isinstance(dim, int) or _is_size(dim) for dim in (one, other))
    negative = any(isinstance(dim, int) and dim < 0 for dim in (one, other))
    return 0 if negative and sizes else None


def _is_size(dim: Term) -> bool:
    return dim.factor > 0 and not any("-" in name for name in dim.names)


def _where(graph: Graph, node: Node) -> Known | None:
    values = [known(graph, name) for name in node.inputs]
    found = [value for value in values if value is not None]
    count = max((len(value.items) for value in found), default=0)
    if len(found) != len(values) or any(len(value.items) not in {1, count} for value in found):
        return None
    columns = [v.items * count if len(v.items) == 1 else v.items for v in found]
    rows = zip(*columns, strict=True)
    items = tuple({1: a, 0: b}.get(flag) if flag in {0, 1} else None for flag, a, b in rows)
    return Known(items, max(value.rank for value in found))


def _reduce_prod(graph: Graph, node: Node) -> Known | None:
    value = known(graph, node.inputs[0])
    if value is None or None in value.items:
        return None
    items = [item for item in value.items if item is not None]
    return Known((product(items),), 1 if node.get("keepdims", 1) else 0)


VALUES: dict[str, Callable[[Graph, Node], Known | None]] = {
    "Shape": _shape_of,
    "Size": _size_of,
    "Identity": _first,
    "Cast": _cast,
    "Floor": _first,
    "Ceil": _first,
    "Round": _first,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _ranked,
    "Unsqueeze": _ranked,
    "Reshape": _ranked,
    "ConstantOfShape": _filled,
    "Range": _range,
    "Add": _elementwise(lambda a, b, _: plus(a, b)),
    "Sub": _elementwise(lambda a, b, _: plus(a, b, -1)),
    "Mul": _elementwise(lambda a, b, _: times(a, b)),
    "Div": _elementwise(_divided),
    "Min": _elementwise(_least),
    "Max": _elementwise(_most),
    "Equal": _elementwise(_equal),
    "Where": _where,
    "ReduceProd": _reduce_prod,
}
