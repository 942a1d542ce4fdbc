"""Pad, in all its modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import carrier, constant, fixed, scalar, vector

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Dims, Tensor

_PADDED = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")
_RANK = 5  # of PAD and PADV2

Pads = dict[int, tuple[int, int]]


@lowers("Pad")
def pad(b: Builder, node: Node) -> None:
    """Put values around a tensor; fewer than none cut some away."""
    x = b.value(node.inputs[0])
    mode = node.attr("mode", "constant")
    pads = _pads(b, node, x)
    x = _cropped(b, node, x, pads)
    grown = {axis: (max(0, a), max(0, z)) for axis, (a, z) in pads.items() if a > 0 or z > 0}
    if not grown:
        b.bind(node.outputs[0], x)
    elif mode == "constant":
        b.bind(node.outputs[0], _constant(b, node, x, grown))
    elif mode == "reflect" and all(_within(x.dims[axis], ends) for axis, ends in grown.items()):
        operands = [x, _rows(b, grown, x.rank)]
        b.bind(node.outputs[0], b.emit("MIRROR_PAD", operands, _padded(x.dims, grown), mode=0))
    else:
        for axis, ends in grown.items():
            x = _gathered(b, node, x, axis, ends)
        b.bind(node.outputs[0], x)


def _pads(b: Builder, node: Node, x: Tensor) -> Pads:
    """Return what stands before and behind each axis that is padded."""
    pads = node.attr("pads") or node.attr("paddings")
    if node.has(1):
        pads = constant(b, node, 1, "pads").tolist()
    axes = list(range(x.rank))
    if node.has(3):
        axes = [axis % x.rank for axis in constant(b, node, 3, "axes").reshape(-1).tolist()]
    half = len(axes)
    found = {axis: (pads[place], pads[place + half]) for place, axis in enumerate(axes)}
    return {axis: ends for axis, ends in sorted(found.items()) if ends != (0, 0)}


def _cropped(b: Builder, node: Node, x: Tensor, pads: Pads) -> Tensor:
    cut = {axis: (min(0, a), min(0, z)) for axis, (a, z) in pads.items() if a < 0 or z < 0}
    if not cut:
        return x
    begins, sizes, dims = [0] * x.rank, [-1] * x.rank, list(x.dims)
    for axis, (a, z) in cut.items():
        begins[axis] = -a
        dims[axis] = sizes[axis] = (
            fixed(b, node, x.dims[axis], "the size of an axis it cuts") + a + z
        )
    operands = [x, vector(b, begins, "begin"), vector(b, sizes, "size")]
    return b.emit("SLICE", operands, tuple(dims))


def _within(size: int | str, ends: tuple[int, int]) -> bool:
    """Return whether a mirror image is at most as long as LiteRT's mirror is; an open axis may be."""
    return isinstance(size, str) or max(ends) < size


def _rows(b: Builder, pads: Pads, rank: int) -> Tensor:
    import numpy as np

    rows = [pads.get(axis, (0, 0)) for axis in range(rank)]
    return b.const(np.array(rows, "int32"), "paddings")


def _padded(dims: Dims, pads: Pads) -> Dims:
    def grown(axis: int, size: int | str) -> int | str:
        more = sum(pads.get(axis, (0, 0)))
        if isinstance(size, int):
            return size + more
        return f"{size}+{more}" if more else size

    return tuple(grown(axis, size) for axis, size in enumerate(dims))


def _constant(b: Builder, node: Node, x: Tensor, pads: Pads) -> Tensor:
    dtype = carrier(b, node, x.dtype, _PADDED)
    value = b.value(node.inputs[2]) if node.has(2) else None
    if value is None:
        value = scalar(b, node.attr("value", 0), x.dtype)
    value = b.reshape(b.cast(value, dtype), ())
    dims = _padded(x.dims, pads)
    padded = b.cast(x, dtype)
    if x.rank > _RANK:
        padded, pads = _merged(b, node, padded, pads)
    rows = _rows(b, pads, padded.rank)
    if value.data is not None and not value.data.any():
        out = b.emit("PAD", [padded, rows], _padded(padded.dims, pads))
    else:
        out = b.emit("PADV2", [padded, rows, value], _padded(padded.dims, pads))
    return b.cast(b.reshape(out, dims), x.dtype)


def _merged(b: Builder, node: Node, x: Tensor, pads: Pads) -> tuple[Tensor, Pads]:
    """Return the tensor with neighbouring axes that are not padded as one."""
    dims: list[int] = []
    moved: Pads = {}
    joins = False
    for axis, open_size in enumerate(x.dims):
        size = fixed(b, node, open_size, f"all sizes of a tensor with more than {_RANK} axes")
        if axis in pads:
            moved[len(dims)] = pads[axis]
            dims.append(size)
            joins = False
        elif joins:
            dims[-1] *= size
        else:
            dims.append(size)
            joins = True
    if len(dims) > _RANK:
        b.refuse(node, f"it pads a tensor of more than {_RANK} axes", code="rank-unsupported")
    return b.reshape(x, tuple(dims)), moved


def _gathered(b: Builder, node: Node, x: Tensor, axis: int, ends: tuple[int, int]) -> Tensor:
    """Return an axis with places before and behind it that repeat others."""
    import numpy as np

    size = fixed(b, node, x.dims[axis], "the size of an axis whose values it repeats")
    mode = node.attr("mode")
    before, behind = ends
    if mode == "reflect" and size == 1:
        places = np.zeros(before + 1 + behind, "int64")
    else:
        places = np.pad(np.arange(size), (before, behind), mode=mode)
    dims = tuple(len(places) if place == axis else other for place, other in enumerate(x.dims))
    dtype = carrier(b, node, x.dtype, _PADDED)
    out = b.emit(
        "GATHER", [b.cast(x, dtype), vector(b, places.tolist(), "places")], dims, axis=axis
    )
    return b.cast(out, x.dtype)
