"""What becomes of each operator when it reads a tensor before its transpose instead of behind it.

A rule gets the operator, the permutation ``p`` (axis i behind the transpose is axis ``p[i]`` before
it) and the tensors before the transpose; it returns the inputs and options for the axes before, and
the permutation that brings the output back, or None when the operator cannot do that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.ir import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.convert.litert.ir import Op

Order = tuple[int, ...]


@dataclass
class Moved:
    """An operator over the axes before the transpose; ``order`` brings its outputs back."""

    inputs: list[Tensor | None]
    order: Order
    options: dict[str, Any] = field(default_factory=dict)


# By operator, which of its inputs are transposed together; the rest is the rule's.
UNARY = frozenset(
    {
        "ABS", "CAST", "CEIL", "COS", "DEQUANTIZE", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH",
        "LEAKY_RELU", "LOG", "LOGICAL_NOT", "LOGISTIC", "NEG", "QUANTIZE", "RELU", "RELU6",
        "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN", "SIN", "SQRT", "SQUARE", "TANH",
        "ZEROS_LIKE",
    }
)  # fmt: skip
ELEMENTWISE = frozenset(
    {
        "ADD", "ATAN2", "DIV", "EQUAL", "FLOOR_DIV", "FLOOR_MOD", "GREATER", "GREATER_EQUAL", "LESS",
        "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "MAXIMUM", "MINIMUM", "MUL", "NOT_EQUAL", "POW",
        "PRELU", "SELECT_V2", "SQUARED_DIFFERENCE", "SUB",
    }
)  # fmt: skip


def data_inputs(op: Op) -> list[int]:
    """Return which inputs of an operator lie on the axes that a transpose would change."""
    if op.code in ELEMENTWISE or op.code == "CONCATENATION":
        return list(range(len(op.inputs)))
    if op.code == "SPLIT":
        return [1]
    return [0] if op.code in UNARY or op.code in RULES else []


def moved(op: Op, order: Order, before: dict[int, Tensor]) -> Moved | None:
    """Return the operator over the axes before the transpose, None when it cannot be."""
    inputs = [before.get(index, tensor) for index, tensor in enumerate(op.inputs)]
    if op.code in UNARY or op.code in ELEMENTWISE:
        return Moved(inputs, order, op.options)
    rule = RULES.get(op.code)
    return rule(op, order, inputs) if rule else None


def inverse(order: Order) -> Order:
    """Return the permutation that undoes another."""
    return tuple(order.index(axis) for axis in range(len(order)))


def _concatenation(op: Op, order: Order, inputs: list[Tensor | None]) -> Moved:
    axis = op.options["axis"] % len(order)
    return Moved(inputs, order, {**op.options, "axis": order[axis]})


def _softmax(op: Op, order: Order, inputs: list[Tensor | None]) -> Moved | None:
    return Moved(inputs, order, op.options) if order[-1] == len(order) - 1 else None


def _rows(op: Op, order: Order, inputs: list[Tensor | None]) -> Moved | None:
    """Operands that hold one row, or one number, for each axis: paddings, begin, size, multiples."""
    found = []
    for tensor in op.inputs[1:]:
        if tensor is None or not tensor.is_constant:
            return None
        if tensor.rank and tensor.dims[0] != len(order):
            return None  # it adds axes
        found.append(tensor if tensor.rank == 0 else _reordered(tensor, order))
    return Moved([inputs[0], *found], order, op.options)


def _reordered(tensor: Tensor, order: Order) -> Tensor:
    data = tensor.data[list(inverse(order))]
    return Tensor(f"{tensor.name}/moved", tensor.dims, tensor.dtype, data)


def _strided(op: Op, order: Order, inputs: list[Tensor | None]) -> Moved | None:
    options = dict(op.options)
    if any(
        options.get(name) for name in ("ellipsisMask", "newAxisMask", "shrinkAxisMask", "offset")
    ):
        return None
    for name in ("beginMask", "endMask"):
        mask = options.get(name, 0)
        options[name] = sum(1 << order[axis] for axis in range(len(order)) if mask >> axis & 1)
    rows = _rows(op, order, inputs)
    return rows and Moved(rows.inputs, order, options)


def _reduce(op: Op, order: Order, inputs: list[Tensor | None]) -> Moved | None:
    axes = op.inputs[1]
    if axes is None or not axes.is_constant:
        return None
    import numpy as np

    rank = len(order)
    gone = {int(axis) % rank for axis in np.atleast_1d(axes.data)}
    there = np.array(sorted(order[axis] for axis in gone), axes.data.dtype)
    changed = Tensor(f"{axes.name}/moved", (len(there),), axes.dtype, there)
    if op.options.get("keepDims"):
        return Moved([inputs[0], changed], order, op.options)
    return Moved([inputs[0], changed], _without(order, gone), op.options)


def _without(order: Order, gone: set[int]) -> Order:
    """Return the permutation of the axes that are left when some axes (behind) are taken away."""
    left = [order[axis] for axis in range(len(order)) if axis not in gone]
    ranks = sorted(left)
    return tuple(ranks.index(axis) for axis in left)


def _arg(op: Op, order: Order, inputs: list[Tensor | None]) -> Moved | None:
    axis = op.inputs[1]
    if axis is None or not axis.is_constant:
        return None
    import numpy as np

    behind = int(np.ravel(axis.data)[0]) % len(order)
    data = np.full(axis.data.shape, order[behind], axis.data.dtype)
    changed = Tensor(f"{axis.name}/moved", axis.dims, axis.dtype, data)
    return Moved([inputs[0], changed], _without(order, {behind}), op.options)


def _split(op: Op, order: Order, inputs: list[Tensor | None]) -> Moved | None:
    at = 0 if op.code == "SPLIT" else 2
    axis = op.inputs[at]
    if axis is None or not axis.is_constant:
        return None
    import numpy as np

    behind = int(np.ravel(axis.data)[0]) % len(order)
    data = np.full(axis.data.shape, order[behind], axis.data.dtype)
    found = list(inputs)
    found[at] = Tensor(f"{axis.name}/moved", axis.dims, axis.dtype, data)
    return Moved(found, order, op.options)


def _gather(op: Op, order: Order, inputs: list[Tensor | None]) -> Moved | None:
    indices = op.inputs[1]
    if indices is None or indices.rank != 1 or op.options.get("batchDims"):
        return None
    axis = op.options.get("axis", 0) % len(order)
    return Moved(inputs, order, {**op.options, "axis": order[axis]})


RULES: dict[str, Callable[[Op, Order, list[Tensor | None]], Moved | None]] = {
    "CONCATENATION": _concatenation,
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _softmax,
    "PAD": _rows,
    "PADV2": _rows,
    "MIRROR_PAD": _rows,
    "SLICE": _rows,
    "TILE": _rows,
    "BROADCAST_TO": _rows,
    "STRIDED_SLICE": _strided,
    "MEAN": _reduce,
    "SUM": _reduce,
    "REDUCE_MAX": _reduce,
    "REDUCE_MIN": _reduce,
    "REDUCE_PROD": _reduce,
    "REDUCE_ANY": _reduce,
    "REDUCE_ALL": _reduce,
    "ARG_MAX": _arg,
    "ARG_MIN": _arg,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "GATHER": _gather,
}
