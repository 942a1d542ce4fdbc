"""Arithmetic, element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import (
    FLOAT,
    NUMBERS,
    binary,
    carrier,
    scalar,
    select,
    unary,
    with_number,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_ARITHMETIC = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Sum": "ADD", "Mean": "ADD"}
_KERNELS: dict[str, tuple[str, ...]] = {
    "Div": ("float32", "int32"),
    "Neg": ("float32", "int8", "int16", "int32", "int64"),
}
_ROUNDING = {"Floor": "FLOOR", "Ceil": "CEIL", "Round": "ROUND"}
_FUNCTIONS = {"Sqrt": "SQRT", "Exp": "EXP", "Log": "LOG", "Sin": "SIN", "Cos": "COS"}
_POWERS = 4  # integer powers up to this are multiplications


def _operands(
    b: Builder, node: Node, kernels: Collection[str] = NUMBERS
) -> tuple[list[Tensor], str]:
    """Return the inputs in a dtype that kernels know, and the dtype that the result must have."""
    values = [b.value(name) for name in node.inputs if name]
    dtype = carrier(b, node, values[0].dtype, kernels)
    return [b.cast(value, dtype) for value in values], values[0].dtype


@lowers("Add", "Sub", "Mul", "Sum", "Mean")
def arithmetic(b: Builder, node: Node) -> None:
    """Add, subtract, multiply or average tensors; integers wrap around as ONNX Runtime's do."""
    values, dtype = _operands(b, node)
    out = values[0]
    for value in values[1:]:
        out = binary(b, _ARITHMETIC[node.op], out, value)
    if node.op == "Mean" and len(values) > 1:
        out = with_number(b, "DIV", out, len(values))
    b.bind(node.outputs[0], b.cast(out, dtype))


@lowers("Div")
def div(b: Builder, node: Node) -> None:
    """Division; that of integers rounds towards zero, as LiteRT's does."""
    (x, y), dtype = _operands(b, node, _KERNELS["Div"])
    b.bind(node.outputs[0], b.cast(binary(b, "DIV", x, y), dtype))


@lowers("Max", "Min")
def extremum(b: Builder, node: Node) -> None:
    """Largest or smallest of any number of tensors; NaN where one of them is."""
    values, dtype = _operands(b, node, ("float32", "int8", "uint8", "int16", "int32", "int64"))
    code = {"Max": "MAXIMUM", "Min": "MINIMUM"}[node.op]
    out = values[0]
    for value in values[1:]:
        out = _extremum(b, code, out, value)
    b.bind(node.outputs[0], b.cast(out, dtype))


def _extremum(b: Builder, code: str, x: Tensor, y: Tensor) -> Tensor:
    """LiteRT answers with the second operand when one of them is NaN."""
    if y.is_constant:
        x, y = y, x
    out = binary(b, code, x, y)
    if x.is_constant or x.dtype != "float32":
        return out
    return select(b, binary(b, "NOT_EQUAL", x, x, "bool"), x, out)


@lowers("Mod")
def mod(b: Builder, node: Node) -> None:
    """Remainder with the sign of the divisor, or with that of the dividend (``fmod``)."""
    (x, y), dtype = _operands(b, node)
    if not node.attr("fmod", 0):
        out = binary(b, "FLOOR_MOD", x, y)
    else:
        # Of positive numbers both remainders are the same, and exact.
        out = binary(b, "FLOOR_MOD", absolute(b, x), absolute(b, y))
        out = binary(b, "MUL", sign(b, x), out)
    b.bind(node.outputs[0], b.cast(out, dtype))


