"""Activations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import (
    FLOAT,
    binary,
    carrier,
    scalar,
    select,
    unary,
    with_number,
)

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_DIRECT = {"Sigmoid": "LOGISTIC", "Tanh": "TANH", "HardSwish": "HARD_SWISH"}
_CLIPS = {
    (0.0, math.inf): "RELU",
    (0.0, 6.0): "RELU6",
    (-1.0, 1.0): "RELU_N1_TO_1",
    (0.0, 1.0): "RELU_0_TO_1",
}
_BOUNDED = ("float32", "int8", "uint8", "int16", "int32", "int64")
_MISH_LIMIT = 20.0  # beyond it the factor of x is 1 in float32
_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def _input(b: Builder, node: Node) -> Tensor:
    """Return the input as float32."""
    x = b.value(node.inputs[0])
    return b.cast(x, carrier(b, node, x.dtype, FLOAT))


def _give(b: Builder, node: Node, out: Tensor) -> None:
    """Bind the output in the dtype of the input."""
    b.bind(node.outputs[0], b.cast(out, b.value(node.inputs[0]).dtype))


def _negative_part(b: Builder, x: Tensor) -> Tensor:
    return binary(b, "MINIMUM", scalar(b, 0.0, x.dtype), x)


@lowers("Relu")
def relu(b: Builder, node: Node) -> None:
    """``max(x, 0)``."""
    x = b.value(node.inputs[0])
    if x.dtype.startswith("float"):
        _give(b, node, unary(b, "RELU", _input(b, node)))
        return
    x = b.cast(x, carrier(b, node, x.dtype, _BOUNDED))
    _give(b, node, binary(b, "MAXIMUM", scalar(b, 0, x.dtype), x))


@lowers("Clip")
def clip(b: Builder, node: Node) -> None:
    """``min(max(x, low), high)``; a bound that is not given does not bind."""
    x = b.value(node.inputs[0])
    dtype = carrier(b, node, x.dtype, _BOUNDED)
    bounds = [
        b.value(node.inputs[index]) if node.has(index) else _attribute_bound(b, node, name)
        for index, name in ((1, "min"), (2, "max"))
    ]
    out = b.cast(x, dtype)
    code = _CLIPS.get(_known_bounds(bounds)) if dtype == "float32" else None
    if code is not None:
        out = unary(b, code, out)
    else:
        # The bound stands first: when an operand is NaN, LiteRT answers with the second.
        for operator, bound in zip(("MAXIMUM", "MINIMUM"), bounds, strict=True):
            if bound is not None:
                out = binary(b, operator, b.reshape(b.cast(bound, dtype), ()), out)
    _give(b, node, out)


def _attribute_bound(b: Builder, node: Node, name: str) -> Tensor | None:
    """Return a bound that opsets before 11 have as an attribute."""
    value = node.attr(name)
    return None if value is None else scalar(b, value, "float32")


def _known_bounds(bounds: list[Tensor | None]) -> Any:
    ends = []
    for bound, default in zip(bounds, (-math.inf, math.inf), strict=True):
        if bound is None:
            ends.append(default)
        elif bound.data is None:
            return None
        else:
            ends.append(float(bound.data.reshape(-1)[0]))
    return tuple(ends)


@lowers("Sigmoid", "Tanh", "HardSwish")
def direct(b: Builder, node: Node) -> None:
    """Activations that LiteRT has."""
    _give(b, node, unary(b, _DIRECT[node.op], _input(b, node)))


@lowers("LeakyRelu")
def leaky_relu(b: Builder, node: Node) -> None:
    """``x`` or ``alpha * x`` below zero."""
    _give(b, node, unary(b, "LEAKY_RELU", _input(b, node), alpha=node.attr("alpha", 0.01)))


@lowers("PRelu")
def prelu(b: Builder, node: Node) -> None:
    """``x`` or ``slope * x`` below zero; the slope broadcasts to x."""
    x = b.value(node.inputs[0])
    kernel = carrier(b, node, x.dtype, ("float32", "int32", "int64"))
    x, slope = b.cast(x, kernel), b.cast(b.value(node.inputs[1]), kernel)
    if kernel == "float32":
        if slope.rank == 0:
            slope = b.reshape(slope, (1,))
        out = b.emit("PRELU", [x, slope], x.dims)
    else:
        below = with_number(b, "LESS", x, 0, dtype="bool")
        out = select(b, below, binary(b, "MUL", x, slope), x)
    _give(b, node, out)


@lowers("Elu")
def elu(b: Builder, node: Node) -> None:
    """``alpha * (e^x - 1)`` below zero."""
    _give(b, node, _elu(b, _input(b, node), node.attr("alpha", 1.0)))


def _elu(b: Builder, x: Tensor, alpha: float, inner: float = 1.0) -> Tensor:
    """Return x above zero, ``alpha * (e^(x / inner) - 1)`` below."""
    if alpha == 1.0 and inner == 1.0:
        return unary(b, "ELU", x)
    below = _negative_part(b, x)
    if inner != 1.0:
        below = with_number(b, "DIV", below, inner)
    below = with_number(b, "MUL", unary(b, "ELU", below), alpha)
    return binary(b, "ADD", unary(b, "RELU", x), below)


@lowers("Selu")
def selu(b: Builder, node: Node) -> None:
    """``gamma`` times the Elu."""
    out = _elu(b, _input(b, node), node.attr("alpha", _SELU_ALPHA))
    _give(b, node, with_number(b, "MUL", out, node.attr("gamma", _SELU_GAMMA)))


@lowers("Celu")
def celu(b: Builder, node: Node) -> None:
    """``alpha * (e^(x / alpha) - 1)`` below zero."""
    alpha = node.attr("alpha", 1.0)
    _give(b, node, _elu(b, _input(b, node), alpha, inner=alpha))


@lowers("ThresholdedRelu")
def thresholded_relu(b: Builder, node: Node) -> None:
    """``x`` above alpha, else 0."""
    x = _input(b, node)
    above = with_number(b, "GREATER", x, node.attr("alpha", 1.0), dtype="bool")
    _give(b, node, select(b, above, x, scalar(b, 0.0, x.dtype)))


@lowers("HardSigmoid")
def hard_sigmoid(b: Builder, node: Node) -> None:
    """``alpha * x + beta`` between 0 and 1."""
    out = with_number(b, "MUL", _input(b, node), node.attr("alpha", 0.2))
    out = with_number(b, "ADD", out, node.attr("beta", 0.5))
    _give(b, node, unary(b, "RELU_0_TO_1", out))


@lowers("Gelu")
def gelu(b: Builder, node: Node) -> None:
    """``x * P(X <= x)`` of the normal distribution, exact or by tanh."""
    tanh = node.attr("approximate", "none") == "tanh"
    _give(b, node, unary(b, "GELU", _input(b, node), approximate=tanh))


@lowers("Softplus")
def softplus(b: Builder, node: Node) -> None:
    """``log(1 + e^x)`` as ``max(x, 0) + log(1 + e^-|x|)``, which does not overflow."""
    x = _input(b, node)
    small = unary(b, "EXP", unary(b, "NEG", unary(b, "ABS", x)))
    small = unary(b, "LOG", with_number(b, "ADD", small, 1.0))
    _give(b, node, binary(b, "ADD", unary(b, "RELU", x), small))


@lowers("Softsign")
def softsign(b: Builder, node: Node) -> None:
    """``x / (1 + |x|)``."""
    x = _input(b, node)
    _give(b, node, binary(b, "DIV", x, with_number(b, "ADD", unary(b, "ABS", x), 1.0)))


@lowers("Swish")
def swish(b: Builder, node: Node) -> None:
    """``x * sigmoid(alpha * x)``."""
    x, alpha = _input(b, node), node.attr("alpha", 1.0)
    inner = x if alpha == 1.0 else with_number(b, "MUL", x, alpha)
    _give(b, node, binary(b, "MUL", x, unary(b, "LOGISTIC", inner)))


@lowers("Mish")
def mish(b: Builder, node: Node) -> None:
    """``x * tanh(log(1 + e^x))``, which is ``x * n / (n + 2)`` with ``n = e^x * (e^x + 2)``."""
    x = _input(b, node)
    grown = unary(b, "EXP", binary(b, "MINIMUM", scalar(b, _MISH_LIMIT, x.dtype), x))
    ratio = binary(b, "MUL", grown, with_number(b, "ADD", grown, 2.0))
    ratio = binary(b, "DIV", ratio, with_number(b, "ADD", ratio, 2.0))
    _give(b, node, binary(b, "MUL", x, ratio))


@lowers("Shrink")
def shrink(b: Builder, node: Node) -> None:
    """Towards zero by ``bias``, 0 between ``-lambd`` and ``lambd``."""
    x = b.value(node.inputs[0])
    bias, limit = node.attr("bias", 0.0), node.attr("lambd", 0.5)
    kernel = carrier(b, node, x.dtype, ("float32", "int32"))
    if kernel != "float32" and not (float(bias).is_integer() and float(limit).is_integer()):
        b.refuse(node, "its integers shrink by fractions", code="dtype-unsupported")
    x = b.cast(x, kernel)
    zero = scalar(b, 0, kernel)
    above = with_number(b, "GREATER", x, limit, dtype="bool")
    below = with_number(b, "LESS", x, -limit, dtype="bool")
    inner = select(b, above, with_number(b, "SUB", x, bias), zero)
    _give(b, node, select(b, below, with_number(b, "ADD", x, bias), inner))


@lowers("Identity")
def identity(b: Builder, node: Node) -> None:
    """``x``."""
    b.bind(node.outputs[0], b.value(node.inputs[0]))


@lowers("Dropout")
def dropout(b: Builder, node: Node) -> None:
    """``x``, as outside of training."""
    x = b.value(node.inputs[0])
    if node.has(2):
        training = b.value(node.inputs[2]).data
        if training is None or bool(training):
            b.refuse(node, "it is in training mode", "export the model in eval mode")
    b.bind(node.outputs[0], x)
    if node.gives(1):
        # Nothing is dropped: whatever x is, its mask is true.
        zeros = b.cast(unary(b, "ZEROS_LIKE", b.cast(x, "float32")), "bool")
        b.bind(node.outputs[1], unary(b, "LOGICAL_NOT", zeros))
