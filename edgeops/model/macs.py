"""How large a model is and how much it computes: parameters and multiply-accumulates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgeops.model.external import tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

# Operator -> where its weight stands among the inputs.
_CONV = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1, "NhwcConv": 1}
_MATMUL = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3, "FusedMatMul": 1}
# Operators that multiply and accumulate too, in numbers that these formulas do not give.
_OTHERS = {"LSTM", "GRU", "RNN", "Einsum", "Attention", "MultiHeadAttention", "If", "Loop", "Scan"}


def parameters(proto: Any) -> int:
    """Return how many learned numbers a model holds: floats and integers of at most 8 bits.

    Larger integers are shapes, indices and the biases of quantized layers.
    """
    import onnx

    kinds = {
        getattr(onnx.TensorProto, name)
        for name in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT4", "UINT4")
    }
    return sum(math.prod(t.dims) for t in tensors(proto) if t.data_type in kinds)


def macs(proto: Any) -> tuple[int | None, str]:
    """Return the multiply-accumulates of one sample and "", or None and why they are unknown.

    Counted: convolutions (output elements x input channels of a group x kernel), Gemm and MatMul
    (output elements x inner axis). An open first axis of an input counts as one sample.
    """
    shapes = _shapes(proto)
    total = 0
    left_out = sorted({node.op_type for node in proto.graph.node} & _OTHERS)
    if left_out:
        return None, f"no formula for {', '.join(left_out)}"
    for node in proto.graph.node:
        try:
            total += _node(node, shapes)
        except _UnknownShapeError as error:
            name = node.name or node.output[0]
            return None, f"the shape of {error} ({node.op_type} {name!r}) is open"
    return total, ""


class _UnknownShapeError(Exception):
    """A tensor's shape is not known before the model runs."""


def _node(node: Any, shapes: dict[str, tuple[int, ...] | None]) -> int:
    def shape(name: str) -> tuple[int, ...]:
        known = shapes.get(name)
        if known is None:
            raise _UnknownShapeError(name)
        return known

    if node.op_type in _CONV:
        weight = shape(node.input[_CONV[node.op_type]])
        return math.prod(shape(node.output[0])) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(shape(node.input[0])) * math.prod(shape(node.input[1])[1:])
    if node.op_type in _MATMUL:
        inner = shape(node.input[_MATMUL[node.op_type]])
        return math.prod(shape(node.output[0])) * inner[max(len(inner) - 2, 0)]
    if node.op_type == "Gemm":
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        return math.prod(shape(node.output[0])) * shape(node.input[1])[1 if turned else 0]
    return 0


def _shapes(proto: Any) -> dict[str, tuple[int, ...] | None]:
    from edgeops.model.prepare import fixed, infer

    sizes = {}
    given = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        dims = value.type.tensor_type.shape.dim
        rest_known = all(dim.dim_value > 0 for dim in dims[1:])
        if value.name not in given and dims and not dims[0].dim_value and rest_known:
            sizes[value.name] = (1, *(dim.dim_value for dim in dims[1:]))
    model, _ = infer(fixed(proto, sizes))
    shapes: dict[str, tuple[int, ...] | None] = {
        tensor.name: tuple(tensor.dims) for tensor in tensors(model)
    }
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    shapes.update((value.name, _known(value)) for value in values if value.name not in shapes)
    shapes.update(_constants(graph))
    return shapes


def _known(value: Any) -> tuple[int, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or not all(
        dim.HasField("dim_value") for dim in tensor.shape.dim
    ):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def _constants(graph: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield node.output[0], tuple(attribute.t.dims)
