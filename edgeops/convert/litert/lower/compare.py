"""Comparisons, logic, and choices by them."""

from __future__ import annotations

import math
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
    from edgeops.convert.litert.builder import Builder, Node

_COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
}
_LOGIC = {"And": "LOGICAL_AND", "Or": "LOGICAL_OR", "Xor": "NOT_EQUAL"}
_BITS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")


@lowers("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def comparison(b: Builder, node: Node) -> None:
    """Compare two tensors that broadcast; nothing is equal to NaN."""
    x, y = (b.value(name) for name in node.inputs)
    kernels = (*NUMBERS, "bool") if node.op == "Equal" else NUMBERS
    dtype = carrier(b, node, x.dtype, kernels)
    out = binary(b, _COMPARISONS[node.op], b.cast(x, dtype), b.cast(y, dtype), "bool")
    b.bind(node.outputs[0], out)


@lowers("And", "Or", "Xor")
def logic(b: Builder, node: Node) -> None:
    """Logic of two bool tensors that broadcast."""
    x, y = (b.value(name) for name in node.inputs)
    b.bind(node.outputs[0], binary(b, _LOGIC[node.op], x, y))


@lowers("Not")
def not_(b: Builder, node: Node) -> None:
    """``not x``."""
    b.bind(node.outputs[0], unary(b, "LOGICAL_NOT", b.value(node.inputs[0])))


@lowers("Where")
def where(b: Builder, node: Node) -> None:
    """``x`` where the condition holds, else ``y``."""
    b.bind(node.outputs[0], select(b, *(b.value(name) for name in node.inputs)))


@lowers("IsNaN")
def is_nan(b: Builder, node: Node) -> None:
    """Tell what is not equal to itself."""
    x = b.value(node.inputs[0])
    x = b.cast(x, carrier(b, node, x.dtype, FLOAT))
    b.bind(node.outputs[0], binary(b, "NOT_EQUAL", x, x, "bool"))


@lowers("IsInf")
def is_inf(b: Builder, node: Node) -> None:
    """Tell infinities, of one sign or both."""
    x = b.value(node.inputs[0])
    x = b.cast(x, carrier(b, node, x.dtype, FLOAT))
    up, down = node.attr("detect_positive", 1), node.attr("detect_negative", 1)
    if up and down:
        x = unary(b, "ABS", x)
    if up or down:
        end = math.inf if up else -math.inf
        out = with_number(b, "EQUAL", x, end, dtype="bool")
    else:
        out = binary(b, "LESS", x, x, "bool")
    b.bind(node.outputs[0], out)


@lowers("BitwiseXor")
def bitwise_xor(b: Builder, node: Node) -> None:
    """Exclusive or, bit by bit."""
    x, y = (b.value(name) for name in node.inputs)
    carrier(b, node, x.dtype, _BITS)
    b.bind(node.outputs[0], binary(b, "BITWISE_XOR", x, y))


@lowers("BitwiseNot")
def bitwise_not(b: Builder, node: Node) -> None:
    """All bits the other way: exclusive or with ones."""
    import numpy as np

    x = b.value(node.inputs[0])
    carrier(b, node, x.dtype, _BITS)
    ones = b.const(np.invert(np.zeros((), x.dtype)), "ones")
    b.bind(node.outputs[0], binary(b, "BITWISE_XOR", x, ones))


@lowers("BitShift")
def bit_shift(b: Builder, node: Node) -> None:
    """Shift to the right; to the left by constants, as a product."""
    import numpy as np

    x, y = (b.value(name) for name in node.inputs)
    dtype = carrier(b, node, x.dtype, ("uint8", "uint16", "uint32"))
    bits = 8 * np.dtype(dtype).itemsize
    if node.attr("direction") == "RIGHT":
        out = binary(b, "RIGHT_SHIFT", x, y)
        if y.data is None or np.any(y.data >= bits):
            kept = b.cast(y, "int32") if dtype != "uint32" else b.cast(y, "int64")
            small = with_number(b, "LESS", kept, bits, dtype="bool")
            out = select(b, small, out, scalar(b, 0, dtype))
        b.bind(node.outputs[0], out)
        return
    if y.data is None:
        b.refuse(node, "it shifts to the left by what the model computes", code="constant-needed")
    factors = np.where(y.data < bits, np.int64(1) << y.data.astype("int64").clip(0, bits - 1), 0)
    wide = binary(b, "MUL", b.cast(x, "int64"), b.const(factors.astype("int64"), "factors"))
    b.bind(node.outputs[0], b.cast(wide, dtype))
