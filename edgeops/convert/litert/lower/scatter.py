"""Values put at indices. SCATTER_ND starts from zeros and adds up what meets at a place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.gather import (
    flat_places,
    sizes_fixed,
    vectors_from_front,
)
from edgeops.convert.litert.lower.operands import binary, carrier, fixed, scalar, select, vector

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_PUT = ("float32", "int8", "uint8", "int32", "int64")
_ADDED = ("float32", "int32", "int64")


@lowers("ScatterND")
def scatter_nd(b: Builder, node: Node) -> None:
    """Put slices where index vectors say."""
    x, indices = b.value(node.inputs[0]), b.value(node.inputs[1])
    sizes = sizes_fixed(b, node, x.dims, "the shape of its input")
    places = vectors_from_front(b, node, indices, x)
    length = fixed(b, node, indices.dims[-1], "the length of its index vectors")
    # Slices as rows of a table of rows: one number an index, whatever the shapes are.
    rows = math.prod(sizes[:length])
    place = _row_numbers(b, node, places, sizes[:length])
    row = sizes[length:]
    count = math.prod(sizes_fixed(b, node, indices.dims[:-1], "the shape of its indices"))
    updates = b.reshape(b.value(node.inputs[2]), (count, math.prod(row)))
    table = b.reshape(x, (rows, math.prod(row)))
    out = _scattered(b, node, table, b.reshape(place, (count, 1)), updates)
    b.bind(node.outputs[0], b.reshape(out, x.dims))


def _row_numbers(b: Builder, node: Node, places: Tensor, sizes: tuple[int, ...]) -> Tensor:
    import numpy as np

    strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    steps = np.array(strides, "int32")
    if places.data is not None:
        return b.const((places.data * steps).sum(axis=-1).astype("int32"), "places")
    if not strides:
        b.refuse(node, "its index vectors are empty")
    scaled = binary(b, "MUL", places, b.const(steps, "strides"))
    axes = vector(b, [places.rank - 1], "axes")
    return b.emit("SUM", [scaled, axes], places.dims[:-1], keepDims=False)


@lowers("ScatterElements", "Scatter")
def scatter_elements(b: Builder, node: Node) -> None:
    """Put one element a place, into the same row."""
    x, indices = b.value(node.inputs[0]), b.value(node.inputs[1])
    places = flat_places(b, node, x, indices, node.attr("axis", 0) % x.rank)
    count = math.prod(indices.shape)
    table = b.reshape(x, (math.prod(x.shape), 1))
    updates = b.reshape(b.value(node.inputs[2]), (count, 1))
    out = _scattered(b, node, table, b.reshape(places, (count, 1)), updates)
    b.bind(node.outputs[0], b.reshape(out, x.dims))


def _scattered(b: Builder, node: Node, table: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    """Return a table of rows with rows put or added at places, [count, 1]."""
    import numpy as np

    reduction = node.attr("reduction", "none")
    if reduction not in {"none", "add"}:
        b.refuse(
            node,
            f"LiteRT scatters by putting and adding, not by {reduction}",
            code="attribute-unsupported",
        )
    shape = vector(b, table.shape, "shape")
    if reduction == "add":
        dtype = carrier(b, node, table.dtype, _ADDED)
        more = b.emit("SCATTER_ND", [places, b.cast(updates, dtype), shape], table.dims)
        return b.cast(binary(b, "ADD", b.cast(table, dtype), more), table.dtype)
    dtype = carrier(b, node, table.dtype, _PUT)
    if places.data is not None:
        numbers = places.data.reshape(-1)
        last = {int(number): place for place, number in enumerate(numbers)}
        if len(last) < len(numbers):  # ONNX Runtime lets the last of those that meet stand
            kept = vector(b, list(last.values()), "kept")
            dims = (len(last), updates.shape[1])
            updates = b.emit("GATHER", [updates, kept], dims, axis=0)
            places = b.const(np.array(list(last), "int32").reshape(-1, 1), "places")
    new = b.emit("SCATTER_ND", [places, b.cast(updates, dtype), shape], table.dims)
    if places.data is not None:
        mask = np.zeros((table.shape[0], 1), "bool")
        mask[places.data.reshape(-1)] = True
        written = b.const(mask, "written")
    else:
        ones = b.const(np.ones((places.shape[0], 1), "int32"), "ones")
        rows = vector(b, [table.shape[0], 1], "shape")
        hits = b.emit("SCATTER_ND", [places, ones, rows], (table.shape[0], 1), "int32")
        written = binary(b, "GREATER", hits, scalar(b, 0, "int32"), "bool")
    return b.cast(select(b, written, new, b.cast(table, dtype)), table.dtype)
