"""Which version of an operator a use of it needs.

A file tells its reader by these versions which runtime knows all that it uses: an older one then
refuses to load it, where it would answer wrongly. The numbers are those of LiteRT's own converter
(tflite/tools/versioning/op_version.cc); which dtype, rank or option began with which version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.convert.litert.ir import Op, Tensor

_INT8 = {"int8": 2}
_INT8_16 = {"int8": 2, "int16": 3}
# By the dtype of the first input (of the second for _SECOND).
_DTYPES: dict[str, dict[str, int]] = {
    "ABS": {"int8": 2, "uint8": 2, "int16": 4, "int32": 5},
    "ADD": {"int8": 2, "int64": 4, "int16": 5},
    "ARG_MAX": {"int8": 2, "bool": 3},
    "ARG_MIN": {"int8": 2, "bool": 3},
    "AVERAGE_POOL_2D": _INT8_16,
    "BATCH_MATMUL": _INT8_16,
    "CONCATENATION": {"int8": 2, "int16": 3, "uint32": 4},
    "DEQUANTIZE": {"int8": 2, "int16": 3, "float16": 3},
    "EQUAL": {"int8": 2, "int16": 4},
    "FILL": {"bool": 2, "int8": 3, "int16": 3, "float16": 4},
    "FLOOR_DIV": {"float32": 2, "int8": 3, "int16": 3},
    "FLOOR_MOD": {"int8": 2, "int16": 2},
    "GATHER": {"int8": 2, "bool": 3, "int16": 4},
    "GATHER_ND": {"int16": 3, "bool": 5},
    "GREATER_EQUAL": _INT8_16,
    "L2_NORMALIZATION": _INT8,
    "LEAKY_RELU": {"int16": 2},
    "LESS": _INT8_16,
    "LOGISTIC": _INT8_16,
    "MAXIMUM": {"int8": 2, "int16": 4},
    "MAX_POOL_2D": _INT8_16,
    "MEAN": _INT8_16,
    "MINIMUM": {"int8": 2, "int16": 4},
    "MIRROR_PAD": _INT8_16,
    "MUL": {"int8": 2, "int64": 5, "int16": 7, "uint32": 7},
    "NOT_EQUAL": _INT8,
    "PACK": {"int8": 2, "int16": 3, "uint32": 4},
    "PAD": _INT8_16,
    "PADV2": _INT8_16,
    "RANGE": {"int64": 2},
    "REDUCE_MAX": _INT8_16,
    "REDUCE_MIN": _INT8_16,
    "RELU": {"int8": 2, "uint8": 2, "int16": 3},
    "RELU6": _INT8_16,
    "REVERSE_V2": {"bool": 2, "int8": 3},
    "RSQRT": _INT8_16,
    "SELECT_V2": {"uint32": 2},
    "SIGN": {"int32": 2},
    "SLICE": {"int8": 2, "int16": 4, "uint32": 6},
    "SOFTMAX": _INT8_16,
    "SPLIT": {"int8": 2, "int32": 3, "int16": 4},
    "STRIDED_SLICE": {"int8": 2, "bool": 3, "uint32": 7},
    "SUB": {"int8": 2, "int64": 4, "int16": 5},
    "TANH": _INT8_16,
    "TILE": {"int8": 3},
    "TRANSPOSE": {"int8": 2, "bool": 3, "int16": 5},
    "UNPACK": {"int8": 2, "uint8": 2, "bool": 3, "int16": 4},
}
_SECOND = {"SPLIT": 1, "FILL": 1}
# By the number of axes: the most that the versions before know, and the version for more.
_RANKS: dict[str, tuple[tuple[int, int], ...]] = {
    "DIV": ((4, 2),),
    "MAXIMUM": ((4, 3),),
    "MINIMUM": ((4, 3),),
    "PAD": ((4, 4),),
    "PADV2": ((4, 4),),
    "SLICE": ((4, 5),),
    "STRIDED_SLICE": ((4, 4),),
    "SUB": ((4, 3),),
    "TRANSPOSE": ((4, 4), (5, 6)),
}
_BIAS = 2


def version_of(op: Op) -> int:
    """Return the version to write for an operator."""
    first = _input(op, _SECOND.get(op.code, 0))
    found = [1]
    if first is not None:
        found.append(_DTYPES.get(op.code, {}).get(first.dtype, 1))
        rank = max(tensor.rank for tensor in op.inputs if tensor is not None)
        found += [version for most, version in _RANKS.get(op.code, ()) if rank > most]
    rule = _RULES.get(op.code)
    if rule is not None:
        found.append(rule(op))
    return max(found)


def _input(op: Op, index: int) -> Tensor | None:
    return op.inputs[index] if index < len(op.inputs) else None


def _reads_integers(op: Op) -> bool:
    return all(t is not None and t.dtype == "int8" for t in op.inputs[:2])


def _convolution(op: Op) -> int:
    x, weights = op.inputs[0], op.inputs[1]
    if x is not None and weights is not None and x.dims[-1] != weights.dims[-1]:
        return 6  # groups
    return 3 if _reads_integers(op) else 1


def _depthwise(op: Op) -> int:
    if _reads_integers(op):
        return 3
    dilations = (op.options.get(f"dilation{letter}Factor", 1) for letter in "HW")
    return 2 if any(dilation != 1 for dilation in dilations) else 1


def _fully_connected(op: Op) -> int:
    if _input(op, _BIAS) is None:
        return 6
    if op.options.get("keepNumDims"):
        return 5
    return 4 if _reads_integers(op) else 1


def _transposed(op: Op) -> int:
    if op.options.get("fusedActivationFunction"):
        return 4
    return 3 if _input(op, _BIAS + 1) is not None else 1


def _resize(op: Op) -> int:
    nearest = op.code == "RESIZE_NEAREST_NEIGHBOR"
    if op.options.get("halfPixelCenters") or (nearest and op.options.get("alignCorners")):
        return 3
    return 2 if op.inputs[0] is not None and op.inputs[0].dtype == "int8" else 1


def _strided_slice(op: Op) -> int:
    return 6 if op.options.get("ellipsisMask") or op.options.get("newAxisMask") else 1


def _gather(op: Op) -> int:
    return 5 if op.options.get("batchDims") else 1


def _per_channel(version: int) -> Callable[[Op], int]:
    def rule(op: Op) -> int:
        tensors = (*op.inputs, *op.outputs)
        quants = [t.quant for t in tensors if t is not None and t.quant is not None]
        return version if any(quant.scale.size > 1 for quant in quants) else 1

    return rule


_RULES: dict[str, Callable[[Op], int]] = {
    "BROADCAST_TO": lambda _: 2,  # the versions before were never released
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _per_channel(5),
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "QUANTIZE": _per_channel(3),
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE_CONV": _transposed,
}
