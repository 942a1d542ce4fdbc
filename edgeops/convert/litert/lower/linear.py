"""Gemm, MatMul and what else is a matrix product."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import FLOAT, binary, broadcast, carrier, with_number
from edgeops.convert.litert.lower.windows import drop_axis, insert_axis

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Dims, Tensor

_MATRIX = 2
_RANK = 5  # BATCH_MATMUL's kernel takes no more axes


@lowers("Gemm")
def gemm(b: Builder, node: Node) -> None:
    """``alpha * A' @ B' + beta * C`` as FULLY_CONNECTED, whose weights are [out, in]."""
    given = b.value(node.inputs[0])
    dtype = carrier(b, node, given.dtype, FLOAT)
    a, weights = b.cast(given, dtype), b.cast(b.value(node.inputs[1]), dtype)
    if node.attr("transA", 0):
        a = b.transpose(a, (1, 0))
    if not node.attr("transB", 0):
        weights = b.transpose(weights, (1, 0))
    weights = _scaled(b, weights, node.attr("alpha", 1.0))
    units = weights.dims[0]
    bias = b.cast(b.value(node.inputs[2]), dtype) if node.has(2) else None
    if bias is not None:
        bias = _scaled(b, bias, node.attr("beta", 1.0))
    fused = None if bias is None else _vector_bias(b, bias, units)
    out = b.emit("FULLY_CONNECTED", [a, weights, fused], (a.dims[0], units))
    if bias is not None and fused is None:
        out = binary(b, "ADD", out, bias)
    b.bind(node.outputs[0], b.cast(out, given.dtype))


def _scaled(b: Builder, tensor: Tensor, factor: float) -> Tensor:
    import numpy as np

    if factor == 1.0:
        return tensor
    if tensor.is_constant:
        return b.const(tensor.data * np.float32(factor), tensor.name)
    return with_number(b, "MUL", tensor, factor)


def _vector_bias(b: Builder, bias: Tensor, units: int | str) -> Tensor | None:
    """Return a constant bias as one number a unit, None when it is none."""
    import numpy as np

    if not bias.is_constant or not isinstance(units, int):
        return None
    wide = (1,) * (_MATRIX - bias.rank) + bias.data.shape
    if wide[0] != 1:
        return None
    return b.const(np.broadcast_to(bias.data.reshape(-1), (units,)), bias.name)


@lowers("MatMul")
def matmul(b: Builder, node: Node) -> None:
    """Matrix product of the last two axes, as numpy.matmul has it."""
    one, other = (b.value(name) for name in node.inputs)
    dtype = carrier(b, node, one.dtype, FLOAT)
    x, y = b.cast(one, dtype), b.cast(other, dtype)
    is_row, is_column = x.rank == 1, y.rank == 1
    if is_row:
        x = insert_axis(b, x, 0)
    if is_column:
        y = insert_axis(b, y, 1)
    out = product(b, node, x, y)
    if is_column:
        out = drop_axis(b, out, out.rank - 1)
    if is_row:
        out = drop_axis(b, out, out.rank - 1 if is_column else out.rank - _MATRIX)
    b.bind(node.outputs[0], b.cast(out, one.dtype))


def product(b: Builder, node: Node, x: Tensor, y: Tensor) -> Tensor:
    """Return ``x @ y`` of tensors with two axes or more; refuses more than LiteRT takes."""
    if y.is_constant and y.rank == _MATRIX:
        weights = b.transpose(y, (1, 0))
        dims = (*x.dims[:-1], y.dims[1])
        return b.emit("FULLY_CONNECTED", [x, weights, None], dims, keepNumDims=x.rank > _MATRIX)
    dims = (*_batch(x, y), x.dims[-2], y.dims[-1])
    if len(dims) <= _RANK:
        return b.emit("BATCH_MATMUL", [x, y], dims)
    batch = x.dims[:-2]
    if any(isinstance(size, str) for size in batch) or y.dims[:-2] not in ((), batch):
        b.refuse(
            node,
            f"its result has {len(dims)} axes; LiteRT multiplies along {_RANK}",
            "reshape both sides to at most five axes before",
            code="rank-unsupported",
        )
    count = math.prod(int(size) for size in batch)
    left = b.reshape(x, (count, *x.dims[-2:]))
    right = y if y.rank == _MATRIX else b.reshape(y, (count, *y.dims[-2:]))
    out = b.emit("BATCH_MATMUL", [left, right], (count, *dims[-2:]))
    return b.reshape(out, dims)


def _batch(x: Tensor, y: Tensor) -> Dims:
    sides = [tensor.dims[:-2] for tensor in (x, y) if tensor.rank > _MATRIX]
    return broadcast(*sides) if sides else ()


@lowers("Einsum")
def einsum(b: Builder, node: Node) -> None:
    """Write sums of products that are one matrix product, or a sum of one tensor."""
    inputs, letters = _letters(b, node)
    out = letters.pop()
    tensors = [b.cast(t, carrier(b, node, t.dtype, FLOAT)) for t in inputs]
    if len(tensors) == 1:
        answer = _arranged(b, *_summed(b, tensors[0], letters[0], out), out)
        b.bind(node.outputs[0], b.cast(answer, inputs[0].dtype))
        return
    others = letters[1] + out, letters[0] + out
    sides = [
        _summed(b, tensor, own, other)
        for tensor, own, other in zip(tensors, letters, others, strict=True)
    ]
    (x, left), (y, right) = sides
    shared = [letter for letter in left if letter in right]
    batch = [letter for letter in shared if letter in out]
    inner = [letter for letter in shared if letter not in out]
    rows = [letter for letter in left if letter not in shared]
    columns = [letter for letter in right if letter not in shared]
    sizes = _sizes((x, left), (y, right))
    x = _matrix(b, _arranged(b, x, left, [*batch, *rows, *inner]), len(batch), len(rows))
    y = _matrix(b, _arranged(b, y, right, [*batch, *inner, *columns]), len(batch), len(inner))
    made = product(b, node, x, y)
    full = [*batch, *rows, *columns]
    made = b.reshape(made, tuple(sizes[letter] for letter in full))
    b.bind(node.outputs[0], b.cast(_arranged(b, made, full, list(out)), inputs[0].dtype))


def _letters(b: Builder, node: Node) -> tuple[list[Tensor], list[str]]:
    """Return the inputs and the letters of each and of the output; refuses what is no product."""
    equation = node.attr("equation").replace(" ", "")
    inputs = [b.value(name) for name in node.inputs]
    given, arrow, out = equation.partition("->")
    terms = given.split(",")
    if not arrow:
        found = given.replace(",", "").replace(".", "")
        once = "".join(sorted(letter for letter in set(found) if found.count(letter) == 1))
        out = ("..." if "..." in given else "") + once
    most = max(
        (t.rank - len(term.replace("...", "")) for t, term in zip(inputs, terms, strict=True)),
        default=0,
    )
    # Axes that dots stand for get letters of their own, aligned at the end; no equation has these.
    spare = "".join(chr(0x3B1 + index) for index in range(max(most, 0)))
    letters = []
    for tensor, term in zip(inputs, terms, strict=True):
        count = tensor.rank - len(term.replace("...", ""))
        letters.append(term.replace("...", spare[len(spare) - count :] if count else ""))
    letters.append(out.replace("...", spare))
    repeated = any(len(set(term)) < len(term) for term in letters)
    if repeated or len(inputs) > _MATRIX or _stretches(inputs, letters):
        b.refuse(
            node,
            f"{equation!r} is no single matrix product",
            "export it as MatMul, Mul and ReduceSum",
            code="attribute-unsupported",
        )
    return inputs, letters


def _stretches(inputs: list[Tensor], letters: list[str]) -> bool:
    """Return whether an axis of size 1 is to be repeated."""
    sizes: dict[str, int | str] = {}
    return any(
        sizes.setdefault(letter, size) != size and 1 in (sizes[letter], size)
        for tensor, term in zip(inputs, letters, strict=False)
        for letter, size in zip(term, tensor.dims, strict=True)
    )


def _sizes(*sides: tuple[Tensor, list[str]]) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    for tensor, letters in sides:
        for letter, size in zip(letters, tensor.dims, strict=True):
            if not isinstance(found.get(letter), int):
                found[letter] = size
    return found


def _summed(b: Builder, tensor: Tensor, letters: str, kept: str) -> tuple[Tensor, list[str]]:
    """Return the tensor summed over the axes whose letters are nowhere else."""
    import numpy as np

    alone = [axis for axis, letter in enumerate(letters) if letter not in kept]
    left = [axis for axis in range(tensor.rank) if axis not in alone]
    if alone:
        dims = tuple(tensor.dims[axis] for axis in left)
        axes = b.const(np.array(alone, "int32"), "axes")
        tensor = b.emit("SUM", [tensor, axes], dims, keepDims=False)
    return tensor, [letters[axis] for axis in left]


def _arranged(b: Builder, tensor: Tensor, letters: list[str], wanted: list[str] | str) -> Tensor:
    return b.transpose(tensor, [letters.index(letter) for letter in wanted])


def _matrix(b: Builder, tensor: Tensor, batch: int, rows: int) -> Tensor:
    """Return the tensor with two axes behind those of the batch."""
    dims = tensor.dims
    sides = (dims[batch : batch + rows], dims[batch + rows :])
    return b.reshape(tensor, (*dims[:batch], *(_merged(side) for side in sides)))


def _merged(sizes: Dims) -> int | str:
    names = [size for size in sizes if isinstance(size, str)]
    count = math.prod(size for size in sizes if isinstance(size, int))
    if not names:
        return count
    return names[0] if len(names) == 1 and count == 1 else "*".join([*names, str(count)])
