"""Operators that put tensors together or cut pieces out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import (
    RANK,
    binary,
    carrier,
    constant,
    fixed,
    scalar,
    vector,
)
from edgeops.convert.litert.lower.shape import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Dims, Tensor

_JOINED = ("float32", "float16", "int8", "uint8", "int16", "int32", "uint32", "int64", "bool")
_LAST, _FIRST = 2**31 - 1, -(2**31)


@lowers("Concat")
def concat(b: Builder, node: Node) -> None:
    """Put tensors one behind the other; those without elements are left out."""
    values = [b.value(name) for name in node.inputs]
    axis = node.attr("axis", 0) % values[0].rank
    if values[0].rank > RANK:
        b.refuse(node, f"it has more than {RANK} axes", code="rank-unsupported")
    dims = [*_agreed(values)]
    sizes = [value.dims[axis] for value in values]
    total = sum(size for size in sizes if isinstance(size, int))
    dims[axis] = total
    if any(isinstance(size, str) for size in sizes):
        dims[axis] = opened(b, node, len(dims))[axis]
        if isinstance(dims[axis], int):
            dims[axis] = "+".join(map(str, sizes))
    values = [value for value in values if value.dims[axis] != 0]
    dtype = carrier(b, node, values[0].dtype, _JOINED)
    if len(values) == 1:
        b.bind(node.outputs[0], values[0])
        return
    operands = [b.cast(value, dtype) for value in values]
    out = b.emit("CONCATENATION", operands, tuple(dims), dtype, axis=axis)
    b.bind(node.outputs[0], b.cast(out, values[0].dtype))


def _agreed(values: Sequence[Tensor]) -> Dims:
    """Return sizes that several tensors must share, the fixed one where it is known."""
    return tuple(
        next((size for size in sizes if isinstance(size, int)), sizes[0])
        for sizes in zip(*(value.dims for value in values), strict=True)
    )


@lowers("Split")
def split(b: Builder, node: Node) -> None:
    """Cut an axis into pieces of given or equal sizes."""
    x = b.value(node.inputs[0])
    axis = node.attr("axis", 0) % x.rank
    size = fixed(b, node, x.dims[axis], "the size of the axis it cuts")
    sizes = node.attr("split")
    if node.has(1):
        sizes = constant(b, node, 1, "sizes").reshape(-1).tolist()
    if not sizes:
        count = node.attr("num_outputs", len(node.outputs))
        each = -(-size // count)
        sizes = [max(0, min(each, size - each * place)) for place in range(count)]
    begin = 0
    for place, part in enumerate(sizes):
        if node.gives(place):
            b.bind(node.outputs[place], cut(b, x, axis, begin, part))
        begin += part


def cut(b: Builder, x: Tensor, axis: int, begin: int, size: int) -> Tensor:
    """Return ``size`` places of an axis from ``begin`` on; -1 in SLICE is an axis as it is."""
    if begin == 0 and size == x.dims[axis]:
        return x
    dims = tuple(size if place == axis else other for place, other in enumerate(x.dims))
    starts = [begin if place == axis else 0 for place in range(x.rank)]
    counts = [size if place == axis else -1 for place in range(x.rank)]
    return b.emit("SLICE", [x, vector(b, starts, "begin"), vector(b, counts, "size")], dims)


@lowers("Slice")
def slice_(b: Builder, node: Node) -> None:
    """Cut ranges with steps out of axes; ends beyond an axis are its ends."""
    x = b.value(node.inputs[0])
    begins, ends = _bound(b, node, 1, "starts"), _bound(b, node, 2, "ends")
    count = begins.shape[0]
    axes, steps = list(range(count)), [1] * count
    if node.has(3):
        axes = constant(b, node, 3, "axes").tolist()
    elif node.attr("axes"):
        axes = list(node.attr("axes"))
    if node.has(4):
        steps = constant(b, node, 4, "steps").tolist()
    axes = [axis % x.rank for axis in axes]
    if begins.data is None or ends.data is None:
        _running_slice(b, node, (begins, ends), dict(zip(axes, steps, strict=True)))
        return
    ranges = zip(axes, begins.data.tolist(), ends.data.tolist(), steps, strict=True)
    asked = {axis: (begin, end, step) for axis, begin, end, step in ranges}
    plain = _plain(x.dims, asked)
    if plain is None:
        b.bind(node.outputs[0], _strided(b, node, x, asked))
        return
    dims, starts, sizes = plain
    if dims != x.dims:
        x = b.emit("SLICE", [x, vector(b, starts, "begin"), vector(b, sizes, "size")], dims)
    b.bind(node.outputs[0], x)


def _bound(b: Builder, node: Node, index: int, name: str) -> Tensor:
    """Return starts or ends, which opsets before 10 have as attributes."""
    import numpy as np

    if node.has(index):
        return b.value(node.inputs[index])
    return b.const(np.array(node.attr(name), "int64"), name)


def _plain(
    dims: Dims, asked: dict[int, tuple[int, int, int]]
) -> tuple[Dims, list[int], list[int]] | None:
    """Return dims, begins and sizes of a slice without steps and open axes, else None."""
    out, starts, sizes = list(dims), [0] * len(dims), [-1] * len(dims)
    for axis, (begin, end, step) in asked.items():
        size = dims[axis]
        if step != 1 or isinstance(size, str):
            return None
        starts[axis], stop, _ = slice(begin, end).indices(size)
        out[axis] = sizes[axis] = max(0, stop - starts[axis])
    return tuple(out), starts, sizes


def _strided(b: Builder, node: Node, x: Tensor, asked: dict[int, tuple[int, int, int]]) -> Tensor:
    """Emit STRIDED_SLICE, whose masks say that an end is that of the axis."""
    known = opened(b, node, x.rank)
    begins, ends, steps, dims = [0] * x.rank, [0] * x.rank, [1] * x.rank, list(x.dims)
    begin_mask = end_mask = sum(1 << axis for axis in range(x.rank) if axis not in asked)
    for axis, (begin, end, step) in asked.items():
        size = x.dims[axis]
        steps[axis] = step
        if isinstance(size, int):
            first, stop, _ = slice(begin, end, step).indices(size)
            begins[axis], ends[axis] = first, stop
            dims[axis] = len(range(first, stop, step))
            end_mask |= (1 << axis) if stop < 0 else 0
            continue
        dims[axis] = known[axis]
        begins[axis] = min(max(begin, _FIRST), _LAST)
        ends[axis] = min(max(end, _FIRST), _LAST)
        if end >= _LAST if step > 0 else end <= _FIRST:
            end_mask |= 1 << axis
        if begin == 0 and ends[axis] == _LAST and step == 1:
            dims[axis] = size
    operands = [vector(b, begins, "begin"), vector(b, ends, "end"), vector(b, steps, "steps")]
    return b.emit(
        "STRIDED_SLICE", [x, *operands], tuple(dims), beginMask=begin_mask, endMask=end_mask
    )


def _running_slice(
    b: Builder, node: Node, bounds: tuple[Tensor, Tensor], steps: dict[int, int]
) -> None:
    """Emit a slice whose starts or ends the model computes."""
    x = b.value(node.inputs[0])
    order = list(steps)
    mask = sum(1 << axis for axis in range(x.rank) if axis not in steps)
    known = opened(b, node, x.rank)
    dims = tuple(known[axis] if axis in steps else size for axis, size in enumerate(x.dims))
    whole = [_spread(b, _narrow(b, bound), order, x.rank) for bound in bounds]
    strides = vector(b, [steps.get(axis, 1) for axis in range(x.rank)], "steps")
    out = b.emit("STRIDED_SLICE", [x, *whole, strides], dims, beginMask=mask, endMask=mask)
    b.bind(node.outputs[0], out)


def _narrow(b: Builder, bound: Tensor) -> Tensor:
    """Return int32, the ends of int64 as those of int32."""
    import numpy as np

    if bound.data is not None:
        return b.const(bound.data.clip(_FIRST, _LAST).astype(np.int32), "bound")
    if bound.dtype == "int64":
        bound = binary(b, "MINIMUM", scalar(b, _LAST, "int64"), bound)
        bound = binary(b, "MAXIMUM", scalar(b, _FIRST, "int64"), bound)
    return b.cast(bound, "int32")


def _spread(b: Builder, bound: Tensor, axes: list[int], rank: int) -> Tensor:
    """Return a vector of one number an axis: those given, else 0."""
    padded = b.emit("CONCATENATION", [bound, vector(b, [0])], (len(axes) + 1,), "int32", axis=0)
    places = [axes.index(axis) if axis in axes else len(axes) for axis in range(rank)]
    return b.emit("GATHER", [padded, vector(b, places, "places")], (rank,), axis=0)
