"""Functions that LiteRT lacks, composed to float32's accuracy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

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
    from collections.abc import Callable, Sequence

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

# erf(x) = x * P(x^2) / Q(x^2) for |x| <= 4, beyond which it is 1 in float32: the rational
# approximation that Eigen's generic_fast_erf and ONNX Runtime's vectorizers go by.
_ERF_LIMIT = 4.0
_ERF_P = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_ERF_Q = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
# tan(x) on [-pi/4, pi/4] (Cephes, tanf.c), and pi/2 in three parts that float32 holds exactly
# enough to subtract thousands of turns.
_TAN = (
    9.38540185543e-3,
    3.11992232697e-3,
    2.44301354525e-2,
    5.34112807005e-2,
    1.33387994085e-1,
    3.33331568548e-1,
)
_HALF_PI = (1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8)


def _lowered(operator: str) -> Callable[[Callable[[Builder, Tensor], Tensor]], None]:
    """Mark a function of a float32 tensor as what an operator means."""

    def mark(function: Callable[[Builder, Tensor], Tensor]) -> None:
        def lower(b: Builder, node: Node) -> None:
            x = b.value(node.inputs[0])
            out = function(b, b.cast(x, carrier(b, node, x.dtype, FLOAT)))
            b.bind(node.outputs[0], b.cast(out, x.dtype))

        lowers(operator)(lower)

    return mark


def polynomial(b: Builder, x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return a polynomial of ``x`` by Horner's rule, the highest power first."""
    out = with_number(b, "MUL", x, coefficients[0])
    for coefficient in coefficients[1:-1]:
        out = binary(b, "MUL", with_number(b, "ADD", out, coefficient), x)
    return with_number(b, "ADD", out, coefficients[-1])


@_lowered("Erf")
def erf(b: Builder, x: Tensor) -> Tensor:
    """Return the error function, at most 3e-7 off."""
    limited = binary(b, "MINIMUM", scalar(b, _ERF_LIMIT, x.dtype), x)
    limited = binary(b, "MAXIMUM", scalar(b, -_ERF_LIMIT, x.dtype), limited)
    square = binary(b, "MUL", limited, limited)
    above = binary(b, "MUL", limited, polynomial(b, square, _ERF_P))
    out = binary(b, "DIV", above, polynomial(b, square, _ERF_Q))
    b.graph.errors[out] = x
    return out


@_lowered("Tan")
def tan(b: Builder, x: Tensor) -> Tensor:
    """Return the tangent: quarter turns off, then a polynomial or its inverse."""
    turns = unary(b, "ROUND", with_number(b, "MUL", x, 2 / math.pi))
    rest = x
    for part in _HALF_PI:
        rest = binary(b, "SUB", rest, with_number(b, "MUL", turns, part))
    square = binary(b, "MUL", rest, rest)
    near = binary(b, "MUL", polynomial(b, square, _TAN), square)
    near = binary(b, "ADD", binary(b, "MUL", near, rest), rest)
    odd = with_number(b, "FLOOR_MOD", turns, 2.0)
    odd = with_number(b, "EQUAL", odd, 1.0, dtype="bool")
    return select(b, odd, binary(b, "DIV", scalar(b, -1.0, x.dtype), near), near)


@_lowered("Asin")
def asin(b: Builder, x: Tensor) -> Tensor:
    """Return the angle of (sqrt(1 - x^2), x)."""
    return binary(b, "ATAN2", x, _other_leg(b, x))


@_lowered("Acos")
def acos(b: Builder, x: Tensor) -> Tensor:
    """Return the angle of (x, sqrt(1 - x^2))."""
    return binary(b, "ATAN2", _other_leg(b, x), x)


def _other_leg(b: Builder, x: Tensor) -> Tensor:
    one = scalar(b, 1.0, x.dtype)
    square = binary(b, "MUL", binary(b, "SUB", one, x), with_number(b, "ADD", x, 1.0))
    return unary(b, "SQRT", square)


@_lowered("Atan")
def atan(b: Builder, x: Tensor) -> Tensor:
    """Return the angle of (1, x); ATAN2 does not broadcast."""
    ones = with_number(b, "ADD", unary(b, "ZEROS_LIKE", x), 1.0)
    return binary(b, "ATAN2", x, ones)


@_lowered("Sinh")
def sinh(b: Builder, x: Tensor) -> Tensor:
    """Return (e^x - e^-x) / 2; near zero by e^x - 1, which loses nothing there."""
    size = unary(b, "ABS", x)
    below = unary(b, "ELU", unary(b, "NEG", size))  # e^-|x| - 1
    near = binary(b, "MUL", unary(b, "NEG", below), with_number(b, "ADD", below, 2.0))
    near = binary(b, "DIV", near, with_number(b, "ADD", with_number(b, "MUL", below, 2.0), 2.0))
    far = binary(b, "SUB", *_half_exponentials(b, size))
    small = with_number(b, "LESS", size, 1.0, dtype="bool")
    return binary(b, "MUL", unary(b, "SIGN", x), select(b, small, near, far))


@_lowered("Cosh")
def cosh(b: Builder, x: Tensor) -> Tensor:
    """Return (e^x + e^-x) / 2."""
    return binary(b, "ADD", *_half_exponentials(b, unary(b, "ABS", x)))


def _half_exponentials(b: Builder, size: Tensor) -> tuple[Tensor, Tensor]:
    """Return e^x / 2 and e^-x / 2; the first by its root, which stays finite as long as it."""
    root = unary(b, "EXP", with_number(b, "MUL", size, 0.5))
    above = binary(b, "MUL", with_number(b, "MUL", root, 0.5), root)
    below = with_number(b, "MUL", unary(b, "EXP", unary(b, "NEG", size)), 0.5)
    return above, below


@_lowered("Asinh")
def asinh(b: Builder, x: Tensor) -> Tensor:
    """Return log(|x| + sqrt(x^2 + 1)) with the sign of x; the root does not overflow."""
    size = unary(b, "ABS", x)
    large = binary(b, "MAXIMUM", scalar(b, 1.0, x.dtype), size)
    small = binary(b, "DIV", binary(b, "MINIMUM", scalar(b, 1.0, x.dtype), size), large)
    square = with_number(b, "ADD", binary(b, "MUL", small, small), 1.0)
    root = binary(b, "MUL", large, unary(b, "SQRT", square))
    out = unary(b, "LOG", binary(b, "ADD", size, root))
    return binary(b, "MUL", unary(b, "SIGN", x), out)


@_lowered("Acosh")
def acosh(b: Builder, x: Tensor) -> Tensor:
    """Return log(x + sqrt(x^2 - 1)), NaN below 1."""
    below = binary(b, "DIV", with_number(b, "SUB", x, 1.0), x)
    above = binary(b, "DIV", with_number(b, "ADD", x, 1.0), x)
    root = binary(b, "MUL", x, unary(b, "SQRT", binary(b, "MUL", below, above)))
    return unary(b, "LOG", binary(b, "ADD", x, root))


@_lowered("Atanh")
def atanh(b: Builder, x: Tensor) -> Tensor:
    """Return log((1 + x) / (1 - x)) / 2."""
    one = scalar(b, 1.0, x.dtype)
    ratio = binary(b, "DIV", with_number(b, "ADD", x, 1.0), binary(b, "SUB", one, x))
    return with_number(b, "MUL", unary(b, "LOG", ratio), 0.5)
