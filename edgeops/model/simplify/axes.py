"""Axes that must be of the same size: what ONNX's own inference gives two names, gets one here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.simplify.dims import Dim, plus, product, ratio
from edgeops.model.simplify.values import Known, integers, known

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.model.simplify.graph import Graph, Node

_END = 10**9  # exporters write this or more for "to the end"; no axis is as long


def same_shape(graph: Graph, one: str, other: str) -> bool:
    """Return whether two tensors are of one shape for certain."""
    shape = graph.shape(one)
    return shape is not None and shape == graph.shape(other)


def refine(graph: Graph, name: str, dims: tuple[Dim | None, ...]) -> None:
    """Note what was found out about a tensor's shape; None for axes about which nothing was."""
    shape = graph.shape(name)
    if shape is None:
        if None not in dims:
            graph.shapes[name] = tuple(dim for dim in dims if dim is not None)
        return
    if len(shape) != len(dims):
        return
    for had, found in zip(shape, dims, strict=True):
        if isinstance(had, int) or found is None or had == found or had.factor != 1:
            continue
        name_of = had.names[0]
        if len(had.names) == 1 and name_of not in getattr(found, "names", ()):
            graph.same[name_of] = found


def reshaped(graph: Graph, node: Node) -> tuple[Dim, ...] | None:
    """Return the shape that a Reshape makes, its open axis computed, or None."""
    source, target = graph.shape(node.inputs[0]), known(graph, node.inputs[1])
    if target is None:
        return None
    dims: list[Dim | None] = []
    for axis, item in enumerate(target.items):
        copied = item == 0 and not node.get("allowzero", 0)
        if copied and (source is None or axis >= len(source)):
            return None
        dims.append(source[axis] if copied and source is not None else item)
    if -1 in dims:
        rest = [dim for dim in dims if dim != -1]
        if source is None or None in rest:
            return None
        whole = ratio(product(source), product(dim for dim in rest if dim is not None))
        dims[dims.index(-1)] = whole
    return None if None in dims else tuple(dim for dim in dims if dim is not None)


def _same_reshape(graph: Graph, node: Node) -> None:
    dims = reshaped(graph, node)
    if dims is not None:
        refine(graph, node.outputs[0], dims)


def _same_flatten(graph: Graph, node: Node) -> None:
    source = graph.shape(node.inputs[0])
    if source is not None:
        axis = node.get("axis", 1)
        axis += len(source) if axis < 0 else 0
        refine(graph, node.outputs[0], (product(source[:axis]), product(source[axis:])))


def _same_slice(graph: Graph, node: Node) -> None:
    source, kept = graph.shape(node.inputs[0]), whole_axes(graph, node)
    if source is not None and kept is not None:
        refine(
            graph,
            node.outputs[0],
            tuple(dim if axis in kept else None for axis, dim in enumerate(source)),
        )


def whole_axes(graph: Graph, node: Node) -> set[int] | None:
    """Return the axes that a Slice leaves whole, or None when it is not known which it cuts."""
    source = graph.shape(node.inputs[0])
    starts, ends = known(graph, node.input(1)), known(graph, node.input(2))
    if source is None or starts is None or ends is None:
        return None
    count = len(starts.items)
    axes = integers(graph, node.input(3)) if node.input(3) else tuple(range(count))
    steps = known(graph, node.input(4)) if node.input(4) else Known((1,) * count, 1)
    if axes is None or steps is None:
        return None
    whole = set(range(len(source)))
    for axis, start, end, step in zip(axes, starts.items, ends.items, steps.items, strict=False):
        size = source[axis]
        far = isinstance(end, int) and end >= (size if isinstance(size, int) else _END)
        if not (start == 0 and step == 1 and (far or end == size)):
            whole.discard(axis % len(source))
    return whole


def broadcast_shape(*shapes: tuple[Dim, ...] | None) -> tuple[Dim | None, ...] | None:
    """Return the shape that tensors broadcast to, None for axes that cannot be told."""
    if not shapes or None in shapes:
        return None
    rank = max(len(shape) for shape in shapes if shape is not None)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes if shape is not None]
    dims: list[Dim | None] = []
    for sizes in zip(*padded, strict=True):
        large = {size for size in sizes if size != 1}
        numbers = [size for size in large if isinstance(size, int)]
        if len(large) <= 1:
            dims.append(next(iter(large), 1))
        else:
            dims.append(numbers[0] if len(numbers) == 1 else None)
    return tuple(dims)


def _same_broadcast(graph: Graph, node: Node) -> None:
    dims = broadcast_shape(*(graph.shape(name) for name in node.inputs))
    if dims is not None:
        refine(graph, node.outputs[0], dims)


def expanded(graph: Graph, node: Node) -> tuple[Dim | None, ...] | None:
    """Return the shape that an Expand makes, None for axes that cannot be told."""
    source, target = graph.shape(node.inputs[0]), known(graph, node.inputs[1])
    if source is None or target is None or None in target.items:
        return None
    return broadcast_shape(source, tuple(dim for dim in target.items if dim is not None))


def _same_expand(graph: Graph, node: Node) -> None:
    dims = expanded(graph, node)
    if dims is not None:
        refine(graph, node.outputs[0], dims)


def _same_concat(graph: Graph, node: Node) -> None:
    shapes = [graph.shape(name) for name in node.inputs]
    known_ones = [shape for shape in shapes if shape is not None]
    if len(known_ones) != len(shapes) or len({len(shape) for shape in known_ones}) != 1:
        return
    rank = len(known_ones[0])
    axis = node.get("axis", 0) % max(rank, 1)
    dims: list[Dim | None] = []
    for at in range(rank):
        sizes = [shape[at] for shape in known_ones]
        numbers = [size for size in sizes if isinstance(size, int)]
        dims.append(numbers[0] if numbers else sizes[0])
    dims[axis] = _sum([shape[axis] for shape in known_ones])
    refine(graph, node.outputs[0], tuple(dims))


def _sum(sizes: list[Dim]) -> Dim:
    total: Dim = 0
    for size in sizes:
        total = plus(total, size)
    return total


def _same_pool(graph: Graph, node: Node) -> None:
    """Take the batch axis over; channels are known from the weights or do not change."""
    source, shape = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    if source and shape:
        refine(graph, node.outputs[0], (source[0], *(None,) * (len(shape) - 1)))


BROADCASTING = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Max",
    "Min",
    "Sum",
    "Mean",
    "Where",
    "Equal",
    "Greater",
    "Less",
    "GreaterOrEqual",
    "LessOrEqual",
    "And",
    "Or",
    "Xor",
    "Mod",
}
SHAPES: dict[str, Callable[[Graph, Node], None]] = {
    "Reshape": _same_reshape,
    "Flatten": _same_flatten,
    "Slice": _same_slice,
    "Expand": _same_expand,
    "Concat": _same_concat,
    "Conv": _same_pool,
    "ConvTranspose": _same_pool,
    "MaxPool": _same_pool,
    "AveragePool": _same_pool,
    "PRelu": _same_broadcast,
    **dict.fromkeys(BROADCASTING, _same_broadcast),
}
