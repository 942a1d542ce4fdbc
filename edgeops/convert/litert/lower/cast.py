"""Cast: every pair of dtypes that LiteRT has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_DTYPES = frozenset(
    [
        "float16",
        "float32",
        "float64",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "bool",
    ]
)
# LiteRT saturates floats that are out of range, ONNX Runtime wraps them around: by way of a wider
# integer both do the same.
_BY_WAY_OF = {
    "int8": "int32",
    "uint8": "int32",
    "int16": "int32",
    "uint16": "int32",
    "uint32": "int64",
}


@lowers("Cast")
def cast(b: Builder, node: Node) -> None:
    """Numbers as another dtype; towards zero, and around the ends of integers."""
    import onnx

    target = onnx.helper.tensor_dtype_to_np_dtype(node.attr("to")).name
    if node.attr("to") == onnx.TensorProto.STRING:
        target = "str"
    _cast(b, node, target)


@lowers("CastLike")
def cast_like(b: Builder, node: Node) -> None:
    """Numbers in the dtype of another tensor."""
    _cast(b, node, b.value(node.inputs[1]).dtype)


def _cast(b: Builder, node: Node, target: str) -> None:
    x = b.value(node.inputs[0])
    if x.dtype != target and not {x.dtype, target} <= _DTYPES:
        other = x.dtype if x.dtype not in _DTYPES else target
        b.refuse(node, f"LiteRT casts nothing from or to {other}", code="dtype-unsupported")
    b.bind(node.outputs[0], _casted(b, x, target))


def _casted(b: Builder, x: Tensor, target: str) -> Tensor:
    if x.dtype.startswith("float") and target in _BY_WAY_OF:
        x = b.emit("CAST", [x], x.dims, _BY_WAY_OF[target])
    return b.cast(x, target)
