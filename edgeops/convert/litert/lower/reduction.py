"""Reductions over axes, arg max, top k, running sums."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.elementwise import absolute
from edgeops.convert.litert.lower.operands import (
    FLOAT,
    NUMBERS,
    RANK,
    axes_last,
    binary,
    carrier,
    constant,
    filled,
    fixed,
    scalar,
    unary,
    vector,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Dims, Tensor

_LARGEST = 3.4028234663852886e38
_ORDERED = ("float32", "int8", "uint8", "int16", "int32", "int64")


@dataclass(frozen=True)
class Span:
    """Over which axes a node reduces, and what is left; no axes: nothing is reduced."""

    axes: tuple[int, ...]
    keep: bool
    dims: Dims

    def reduce(self, b: Builder, code: str, x: Tensor) -> Tensor:
        """Emit a reduction."""
        if not self.axes:
            return x
        return b.emit(code, [x, vector(b, self.axes, "axes")], self.dims, keepDims=self.keep)


def _span(b: Builder, node: Node, x: Tensor) -> Span:
    axes = node.attr("axes")
    if node.has(1):
        axes = constant(b, node, 1, "axes").reshape(-1).tolist()
    if not axes:
        axes = [] if node.attr("noop_with_empty_axes", 0) else range(x.rank)
    over = tuple(sorted({axis % x.rank for axis in axes})) if x.rank else ()
    keep = bool(node.attr("keepdims", 1))
    if over and x.rank > RANK:
        b.refuse(node, f"its input has more than {RANK} axes", code="rank-unsupported")
    dims = tuple(
        1 if axis in over else size for axis, size in enumerate(x.dims) if keep or axis not in over
    )
    return Span(over, keep, dims)


def _reduced(
    b: Builder,
    node: Node,
    kernels: tuple[str, ...],
    empty: Callable[[Any], Any],
    work: Callable[[Tensor, Span], Tensor],
) -> None:
    """Bind the output to what ``work`` emits; ``empty`` answers for no elements, given a dtype."""
    import numpy as np

    x = b.value(node.inputs[0])
    span = _span(b, node, x)
    if 0 in x.dims and all(isinstance(size, int) for size in span.dims):
        sizes = [size for size in span.dims if isinstance(size, int)]
        b.bind(node.outputs[0], filled(b, sizes, empty(np.dtype(x.dtype)), x.dtype))
        return
    out = work(b.cast(x, carrier(b, node, x.dtype, kernels)), span)
    b.bind(node.outputs[0], b.cast(out, x.dtype))


def _lowest(dtype: Any) -> Any:
    import numpy as np

    if dtype.kind == "f":
        return -math.inf
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: Any) -> Any:
    import numpy as np

    if dtype.kind == "f":
        return math.inf
    return True if dtype.kind == "b" else np.iinfo(dtype).max


@lowers("ReduceSum")
def reduce_sum(b: Builder, node: Node) -> None:
    """Add up."""
    _reduced(b, node, NUMBERS, lambda _: 0, lambda x, span: span.reduce(b, "SUM", x))


@lowers("ReduceMean")
def reduce_mean(b: Builder, node: Node) -> None:
    """Average; of integers towards zero, as LiteRT's does."""
    _reduced(b, node, NUMBERS, lambda _: math.nan, lambda x, span: span.reduce(b, "MEAN", x))


@lowers("ReduceProd")
def reduce_prod(b: Builder, node: Node) -> None:
    """Multiply."""
    _reduced(b, node, NUMBERS, lambda _: 1, lambda x, span: span.reduce(b, "REDUCE_PROD", x))


@lowers("ReduceMax")
def reduce_max(b: Builder, node: Node) -> None:
    """Take the largest; of bools, whether any is true."""
    code = "REDUCE_ANY" if b.value(node.inputs[0]).dtype == "bool" else "REDUCE_MAX"
    _reduced(b, node, (*_ORDERED, "bool"), _lowest, lambda x, span: span.reduce(b, code, x))


@lowers("ReduceMin")
def reduce_min(b: Builder, node: Node) -> None:
    """Take the smallest; of bools, whether all are true."""
    code = "REDUCE_ALL" if b.value(node.inputs[0]).dtype == "bool" else "REDUCE_MIN"
    _reduced(b, node, (*_ORDERED, "bool"), _highest, lambda x, span: span.reduce(b, code, x))


@lowers("ReduceL1")
def reduce_l1(b: Builder, node: Node) -> None:
    """Add up the sizes without sign."""
    _reduced(b, node, NUMBERS, lambda _: 0, lambda x, span: span.reduce(b, "SUM", absolute(b, x)))


@lowers("ReduceSumSquare")
def reduce_sum_square(b: Builder, node: Node) -> None:
    """Add up the squares."""

    def work(x: Tensor, span: Span) -> Tensor:
        return span.reduce(b, "SUM", binary(b, "MUL", x, x))

    _reduced(b, node, NUMBERS, lambda _: 0, work)


@lowers("ReduceL2")
def reduce_l2(b: Builder, node: Node) -> None:
    """Take the root of the sum of squares."""

    def work(x: Tensor, span: Span) -> Tensor:
        return unary(b, "SQRT", span.reduce(b, "SUM", binary(b, "MUL", x, x)))

    _reduced(b, node, FLOAT, lambda _: 0, work)


