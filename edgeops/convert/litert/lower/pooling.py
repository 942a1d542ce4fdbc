"""Pools: those along one axis as two, along three as two after each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import FLOAT, binary, carrier, unary, vector, with_number
from edgeops.convert.litert.lower.windows import (
    POINT,
    SAME,
    VALID,
    channels_first,
    channels_last,
    drop_axis,
    explicit,
    insert_axis,
    is_static,
    padded,
    windows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor
    from edgeops.convert.litert.lower.windows import Window

_VOLUME = 3
_BYTES = ("int8", "uint8")


@lowers("MaxPool")
def max_pool(b: Builder, node: Node) -> None:
    """Largest of each window; padding counts as the lowest number."""
    if node.gives(1):
        b.refuse(
            node,
            "its second output, where the largest stood, has no operator",
            "export it without that output",
            code="attribute-unsupported",
        )
    x, found, dtype = _start(b, node, _BYTES)
    import numpy as np

    if len(found) > len("HW") or any(window.dilation > 1 for window in found):
        x, padding = _written(b, node, x, found, np.array(-np.inf, "float32")), VALID
    else:
        x, padding = padded(b, x, found, -np.inf)
    _end(b, node, _pool(b, "MAX_POOL_2D", x, found, padding), dtype)


@lowers("AveragePool")
def average_pool(b: Builder, node: Node) -> None:
    """Mean of each window; ``count_include_pad`` says whether padding counts as zeros."""
    x, found, dtype = _start(b, node)
    counts_padding = bool(node.attr("count_include_pad", 0))
    flat = len(found) <= len("HW") and all(window.dilation == 1 for window in found)
    if flat and all(window.is_valid for window in found):
        y = _pool(b, "AVERAGE_POOL_2D", x, found, VALID)
    elif flat and not counts_padding and all(window.is_same for window in found):
        y = _pool(b, "AVERAGE_POOL_2D", x, found, SAME)
    else:
        y = _pool(b, "AVERAGE_POOL_2D", _written(b, node, x, found), found, VALID)
        y = _weighted(b, node, x, y, found)
    _end(b, node, y, dtype)


@lowers("LpPool")
def lp_pool(b: Builder, node: Node) -> None:
    """``(sum of |x|^p)^(1/p)`` over each window."""
    x, found, dtype = _start(b, node)
    order = int(node.attr("p", 2))
    powers = _powers(b, x, order)
    means = _pool(b, "AVERAGE_POOL_2D", _written(b, node, powers, found), found, VALID)
    area = 1
    for window in found:
        area *= window.kernel
    _end(b, node, _root(b, with_number(b, "MUL", means, area), order), dtype)


@lowers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(b: Builder, node: Node) -> None:
    """Mean, largest or norm over all spatial axes."""
    given = b.value(node.inputs[0])
    x = b.cast(given, carrier(b, node, given.dtype, FLOAT))
    code = {"GlobalAveragePool": "MEAN", "GlobalMaxPool": "REDUCE_MAX", "GlobalLpPool": "SUM"}
    order = int(node.attr("p", 2))
    if node.op == "GlobalLpPool":
        x = _powers(b, x, order)
    axes = vector(b, list(range(2, x.rank)), "axes")
    dims = (*x.dims[:2], *[1] * (x.rank - 2))
    y = b.emit(code[node.op], [x, axes], dims, keepDims=True)
    if node.op == "GlobalLpPool":
        y = _root(b, y, order)
    b.bind(node.outputs[0], b.cast(y, given.dtype))


def _start(b: Builder, node: Node, also: Sequence[str] = ()) -> tuple[Tensor, list[Window], str]:
    """Return the input as floats with its channels last, its windows, and the dtype asked for."""
    given = b.value(node.inputs[0])
    kernel = node.attr("kernel_shape")
    if not 1 <= len(kernel) <= _VOLUME:
        b.refuse(node, f"it has {len(kernel)} spatial axes", code="rank-unsupported")
    dtype = "float32" if given.dtype in also else carrier(b, node, given.dtype, FLOAT)
    x = channels_last(b, b.cast(given, dtype))
    return x, windows(b, node, given.dims[2:], kernel), given.dtype


def _end(b: Builder, node: Node, y: Tensor, dtype: str) -> None:
    b.bind(node.outputs[0], b.cast(channels_first(b, y), dtype))


def _pool(b: Builder, code: str, x: Tensor, found: Sequence[Window], padding: int) -> Tensor:
    """Return the pool of ``x`` (channels last), along as many axes as there are windows."""
    if any(window.dilation > 1 for window in found):
        return _dilated(b, code, x, found)
    if len(found) == 1:
        y = _flat_pool(b, code, insert_axis(b, x, 1), [POINT, *found], padding)
        return drop_axis(b, y, 1)
    if len(found) < _VOLUME:
        return _flat_pool(b, code, x, found, padding)
    batch, depth, *_, channels = x.dims
    deep, high, wide = found
    flat = b.reshape(
        x, (f"{batch}*{depth}" if isinstance(batch, str) else batch * depth, *x.dims[2:])
    )
    flat = _flat_pool(b, code, flat, [high, wide], padding)
    area = int(high.out) * int(wide.out)
    tall = b.reshape(flat, (batch, depth, area, channels))
    across = _replaced(POINT, area)
    tall = _flat_pool(b, code, tall, [deep, across], padding)
    return b.reshape(tall, (batch, deep.out, high.out, wide.out, channels))


def _replaced(window: Window, size: int) -> Window:
    from dataclasses import replace

    return replace(window, size=size, out=size)


def _flat_pool(b: Builder, code: str, x: Tensor, found: Sequence[Window], padding: int) -> Tensor:
    high, wide = found
    options: dict[str, Any] = {
        "padding": padding,
        "strideH": high.stride,
        "strideW": wide.stride,
        "filterHeight": high.kernel,
        "filterWidth": wide.kernel,
    }
    return b.emit(code, [x], (x.dims[0], high.out, wide.out, x.dims[-1]), **options)


def _dilated(b: Builder, code: str, x: Tensor, found: Sequence[Window]) -> Tensor:
    """Return the pool of ``x`` whose windows have gaps: slices of it, axis after axis."""
    joins = "MAXIMUM" if code == "MAX_POOL_2D" else "ADD"
    for axis, window in enumerate(found, start=1):
        if window.kernel == 1 and window.stride == 1:
            continue
        slices = [_slice(b, x, axis, window, place) for place in range(window.kernel)]
        x = slices[0]
        for other in slices[1:]:
            x = binary(b, joins, x, other)
        if joins == "ADD":
            x = with_number(b, "MUL", x, 1 / window.kernel)
    return x


def _slice(b: Builder, x: Tensor, axis: int, window: Window, place: int) -> Tensor:
    """Return the elements of ``x`` that stand at one place of all windows along an axis."""
    begin = place * window.dilation
    behind = (window.kernel - 1 - place) * window.dilation
    ends = [0] * x.rank
    ends[axis] = -behind
    if isinstance(window.out, int):
        ends[axis] = begin + (window.out - 1) * window.stride + 1
    mask = sum(1 << other for other, end in enumerate(ends) if end == 0)
    begins = [begin if other == axis else 0 for other in range(x.rank)]
    strides = [window.stride if other == axis else 1 for other in range(x.rank)]
    inputs = [x, vector(b, begins, "begin"), vector(b, ends, "end"), vector(b, strides, "strides")]
    dims = (*x.dims[:axis], window.out, *x.dims[axis + 1 :])
    return b.emit("STRIDED_SLICE", inputs, dims, endMask=mask)


def _written(
    b: Builder, node: Node, x: Tensor, found: Sequence[Window], value: Any = None
) -> Tensor:
    """Return ``x`` with its padding written out; refuses what follows from open sizes."""
    if any(window.upper for window in found):
        _refuse_open(b, node, "its padding")
    return explicit(b, x, found, value)


def _refuse_open(b: Builder, node: Node, what: str) -> NoReturn:
    b.refuse(
        node,
        f"{what} follows from sizes that are open",
        "fix the input shapes: --input-shape NAME=1,3,224,224",
        code="dynamic-shape",
    )


def _weighted(b: Builder, node: Node, x: Tensor, y: Tensor, found: Sequence[Window]) -> Tensor:
    """Return means over whole windows of padded ``x`` as those over what ONNX counts."""
    import numpy as np

    counts_padding = bool(node.attr("count_include_pad", 0))
    if not is_static(found):
        return _weighted_running(b, node, x, y, found)
    factors: Any = np.ones(1, "float64")
    for window in found:
        share = window.kernel / _counted(window, counts_padding=counts_padding)
        factors = np.multiply.outer(factors, share)
    if (factors == 1).all():
        return y
    return binary(b, "MUL", y, b.const(factors[0, ..., None].astype("float32"), "counts"))


def _weighted_running(
    b: Builder, node: Node, x: Tensor, y: Tensor, found: Sequence[Window]
) -> Tensor:
    """Return the same when sizes are open: what is counted is the mean of ones."""
    import numpy as np

    if node.attr("count_include_pad", 0):
        if node.attr("ceil_mode", 0):
            _refuse_open(b, node, "how much of the last windows is counted")
        return y
    shape = b.emit("SHAPE", [x], (x.rank,), "int32", outType=2)
    one = b.const(np.array(1, "float32"), "one")
    ones = b.emit("FILL", [shape, one], x.dims, "float32")
    shares = _pool(b, "AVERAGE_POOL_2D", explicit(b, ones, found), found, VALID)
    return b.emit("DIV", [y, shares], y.dims)


def _counted(window: Window, *, counts_padding: bool) -> Any:
    """Return how many elements of each window along an axis ONNX counts."""
    import numpy as np

    starts = np.arange(int(window.out)) * window.stride
    places = starts[:, None] + np.arange(window.kernel) * window.dilation - window.begin
    low, high = 0, int(window.size)
    if counts_padding:
        low, high = -window.begin, high + window.end
    return ((places >= low) & (places < high)).sum(1)


def _powers(b: Builder, x: Tensor, order: int) -> Tensor:
    if order == 2:  # noqa: PLR2004 - the square
        return binary(b, "MUL", x, x)
    sizes = unary(b, "ABS", x)
    return sizes if order == 1 else with_number(b, "POW", sizes, order)


def _root(b: Builder, x: Tensor, order: int) -> Tensor:
    if order == 1:
        return x
    return unary(b, "SQRT", x) if order == 2 else with_number(b, "POW", x, 1 / order)  # noqa: PLR2004
