"""Normalizations, from means and variances; LiteRT has few of them as operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import (
    FLOAT,
    binary,
    carrier,
    unary,
    vector,
    with_number,
)
from edgeops.convert.litert.lower.windows import channels_first, channels_last

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_EPSILON = 1e-5
_SQUARES = 2
_GROUPS_BY_CHANNEL = 21  # the opset from which GroupNormalization scales each channel
_LEAST = 1e-30  # a norm below this is that of zeros, which stay zeros
_MVN_EPSILON = 1e-9  # Operators.md, MeanVarianceNormalization: the function's body


def _float(b: Builder, node: Node, index: int = 0) -> Tensor:
    given = b.value(node.inputs[index])
    return b.cast(given, carrier(b, node, given.dtype, FLOAT))


def _bind(b: Builder, node: Node, y: Tensor) -> None:
    b.bind(node.outputs[0], b.cast(y, b.value(node.inputs[0]).dtype))


def _mean(b: Builder, x: Tensor, axes: Sequence[int]) -> Tensor:
    dims = tuple(1 if axis in axes else size for axis, size in enumerate(x.dims))
    return b.emit("MEAN", [x, vector(b, list(axes), "axes")], dims, keepDims=True)


def _total(b: Builder, x: Tensor, axes: Sequence[int]) -> Tensor:
    dims = tuple(1 if axis in axes else size for axis, size in enumerate(x.dims))
    return b.emit("SUM", [x, vector(b, list(axes), "axes")], dims, keepDims=True)


def _standardized(
    b: Builder, x: Tensor, axes: Sequence[int], epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(x - mean) / sqrt(variance + epsilon)``, the mean and the inverse deviation."""
    mean = _mean(b, x, axes)
    centred = binary(b, "SUB", x, mean)
    variance = _mean(b, binary(b, "MUL", centred, centred), axes)
    inverse = unary(b, "RSQRT", with_number(b, "ADD", variance, epsilon))
    return binary(b, "MUL", centred, inverse), mean, inverse


def _channelwise(b: Builder, tensor: Tensor, rank: int) -> Tensor:
    """Return a vector with one number a channel so that it broadcasts along axis 1."""
    return b.reshape(tensor, (*tensor.dims, *[1] * (rank - 2)))


@lowers("BatchNormalization")
def batch_normalization(b: Builder, node: Node) -> None:
    """One factor and one term a channel, computed beforehand where they are constants."""
    import numpy as np

    if node.attr("training_mode", 0) or any(node.gives(index) for index in range(1, 5)):
        b.refuse(
            node,
            "it is in training mode",
            "export the model with model.eval()",
            code="attribute-unsupported",
        )
    x = _float(b, node)
    epsilon = node.attr("epsilon", _EPSILON)
    arrays = [b.array(name) for name in node.inputs[1:5]]
    if all(array is not None for array in arrays):
        scale, bias, mean, variance = (np.asarray(array, "float64") for array in arrays)
        factors = scale / np.sqrt(variance + epsilon)
        terms = (bias - mean * factors).astype("float32")
        factor, term = b.const(factors.astype("float32"), "factor"), b.const(terms, "term")
    else:
        given = [_float(b, node, index) for index in range(1, 5)]
        inverse = unary(b, "RSQRT", with_number(b, "ADD", given[3], epsilon))
        factor = binary(b, "MUL", given[0], inverse)
        term = binary(b, "SUB", given[1], binary(b, "MUL", given[2], factor))
    y = binary(b, "MUL", x, _channelwise(b, factor, x.rank))
    _bind(b, node, binary(b, "ADD", y, _channelwise(b, term, x.rank)))


@lowers("LayerNormalization")
def layer_normalization(b: Builder, node: Node) -> None:
    """Standardize over the axes from ``axis`` on, then scale and shift."""
    x = _float(b, node)
    first = node.attr("axis", -1) % x.rank
    axes = list(range(first, x.rank))
    y, mean, inverse = _standardized(b, x, axes, node.attr("epsilon", _EPSILON))
    y = binary(b, "MUL", y, _float(b, node, 1))
    if node.has(2):
        y = binary(b, "ADD", y, _float(b, node, 2))
    _bind(b, node, y)
    for index, tensor in ((1, mean), (2, inverse)):
        if node.gives(index):
            b.bind(node.outputs[index], b.cast(tensor, b.out_dtype(node, index)))