@lowers("ReduceLogSum")
def reduce_log_sum(b: Builder, node: Node) -> None:
    """Take the logarithm of the sum."""

    def work(x: Tensor, span: Span) -> Tensor:
        return unary(b, "LOG", span.reduce(b, "SUM", x))

    _reduced(b, node, FLOAT, lambda _: -math.inf, work)


@lowers("ReduceLogSumExp")
def reduce_log_sum_exp(b: Builder, node: Node) -> None:
    """Take the logarithm of the sum of exponentials, with the largest taken out."""

    def work(x: Tensor, span: Span) -> Tensor:
        kept = tuple(1 if axis in span.axes else size for axis, size in enumerate(x.dims))
        largest = Span(span.axes, keep=True, dims=kept).reduce(b, "REDUCE_MAX", x)
        # An infinite largest would leave NaN where the answer is infinite.
        largest = binary(b, "MINIMUM", scalar(b, _LARGEST, x.dtype), largest)
        largest = binary(b, "MAXIMUM", scalar(b, -_LARGEST, x.dtype), largest)
        rest = unary(b, "EXP", binary(b, "SUB", x, largest))
        out = unary(b, "LOG", span.reduce(b, "SUM", rest))
        return binary(b, "ADD", out, b.reshape(largest, span.dims))

    _reduced(b, node, FLOAT, lambda _: -math.inf, work)


@lowers("ArgMax", "ArgMin")
def arg_extremum(b: Builder, node: Node) -> None:
    """Find the first largest or smallest; the last by turning the axis around."""
    x = b.value(node.inputs[0])
    axis = node.attr("axis", 0) % x.rank
    x = b.cast(x, carrier(b, node, x.dtype, ("float32", "int8", "uint8", "int32", "bool")))
    last = node.attr("select_last_index", 0)
    size = fixed(b, node, x.dims[axis], "the size of the axis it searches") if last else 0
    if last:
        x = b.emit("REVERSE_V2", [x, vector(b, [axis], "axis")], x.dims)
    code = {"ArgMax": "ARG_MAX", "ArgMin": "ARG_MIN"}[node.op]
    dims = tuple(size for place, size in enumerate(x.dims) if place != axis)
    out = b.emit(code, [x, scalar(b, axis, "int32")], dims, "int64", outputType=4)
    if last:
        out = binary(b, "SUB", scalar(b, size - 1, "int64"), out)
    if node.attr("keepdims", 1):
        kept = tuple(1 if place == axis else size for place, size in enumerate(x.dims))
        out = b.emit("EXPAND_DIMS", [out, scalar(b, axis, "int32")], kept)
    b.bind(node.outputs[0], out)


@lowers("TopK")
def top_k(b: Builder, node: Node) -> None:
    """Take the k largest along an axis, sorted; the smallest are the largest of ``-x``."""
    x = b.value(node.inputs[0])
    count = int(constant(b, node, 1, "k").reshape(-1)[0])
    if not node.attr("sorted", 1) and count > 1:
        b.refuse(node, "the order of what it answers is left open", "export it with sorted=1")
    dtype = carrier(b, node, x.dtype, ("float32", "int8", "uint8", "int16", "int32", "int64"))
    largest = bool(node.attr("largest", 1))
    order, back = axes_last(x.rank, node.attr("axis", -1) % x.rank)
    moved = b.transpose(b.cast(x, dtype), order)
    if not largest:
        moved = _downwards(b, node, moved)
    dims = (*moved.dims[:-1], count)
    values, places = b.make(dims, moved.dtype, "values"), b.make(dims, "int32", "indices")
    b.append("TOPK_V2", [moved, scalar(b, count, "int32")], [values, places])
    if not largest:
        values = _downwards(b, node, values)
    values = b.cast(b.cast(values, dtype), x.dtype)
    for index, out in enumerate((values, b.cast(places, "int64"))):
        if node.gives(index):
            b.bind(node.outputs[index], b.transpose(out, back))


def _downwards(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Return the numbers in the opposite order; a second time, as they were."""
    if x.dtype == "float32":
        return unary(b, "NEG", x)
    # -1 - x has no number that it cannot turn around.
    wide = carrier(b, node, x.dtype, ("int32", "int64"))
    return binary(b, "SUB", scalar(b, -1, wide), b.cast(x, wide))


@lowers("CumSum")
def cum_sum(b: Builder, node: Node) -> None:
    """Add up along an axis, keeping every sum on the way."""
    x = b.value(node.inputs[0])
    axis = int(constant(b, node, 1, "axis").reshape(-1)[0]) % x.rank
    dtype = carrier(b, node, x.dtype, NUMBERS)
    out = b.emit(
        "CUMSUM",
        [b.cast(x, dtype), scalar(b, axis, "int32")],
        x.dims,
        exclusive=bool(node.attr("exclusive", 0)),
        reverse=bool(node.attr("reverse", 0)),
    )
    b.bind(node.outputs[0], b.cast(out, x.dtype))
