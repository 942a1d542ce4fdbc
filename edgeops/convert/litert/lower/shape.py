"""Operators that change the shape of a tensor, or its order, but no value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import (
    broadcast,
    carrier,
    constant,
    fixed,
    scalar,
    select,
    vector,
)

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Dims, Tensor

_RANK = 8  # of TRANSPOSE and RESHAPE


def opened(b: Builder, node: Node, rank: int, index: int = 0) -> Dims:
    """Return the dims of an output whose sizes the model computes: as inferred, or new names."""
    found = b.dims(node.outputs[index])
    if found is not None and len(found) == rank:
        return found
    return tuple(f"?{node.outputs[index]}.{axis}" for axis in range(rank))


@lowers("Reshape")
def reshape(b: Builder, node: Node) -> None:
    """Keep the elements in their order; 0 keeps a size, -1 takes what is left."""
    x, shape = b.value(node.inputs[0]), b.value(node.inputs[1])
    if shape.data is not None:
        dims = _reshaped(x.dims, shape.data.tolist(), zero=bool(node.attr("allowzero", 0)))
        if any(isinstance(size, str) and size.startswith("?") for size in dims):
            inferred = b.dims(node.outputs[0])
            dims = inferred if inferred is not None and len(inferred) == len(dims) else dims
        b.bind(node.outputs[0], b.reshape(x, dims))
        return
    inferred = b.dims(node.outputs[0])
    if inferred is not None and sum(isinstance(size, str) for size in inferred) <= 1:
        b.bind(node.outputs[0], b.reshape(x, inferred))
        return
    if not isinstance(shape.dims[0], int):
        b.refuse(node, "how many axes it makes depends on the data", code="dynamic-shape")
    sizes = _running_sizes(b, x, shape) if not node.attr("allowzero", 0) else shape
    dims = opened(b, node, shape.dims[0])
    b.bind(node.outputs[0], b.emit("RESHAPE", [x, b.cast(sizes, "int32")], dims))


def _reshaped(dims: Dims, sizes: list[int], *, zero: bool) -> Dims:
    """Return the dims that ONNX's sizes mean; "?" where -1 stands for a product with open axes."""
    asked: list[int | str] = [
        dims[axis] if size == 0 and not zero else size for axis, size in enumerate(sizes)
    ]
    if -1 not in asked:
        return tuple(asked)
    rest = list(dims)
    known = 1
    for size in asked:
        if isinstance(size, str) and size in rest:
            rest.remove(size)
        elif isinstance(size, int) and size != -1:
            known *= size
    names = [size for size in rest if isinstance(size, str)]
    count = 1
    for size in rest:
        count *= size if isinstance(size, int) else 1
    if not names:
        left: int | str = count // known if known else 0
    elif len(names) == 1 and count == known:
        left = names[0]
    else:
        left = "?rest"
    return tuple(left if size == -1 else size for size in asked)


def _running_sizes(b: Builder, x: Tensor, shape: Tensor) -> Tensor:
    """Return the sizes with those of ``x`` where they are 0."""
    count = int(shape.shape[0])
    own = b.emit(
        "SHAPE", [x], (x.rank,), shape.dtype, outType={"int32": 2, "int64": 4}[shape.dtype]
    )
    both = min(count, x.rank)
    own = b.emit("SLICE", [own, vector(b, [0]), vector(b, [both])], (both,))
    if both < count:
        ones = scalar(b, 1, shape.dtype)
        padding = b.emit("FILL", [vector(b, [count - both]), ones], (count - both,), shape.dtype)
        own = b.emit("CONCATENATION", [own, padding], (count,), axis=0)
    zero = b.emit("EQUAL", [shape, scalar(b, 0, shape.dtype)], (count,), "bool")
    return select(b, zero, own, shape)


