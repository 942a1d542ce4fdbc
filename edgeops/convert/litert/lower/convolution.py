"""Convolutions: those along one axis as two, groups natively, depthwise or part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import FLOAT, carrier
from edgeops.convert.litert.lower.windows import (
    POINT,
    channels_first,
    channels_last,
    drop_axis,
    insert_axis,
    padded,
    split_last,
    windows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor
    from edgeops.convert.litert.lower.windows import Window

_VOLUME = 3


@lowers("Conv")
def conv(b: Builder, node: Node) -> None:
    """Convolution along one, two or three axes."""
    given = b.value(node.inputs[0])
    dtype = carrier(b, node, given.dtype, FLOAT)
    x, weights = b.cast(given, dtype), b.cast(b.value(node.inputs[1]), dtype)
    kernel = kernel_sizes(b, node, weights)
    group = node.attr("group", 1)
    bias = bias_of(b, node, weights.dims[0])
    found = windows(b, node, x.dims[2:], kernel)
    x = channels_last(b, x)
    if len(kernel) == 1:
        x, weights = insert_axis(b, x, 1), insert_axis(b, weights, 2)
        found = [POINT, *found]
    x, padding = padded(b, x, found)
    make = _volume if len(kernel) == _VOLUME else image
    y = make(b, x, weights, bias, found, padding, group)
    if len(kernel) == 1:
        y = drop_axis(b, y, 1)
    b.bind(node.outputs[0], b.cast(channels_first(b, y), given.dtype))


def kernel_sizes(b: Builder, node: Node, weights: Tensor) -> list[int]:
    """Return the sizes of the kernel; refuses more axes than three and sizes that are open."""
    sizes = [size for size in weights.dims[2:] if isinstance(size, int)]
    if not weights.is_static:
        b.refuse(node, "the size of its kernel is open", code="dynamic-shape")
    if not 1 <= len(sizes) <= _VOLUME:
        b.refuse(node, f"it has {len(sizes)} spatial axes", code="rank-unsupported")
    return sizes


def bias_of(b: Builder, node: Node, channels: int | str) -> Tensor:
    """Return the bias, zeros when there is none: old runtimes want one."""
    import numpy as np

    if node.has(2):
        return b.cast(b.value(node.inputs[2]), "float32")
    return b.const(np.zeros(int(channels), "float32"), "bias")


def image(
    b: Builder,
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    found: Sequence[Window],
    padding: int,
    group: int,
) -> Tensor:
    """Emit a convolution of [N, H, W, C] with weights [out, in / group, H, W]."""
    out, inner = int(weights.dims[0]), int(weights.dims[1])
    dims = (x.dims[0], *(window.out for window in found), out)
    high, wide = found
    options: dict[str, Any] = {
        "padding": padding,
        "strideH": high.stride,
        "strideW": wide.stride,
        "dilationHFactor": high.dilation,
        "dilationWFactor": wide.dilation,
    }
    if inner == 1 and group > 1:
        options["depthMultiplier"] = out // group
        inputs = [x, b.transpose(weights, (1, 2, 3, 0)), bias]
        return b.emit("DEPTHWISE_CONV_2D", inputs, dims, **options)
    inputs = [x, b.transpose(weights, (0, 2, 3, 1)), bias]
    return b.emit("CONV_2D", inputs, dims, **options)


def _volume(
    b: Builder,
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    found: Sequence[Window],
    padding: int,
    group: int,
) -> Tensor:
    """Emit a convolution of [N, D, H, W, C]; LiteRT's knows no groups."""
    if group > 1:
        sources = split_last(b, x, group)
        kernels = split_first(b, weights, group)
        biases = split_first(b, bias, group)
        parts = [
            _volume(b, *part, found, padding, 1)
            for part in zip(sources, kernels, biases, strict=True)
        ]
        return joined(b, parts)
    options: dict[str, Any] = {"padding": padding}
    for letter, window in zip("DHW", found, strict=True):
        options[f"stride{letter}"] = window.stride
        options[f"dilation{letter}Factor"] = window.dilation
    dims = (x.dims[0], *(window.out for window in found), weights.dims[0])
    return b.emit("CONV_3D", [x, b.transpose(weights, (2, 3, 4, 1, 0)), bias], dims, **options)


def split_first(b: Builder, tensor: Tensor, count: int) -> list[Tensor]:
    """Return ``count`` equal parts of the first axis."""
    import numpy as np

    if tensor.is_constant:
        return [b.const(part, tensor.name) for part in np.split(tensor.data, count)]
    size = int(tensor.dims[0]) // count
    parts = [b.make((size, *tensor.dims[1:]), tensor.dtype, "group") for _ in range(count)]
    b.append("SPLIT", [b.const(np.array(0, "int32"), "axis"), tensor], parts, numSplits=count)
    return parts


def joined(b: Builder, parts: Sequence[Tensor]) -> Tensor:
    """Return parts one behind the other along the last axis."""
    first = parts[0]
    total = sum(int(part.dims[-1]) for part in parts)
    axis = first.rank - 1
    return b.emit("CONCATENATION", list(parts), (*first.dims[:-1], total), axis=axis)
