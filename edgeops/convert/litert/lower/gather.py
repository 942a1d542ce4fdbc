"""Values picked by indices. LiteRT counts from the front only, so negative indices are moved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import (
    binary,
    carrier,
    fixed,
    select,
    size_of,
    with_number,
)

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Dims, Tensor

_PICKED = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")


@lowers("Gather")
def gather(b: Builder, node: Node) -> None:
    """Pick places along one axis."""
    x, indices = b.value(node.inputs[0]), b.value(node.inputs[1])
    axis = node.attr("axis", 0) % x.rank
    dtype = carrier(b, node, x.dtype, _PICKED)
    places = from_front(b, indices, x, axis)
    dims = (*x.dims[:axis], *indices.dims, *x.dims[axis + 1 :])
    out = b.emit("GATHER", [b.cast(x, dtype), places], dims, axis=axis)
    b.bind(node.outputs[0], b.cast(out, x.dtype))


def from_front(b: Builder, indices: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return indices into an axis counted from its front; constants as int32."""
    import numpy as np

    size = x.dims[axis]
    if indices.data is not None and (isinstance(size, int) or not np.any(indices.data < 0)):
        count = size if isinstance(size, int) else 0
        places = np.where(indices.data < 0, indices.data + count, indices.data)
        return b.const(places.astype("int32"), "places")
    moved = binary(b, "ADD", indices, size_of(b, x, axis, indices.dtype))
    negative = with_number(b, "LESS", indices, 0, dtype="bool")
    return select(b, negative, moved, indices)


def sizes_fixed(b: Builder, node: Node, dims: Dims, what: str) -> tuple[int, ...]:
    """Return dims; refuses when one is open."""
    return tuple(fixed(b, node, size, what) for size in dims)


def flat_places(b: Builder, node: Node, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Return where elements lie in ``x`` as one row, for an index a place along one axis.

    That is what GatherElements and ScatterElements mean by indices; int32 of their shape.
    """
    import numpy as np

    sizes = sizes_fixed(b, node, x.dims, "the shape of its input")
    shape = sizes_fixed(b, node, indices.dims, "the shape of its indices")
    strides = [int(np.prod(sizes[place + 1 :], dtype="int64")) for place in range(len(sizes))]
    grid: Any = np.zeros(shape, "int64")
    for place, count in enumerate(shape):
        if place != axis:
            along = [-1 if other == place else 1 for other in range(len(shape))]
            grid = grid + strides[place] * np.arange(count).reshape(along)
    places = b.cast(from_front(b, indices, x, axis), "int32")
    if places.data is not None:
        return b.const((places.data * strides[axis] + grid).astype("int32"), "places")
    if strides[axis] != 1:
        places = with_number(b, "MUL", places, strides[axis])
    return binary(b, "ADD", places, b.const(grid.astype("int32"), "grid"))


@lowers("GatherElements")
def gather_elements(b: Builder, node: Node) -> None:
    """Pick one element a place, from the same row."""
    x, indices = b.value(node.inputs[0]), b.value(node.inputs[1])
    dtype = carrier(b, node, x.dtype, _PICKED)
    places = flat_places(b, node, x, indices, node.attr("axis", 0) % x.rank)
    row = b.reshape(b.cast(x, dtype), (math.prod(x.shape),))
    out = b.emit("GATHER", [row, places], indices.dims, axis=0)
    b.bind(node.outputs[0], b.cast(out, x.dtype))


@lowers("GatherND")
def gather_nd(b: Builder, node: Node) -> None:
    """Pick slices by index vectors, inside of each batch when there are batches."""
    x, indices = b.value(node.inputs[0]), b.value(node.inputs[1])
    dtype = carrier(b, node, x.dtype, _PICKED)
    batches = node.attr("batch_dims", 0)
    length = fixed(b, node, indices.dims[-1], "the length of its index vectors")
    places = vectors_from_front(b, node, indices, x, batches)
    dims = (*indices.dims[:-1], *x.dims[batches + length :])
    if batches:
        places = _with_batches(b, node, places, batches)
    out = b.emit("GATHER_ND", [b.cast(x, dtype), places], dims)
    b.bind(node.outputs[0], b.cast(out, x.dtype))


def vectors_from_front(
    b: Builder, node: Node, indices: Tensor, x: Tensor, batches: int = 0
) -> Tensor:
    """Return index vectors counted from the front of each axis, as int32."""
    import numpy as np

    length = fixed(b, node, indices.dims[-1], "the length of its index vectors")
    if indices.data is not None and not np.any(indices.data < 0):
        return b.cast(indices, "int32")
    sizes = sizes_fixed(b, node, x.dims[batches : batches + length], "the shape of its input")
    ends = b.const(np.array(sizes, "int32"), "sizes")
    places = b.cast(indices, "int32")
    if places.data is not None:
        return b.const(np.where(places.data < 0, places.data + ends.data, places.data), "places")
    negative = with_number(b, "LESS", places, 0, dtype="bool")
    return select(b, negative, binary(b, "ADD", places, ends), places)


def _with_batches(b: Builder, node: Node, places: Tensor, batches: int) -> Tensor:
    """Return index vectors that begin with the place in each batch axis."""
    import numpy as np

    shape = sizes_fixed(b, node, places.dims[:-1], "the shape of its indices")
    grid = np.moveaxis(np.indices(shape)[:batches], 0, -1).astype("int32")
    dims = (*shape, batches + places.shape[-1])
    operands = [b.const(grid, "batches"), places]
    return b.emit("CONCATENATION", operands, dims, "int32", axis=len(shape))