@lowers("RMSNormalization")
def rms_normalization(b: Builder, node: Node) -> None:
    """Divide by the root of the mean square over the axes from ``axis`` on, then scale."""
    x = _float(b, node)
    axes = list(range(node.attr("axis", -1) % x.rank, x.rank))
    square = with_number(
        b, "ADD", _mean(b, binary(b, "MUL", x, x), axes), node.attr("epsilon", _EPSILON)
    )
    y = binary(b, "MUL", x, unary(b, "RSQRT", square))
    _bind(b, node, binary(b, "MUL", y, _float(b, node, 1)))


@lowers("InstanceNormalization")
def instance_normalization(b: Builder, node: Node) -> None:
    """Standardize each channel of each sample over its spatial axes, then scale and shift."""
    x = _float(b, node)
    y, _, _ = _standardized(b, x, range(2, x.rank), node.attr("epsilon", _EPSILON))
    _bind(b, node, _scaled(b, node, y))


def _scaled(b: Builder, node: Node, y: Tensor) -> Tensor:
    scale, bias = (_channelwise(b, _float(b, node, index), y.rank) for index in (1, 2))
    return binary(b, "ADD", binary(b, "MUL", y, scale), bias)


@lowers("GroupNormalization")
def group_normalization(b: Builder, node: Node) -> None:
    """Standardize groups of channels, then scale and shift each channel (or group, opset 18)."""
    x = _float(b, node)
    channels = x.dims[1]
    groups = node.attr("num_groups")
    if not isinstance(channels, int):
        b.refuse(node, "the number of its channels is open", code="dynamic-shape")
    parted = b.reshape(x, (x.dims[0], groups, channels // groups, *x.dims[2:]))
    y, _, _ = _standardized(b, parted, range(2, parted.rank), node.attr("epsilon", _EPSILON))
    if b.opset >= _GROUPS_BY_CHANNEL:
        _bind(b, node, _scaled(b, node, b.reshape(y, x.dims)))
    else:
        _bind(b, node, b.reshape(_scaled(b, node, y), x.dims))


@lowers("LpNormalization")
def lp_normalization(b: Builder, node: Node) -> None:
    """Divide by the norm along one axis; zeros stay zeros."""
    x = _float(b, node)
    axis = node.attr("axis", -1) % x.rank
    if node.attr("p", _SQUARES) == _SQUARES:
        norm = unary(b, "SQRT", _total(b, binary(b, "MUL", x, x), [axis]))
    else:
        norm = _total(b, unary(b, "ABS", x), [axis])
    _bind(b, node, binary(b, "DIV", x, with_number(b, "MAXIMUM", norm, _LEAST)))


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(b: Builder, node: Node) -> None:
    """``(x - mean) / (deviation + 1e-9)`` over the axes."""
    x = _float(b, node)
    axes = [axis % x.rank for axis in node.attr("axes", [0, 2, 3])]
    centred = binary(b, "SUB", x, _mean(b, x, axes))
    variance = _mean(b, binary(b, "MUL", centred, centred), axes)
    deviation = with_number(b, "ADD", unary(b, "SQRT", variance), _MVN_EPSILON)
    _bind(b, node, binary(b, "DIV", centred, deviation))


@lowers("LRN")
def local_response_normalization(b: Builder, node: Node) -> None:
    """Divide by a power of the sum of squares over neighbouring channels."""
    x = _float(b, node)
    size = node.attr("size")
    if size % 2 == 0:
        b.refuse(
            node,
            f"its size {size} is even; LiteRT takes as many channels before as behind",
            "export it with an odd size",
            code="attribute-unsupported",
        )
    options: dict[str, Any] = {
        "radius": size // 2,
        "bias": node.attr("bias", 1.0),
        "alpha": node.attr("alpha", 1e-4) / size,
        "beta": node.attr("beta", 0.75),
    }
    last = channels_last(b, x)
    y = b.emit("LOCAL_RESPONSE_NORMALIZATION", [last], last.dims, **options)
    _bind(b, node, channels_first(b, y))