@lowers("Flatten")
def flatten(b: Builder, node: Node) -> None:
    """Make two axes of all: those before ``axis``, and the others."""
    x = b.value(node.inputs[0])
    axis = node.attr("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    inferred = b.dims(node.outputs[0])
    dims = tuple(
        _product(x.dims[part], inferred, place)
        for place, part in enumerate((slice(0, axis), slice(axis, None)))
    )
    b.bind(node.outputs[0], b.reshape(x, dims))


def _product(dims: Dims, inferred: Dims | None, place: int) -> int | str:
    count = 1
    for size in dims:
        count *= size if isinstance(size, int) else 1
    names = [size for size in dims if isinstance(size, str)]
    if not names:
        return count
    if len(names) == 1 and count == 1:
        return names[0]
    found = inferred[place] if inferred is not None else None
    return found if isinstance(found, str) else "*".join([str(count), *names])


@lowers("Squeeze")
def squeeze(b: Builder, node: Node) -> None:
    """Leave out axes of size 1."""
    x = b.value(node.inputs[0])
    axes = _axes(b, node, x.rank)
    if axes is None:
        for axis in range(x.rank):
            fixed(b, node, x.dims[axis], "which axes have the size 1")
        axes = [axis for axis in range(x.rank) if x.dims[axis] == 1]
    dims = tuple(size for axis, size in enumerate(x.dims) if axis not in axes)
    if sum(isinstance(size, str) for size in dims) > 1:
        out = b.emit("SQUEEZE", [x], dims, squeezeDims=axes)
    else:
        out = b.reshape(x, dims)
    b.bind(node.outputs[0], out)


@lowers("Unsqueeze")
def unsqueeze(b: Builder, node: Node) -> None:
    """Put in axes of size 1."""
    x = b.value(node.inputs[0])
    given = _axes(b, node, None)
    assert given is not None  # noqa: S101 - the operator asks for axes
    rank = x.rank + len(given)
    axes = sorted(axis % rank for axis in given)
    dims = list(x.dims)
    for axis in axes:
        dims.insert(axis, 1)
    if sum(isinstance(size, str) for size in dims) <= 1:
        b.bind(node.outputs[0], b.reshape(x, tuple(dims)))
        return
    for axis in axes:
        longer = (*x.dims[:axis], 1, *x.dims[axis:])
        x = b.emit("EXPAND_DIMS", [x, scalar(b, axis, "int32")], longer)
    b.bind(node.outputs[0], x)


def _axes(b: Builder, node: Node, rank: int | None) -> list[int] | None:
    """Return the axes a node names, counted from the front when the rank is given."""
    axes = node.attr("axes")
    if node.has(1):
        axes = constant(b, node, 1, "axes").reshape(-1).tolist()
    if axes is None:
        return None
    return sorted(axis % rank for axis in axes) if rank else list(axes)


@lowers("Transpose")
def transpose(b: Builder, node: Node) -> None:
    """Put the axes into another order."""
    x = b.value(node.inputs[0])
    if x.rank > _RANK:
        b.refuse(node, f"it has more than {_RANK} axes", code="rank-unsupported")
    b.bind(node.outputs[0], b.transpose(x, node.attr("perm") or range(x.rank)[::-1]))


@lowers("Expand")
def expand(b: Builder, node: Node) -> None:
    """Repeat what has size 1 along an axis until it has the size asked for."""
    x, shape = b.value(node.inputs[0]), b.value(node.inputs[1])
    if shape.data is not None:
        dims = broadcast(x.dims, tuple(shape.data.tolist()))
    else:
        dims = b.out_dims(node)
    if dims == x.dims:
        b.bind(node.outputs[0], x)
        return
    if all(isinstance(size, int) for size in dims):
        sizes = vector(b, [size for size in dims if isinstance(size, int)], "shape")
    else:
        sizes = b.running_shape(dims)
    b.bind(node.outputs[0], b.emit("BROADCAST_TO", [x, sizes], dims))


@lowers("Tile")
def tile(b: Builder, node: Node) -> None:
    """Repeat a tensor along its axes."""
    x, repeats = b.value(node.inputs[0]), b.value(node.inputs[1])
    if repeats.data is None:
        dims = opened(b, node, x.rank)
        b.bind(node.outputs[0], b.emit("TILE", [x, b.cast(repeats, "int32")], dims))
        return
    times = repeats.data.tolist()
    known = opened(b, node, x.rank)
    dims = tuple(
        size * count if isinstance(size, int) else size if count == 1 else known[axis]
        for axis, (size, count) in enumerate(zip(x.dims, times, strict=True))
    )
    if all(count == 1 for count in times):
        b.bind(node.outputs[0], x)
        return
    b.bind(node.outputs[0], b.emit("TILE", [x, vector(b, times, "repeats")], dims))


@lowers("DepthToSpace")
def depth_to_space(b: Builder, node: Node) -> None:
    """Make blocks of neighbours out of channels; LiteRT reads channels as DCR does."""
    x = b.value(node.inputs[0])
    block = node.attr("blocksize")
    kept = fixed(b, node, x.dims[1], "the number of channels") // (block * block)
    dtype = carrier(b, node, x.dtype, ("float32", "int8", "uint8", "int32", "int64"))
    value = b.cast(x, dtype)
    if node.attr("mode", "DCR") == "CRD" and kept > 1:
        order = [c * block * block + place for place in range(block * block) for c in range(kept)]
        value = b.emit("GATHER", [value, vector(b, order, "channels")], x.dims, axis=1)
    dims = opened(b, node, 4)
    rows, columns = (_scaled(x.dims[axis], dims[axis], block) for axis in (2, 3))
    out = b.emit(
        "DEPTH_TO_SPACE",
        [b.transpose(value, (0, 2, 3, 1))],
        (x.dims[0], rows, columns, kept),
        blockSize=block,
    )
    b.bind(node.outputs[0], b.cast(b.transpose(out, (0, 3, 1, 2)), x.dtype))


def _scaled(size: int | str, inferred: int | str, factor: int) -> int | str:
    return size * factor if isinstance(size, int) else inferred


@lowers("SpaceToDepth")
def space_to_depth(b: Builder, node: Node) -> None:
    """Make channels out of blocks of neighbours."""
    x = b.value(node.inputs[0])
    block = node.attr("blocksize")
    dtype = carrier(b, node, x.dtype, ("float32", "int8", "uint8", "int32", "int64"))
    channels = fixed(b, node, x.dims[1], "the number of channels")
    value = b.cast(x, dtype)
    dims = opened(b, node, 4)
    sizes = tuple(
        size // block if isinstance(size, int) else dims[axis]
        for axis, size in ((2, x.dims[2]), (3, x.dims[3]))
    )
    out = b.emit(
        "SPACE_TO_DEPTH",
        [b.transpose(value, (0, 2, 3, 1))],
        (x.dims[0], *sizes, channels * block * block),
        blockSize=block,
    )
    out = b.transpose(out, (0, 3, 1, 2))
    if node.attr("mode", "DCR") == "CRD" and channels > 1:
        order = [place * channels + c for c in range(channels) for place in range(block * block)]
        out = b.emit("GATHER", [out, vector(b, order, "channels")], out.dims, axis=1)
    b.bind(node.outputs[0], b.cast(out, x.dtype))
