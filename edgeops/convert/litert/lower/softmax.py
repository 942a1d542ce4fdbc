"""Softmax and what is like it: along one axis, LiteRT's along the last."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import FLOAT, RANK, axes_last, carrier, fixed, scalar

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_PER_AXIS = 13  # the opset since which it is one axis; before, all axes from ``axis`` on


@lowers("Softmax")
def softmax(b: Builder, node: Node) -> None:
    """``e^x`` over its sum."""
    _along(b, node, lambda x: b.emit("SOFTMAX", [x], x.dims, beta=1.0))


@lowers("LogSoftmax")
def log_softmax(b: Builder, node: Node) -> None:
    """``log(softmax(x))``."""
    _along(b, node, lambda x: b.emit("LOG_SOFTMAX", [x], x.dims))


@lowers("Hardmax")
def hardmax(b: Builder, node: Node) -> None:
    """1 at the first largest value, else 0."""

    def one_hot(x: Tensor) -> Tensor:
        depth = fixed(b, node, x.dims[-1], "the size of the axis it works along")
        last = scalar(b, x.rank - 1, "int32")
        found = b.emit("ARG_MAX", [x, last], x.dims[:-1], "int32", outputType=2)
        values = [scalar(b, 1.0, x.dtype), scalar(b, 0.0, x.dtype)]
        operands = [found, scalar(b, depth, "int32"), *values]
        return b.emit("ONE_HOT", operands, x.dims, x.dtype, axis=-1)

    _along(b, node, one_hot)


def _along(b: Builder, node: Node, work: Callable[[Tensor], Tensor]) -> None:
    """Move the axis to the end, work there, move it back."""
    x = b.value(node.inputs[0])
    if x.rank > RANK:
        b.refuse(node, f"it has more than {RANK} axes", code="rank-unsupported")
    flat = b.cast(x, carrier(b, node, x.dtype, FLOAT))
    if b.opset < _PER_AXIS:
        out = b.reshape(work(_from_axis(b, node, flat)), x.dims)
    else:
        order, back = axes_last(x.rank, node.attr("axis", -1) % x.rank)
        out = b.transpose(work(b.transpose(flat, order)), back)
    b.bind(node.outputs[0], b.cast(out, x.dtype))


def _from_axis(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Return the tensor with all axes from ``axis`` on as one."""
    axis = node.attr("axis", 1) % x.rank
    count = math.prod(
        fixed(b, node, size, "the sizes of the axes it works along") for size in x.dims[axis:]
    )
    rows = [size for size in x.dims[:axis] if isinstance(size, int)]
    opened = len(rows) < axis
    return b.reshape(x, ("rows" if opened else math.prod(rows), count))