@lowers("Pow")
def power(b: Builder, node: Node) -> None:
    """Power in the dtype of the base; small whole exponents as products."""
    base, exponent = b.value(node.inputs[0]), b.value(node.inputs[1])
    if exponent.data is not None and exponent.data.size == 1 and exponent.rank <= base.rank:
        exponent = b.reshape(exponent, ())
    small = _small_exponent(exponent)
    if small is not None:
        x = b.cast(base, carrier(b, node, base.dtype, NUMBERS))
        out = x
        for _ in range(small - 1):
            out = binary(b, "MUL", out, x)
    else:
        dtype = carrier(b, node, base.dtype, ("float32", "int32"))
        if dtype != "float32" and exponent.dtype.startswith("float"):
            b.refuse(
                node,
                "its base is of integers and its exponent is not",
                "cast the base to float32 before",
                code="dtype-unsupported",
            )
        wide = carrier(b, node, exponent.dtype, NUMBERS)
        if wide == "int64" and dtype != "float32":
            b.refuse(node, "its exponent is int64", "export it as int32", code="dtype-unsupported")
        x = b.cast(base, dtype)
        out = _general_power(b, x, exponent)
    b.bind(node.outputs[0], b.cast(out, base.dtype))


def _small_exponent(exponent: Tensor) -> int | None:
    if exponent.data is None or exponent.data.size != 1 or exponent.rank > 0:
        return None
    number = float(exponent.data)
    return int(number) if number.is_integer() and 1 <= number <= _POWERS else None


def _general_power(b: Builder, x: Tensor, exponent: Tensor) -> Tensor:
    half = exponent.data is not None and exponent.rank == 0 and float(exponent.data) == 0.5  # noqa: PLR2004
    if half and x.dtype == "float32":
        return unary(b, "SQRT", x)
    return binary(b, "POW", x, b.cast(exponent, x.dtype))


@lowers("Neg")
def neg(b: Builder, node: Node) -> None:
    """``-x``."""
    (x,), dtype = _operands(b, node, _KERNELS["Neg"])
    b.bind(node.outputs[0], b.cast(unary(b, "NEG", x), dtype))


@lowers("Abs")
def abs_(b: Builder, node: Node) -> None:
    """``|x|``."""
    (x,), dtype = _operands(b, node, ("float32", "uint8", "int16", "uint16", "int32", "int64"))
    b.bind(node.outputs[0], b.cast(absolute(b, x), dtype))


def absolute(b: Builder, x: Tensor) -> Tensor:
    """Return ``|x|`` of any dtype that arithmetic has."""
    if x.dtype.startswith("uint"):
        return x
    if x.dtype in {"float32", "int16", "int32"}:
        return unary(b, "ABS", x)
    return binary(b, "MAXIMUM", x, unary(b, "NEG", x))


@lowers("Sign")
def sign_(b: Builder, node: Node) -> None:
    """-1, 0 or 1."""
    (x,), dtype = _operands(b, node, ("float32", "float64", "int32", "int64"))
    b.bind(node.outputs[0], b.cast(sign(b, x), dtype))


def sign(b: Builder, x: Tensor) -> Tensor:
    """Return -1, 0 or 1 for a tensor of any dtype that arithmetic has."""
    if x.dtype in {"float32", "float64", "int32"}:
        return unary(b, "SIGN", x)
    wide = x if x.dtype == "int64" else b.cast(x, "int32")
    above = with_number(b, "GREATER", wide, 0, dtype="bool")
    below = with_number(b, "LESS", wide, 0, dtype="bool")
    out = binary(b, "SUB", b.cast(above, wide.dtype), b.cast(below, wide.dtype))
    return b.cast(out, x.dtype)


@lowers("Floor", "Ceil", "Round")
def rounding(b: Builder, node: Node) -> None:
    """Whole numbers; ROUND takes halves to the even one, as ONNX does."""
    (x,), dtype = _operands(b, node, FLOAT)
    b.bind(node.outputs[0], b.cast(unary(b, _ROUNDING[node.op], x), dtype))


@lowers("Sqrt", "Exp", "Log", "Sin", "Cos")
def function(b: Builder, node: Node) -> None:
    """Functions that LiteRT has."""
    (x,), dtype = _operands(b, node, FLOAT)
    b.bind(node.outputs[0], b.cast(unary(b, _FUNCTIONS[node.op], x), dtype))


@lowers("Reciprocal")
def reciprocal(b: Builder, node: Node) -> None:
    """``1 / x``."""
    (x,), dtype = _operands(b, node, FLOAT)
    b.bind(node.outputs[0], b.cast(binary(b, "DIV", scalar(b, 1.0, "float32"), x), dtype))
