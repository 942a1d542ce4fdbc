"""QuantizeLinear and DequantizeLinear.

Here they are only what they say: a rounding to integers, and numbers again. That an operator
between a dequantization and a quantization can work on the integers is what ``passes.int8`` finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.ir import Quant
from edgeops.convert.litert.lower import lowers

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_KERNELS = ("int8", "uint8", "int16")


@lowers("QuantizeLinear")
def quantize_linear(b: Builder, node: Node) -> None:
    """Round ``x / scale + zero`` half to even and saturate (Operators.md, QuantizeLinear)."""
    x = b.value(node.inputs[0])
    dtype = b.out_dtype(node)
    quant = _quant(b, node, x)
    if x.is_constant:
        b.bind(node.outputs[0], b.const(_integers(x.data, quant, dtype), x.name))
        return
    if dtype not in {*_KERNELS, "uint16"}:
        b.refuse(node, f"LiteRT has no way to round to {dtype}", code="dtype-unsupported")
    if not _has_kernel(dtype, quant):
        b.bind(node.outputs[0], _rounded(b, x, quant, dtype))
        return
    out = b.emit("QUANTIZE", [b.cast(x, "float32")], x.dims, dtype)
    out.quant = quant
    b.bind(node.outputs[0], out)


@lowers("DequantizeLinear")
def dequantize_linear(b: Builder, node: Node) -> None:
    """Give ``(x - zero) * scale``; what is constant becomes numbers, its integers remembered."""
    x = b.value(node.inputs[0])
    quant = _quant(b, node, x)
    dtype = b.out_dtype(node)
    if x.is_constant:
        data = _numbers(x.data, quant).astype(dtype)
        b.on_grid(node.outputs[0], quant)
        b.bind(node.outputs[0], b.const(data, node.outputs[0]))
        return
    if _has_kernel(x.dtype, quant) and (x.quant is None or _same(x.quant, quant)):
        x.quant = quant
        out = b.emit("DEQUANTIZE", [x], x.dims, "float32")
    else:
        out = _composed(b, x, quant)
    b.bind(node.outputs[0], b.cast(out, dtype))


def _has_kernel(dtype: str, quant: Quant) -> bool:
    """Return whether LiteRT knows such integers: one scale, and int16 around zero only."""
    if dtype not in _KERNELS or quant.scale.size > 1:
        return False
    return dtype != "int16" or not quant.zero.any()


def _rounded(b: Builder, x: Tensor, quant: Quant, dtype: str) -> Tensor:
    """Return the integers by arithmetic, where the kernel does not do it."""
    import numpy as np

    limits = np.iinfo(dtype)
    scale, zero, low, high = (
        b.const(np.asarray(part, "float32"), "quant")
        for part in (
            _along(quant, quant.scale, x.rank),
            _along(quant, quant.zero, x.rank),
            limits.min,
            limits.max,
        )
    )
    out = b.emit("ROUND", [b.emit("DIV", [b.cast(x, "float32"), scale], x.dims)], x.dims)
    out = b.emit("ADD", [out, zero], x.dims)
    out = b.emit("MAXIMUM", [low, out], x.dims)
    return b.cast(b.emit("MINIMUM", [high, out], x.dims), dtype)


def _composed(b: Builder, x: Tensor, quant: Quant) -> Tensor:
    """Return the numbers by arithmetic, where the kernel does not do it."""
    import numpy as np

    shape = [1] * x.rank
    if quant.scale.size > 1:
        shape[quant.axis] = quant.scale.size
    parts = [
        b.const(part.astype("float32").reshape(shape), "quant")
        for part in (quant.zero, quant.scale)
    ]
    out = b.cast(x, "float32")
    if np.any(quant.zero):
        out = b.emit("SUB", [out, parts[0]], x.dims)
    return b.emit("MUL", [out, parts[1]], x.dims)


def _quant(b: Builder, node: Node, x: Tensor) -> Quant:
    """Return the node's scale and zero point, which must be constant."""
    import numpy as np

    scale = b.array(node.inputs[1])
    zero = b.array(node.inputs[2]) if node.has(2) else None
    if scale is None or (node.has(2) and zero is None):
        b.refuse(node, "its scale or zero point is computed", code="constant-needed")
    if node.attr("block_size", 0):
        b.refuse(node, "LiteRT has no blockwise scales for it", code="attribute-unsupported")
    scale = np.asarray(scale, "float32").reshape(-1)
    zero = np.zeros(scale.shape, "int64") if zero is None else np.asarray(zero).reshape(-1)
    if zero.dtype.kind not in "iu":
        b.refuse(node, f"its integers are {zero.dtype}", code="dtype-unsupported")
    axis = node.attr("axis", 1)
    return Quant(scale, zero.astype("int64"), axis % x.rank if x.rank else 0)


def _along(quant: Quant, values: Any, rank: int) -> Any:
    """Return one value for each index of the quantized axis, ready to broadcast."""
    shape = [1] * rank
    if values.size > 1:
        shape[quant.axis] = values.size
    return values.reshape(shape)


def _integers(data: Any, quant: Quant, dtype: str) -> Any:
    import numpy as np

    limits = np.iinfo(dtype)
    scaled = np.rint(data / _along(quant, quant.scale, data.ndim))
    return np.clip(scaled + _along(quant, quant.zero, data.ndim), limits.min, limits.max).astype(
        dtype
    )


def _numbers(data: Any, quant: Quant) -> Any:
    shifted = data.astype("int64") - _along(quant, quant.zero, data.ndim)
    return shifted.astype("float32") * _along(quant, quant.scale, data.ndim)


def _same(one: Quant, other: Quant) -> bool:
    return bool((one.scale == other.scale).all() and (one.zero == other.zero).all())
