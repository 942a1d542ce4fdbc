"""Bring a copy of a prepared model into the form that pnnx takes.

pnnx recognizes operators by the forms that PyTorch's exporter writes: a Gemm with its weight turned
and a bias of one axis, a Pad that states its value. Where a model has another form of the same
thing, a copy gets that form here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.model.load import graph_inputs
from edgeops.model.prepare import fixed, infer

if TYPE_CHECKING:
    from collections.abc import Callable

# The newest opset that the shape inference inside of pnnx 20261020 knows everywhere.
NEWEST = 21
IR = 10
_MATRIX = 2


def with_batch(model: Any, size: int) -> Any:
    """Return a copy whose inputs with an open first axis have that size there."""
    copy = fixed(model, {})
    names = {t.name for t in graph_inputs(model) if t.shape and not isinstance(t.shape[0], int)}
    for value in copy.graph.input:
        if value.name in names:
            value.type.tensor_type.shape.dim[0].dim_value = size
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return infer(copy)[0]


def adapt(model: Any) -> Any:
    """Return a copy of an ``onnx.ModelProto`` in the forms that pnnx takes."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _lower_opset(copy)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    nodes = []
    for node in copy.graph.node:
        change = _CHANGES.get(node.op_type) if not node.domain else None
        nodes.extend(change(node, copy, constants) if change else [node])
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


def _lower_opset(model: Any) -> None:
    """State an opset and IR version that pnnx's own ONNX Runtime knows, where the graph allows it.

    An operator may have changed its meaning in between; the proof would show that.
    """
    import onnx

    model.ir_version = min(model.ir_version, IR)
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version > NEWEST:
            stated, opset.version = opset.version, NEWEST
            try:
                onnx.checker.check_model(model)
            except (onnx.checker.ValidationError, RuntimeError, ValueError):
                opset.version = stated


def _gemm(node: Any, model: Any, constants: dict[str, Any]) -> list[Any]:
    """Write ``alpha * a @ b + beta * c`` with constant b and c as a linear layer."""
    import numpy as np
    from onnx import helper, numpy_helper

    stated = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.input[1] not in constants:
        return [node]
    weight = numpy_helper.to_array(constants[node.input[1]])
    if not stated.get("transB", 0):
        weight = weight.T
    weight = weight * np.asarray(stated.get("alpha", 1.0), weight.dtype)
    first, nodes = node.input[0], []
    if stated.get("transA", 0):
        first = f"{node.output[0]}/turned"
        nodes.append(helper.make_node("Transpose", [node.input[0]], [first], perm=[1, 0]))
    third = node.input[2] if len(node.input) > _MATRIX else ""
    if third and third not in constants:
        return [node]
    inputs = [first, _add(model, constants, f"{node.output[0]}/weight", weight)]
    made, last = node.output[0], []
    if third:
        bias = numpy_helper.to_array(constants[third])
        bias = bias * np.asarray(stated.get("beta", 1.0), bias.dtype)
        if bias.size in (1, weight.shape[0]) and bias.shape[-1:] in ((), (bias.size,)):
            flat = np.broadcast_to(bias.reshape(-1), (weight.shape[0],))
            inputs.append(_add(model, constants, f"{node.output[0]}/bias", flat))
        else:
            made = f"{node.output[0]}/product"
            addend = _add(model, constants, f"{node.output[0]}/addend", bias)
            last = [helper.make_node("Add", [made, addend], [node.output[0]])]
    return [*nodes, helper.make_node("Gemm", inputs, [made], name=node.name, transB=1), *last]


def _pad(node: Any, model: Any, constants: dict[str, Any]) -> list[Any]:
    """State the value that Pad fills with, and the pads of all axes."""
    import numpy as np
    from onnx import helper, numpy_helper

    stated = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    inputs = list(node.input)
    if inputs[1] not in constants or stated.get("mode", b"constant") != b"constant":
        return [node]
    if len(inputs) == _MATRIX or not inputs[_MATRIX]:
        zero = _add(model, constants, f"{node.output[0]}/value", np.zeros((), np.float32))
        inputs[_MATRIX:] = [zero, *inputs[_MATRIX + 1 :]]
    if len(inputs) > _MATRIX + 1 and inputs[_MATRIX + 1] in constants:
        rank = _rank(model, inputs[0])
        if rank is None:
            return [node]
        axes = numpy_helper.to_array(constants[inputs[_MATRIX + 1]]).tolist()
        pads = numpy_helper.to_array(constants[inputs[1]]).tolist()
        every = np.zeros(2 * rank, np.int64)
        for index, axis in enumerate(axes):
            every[axis % rank] = pads[index]
            every[axis % rank + rank] = pads[index + len(axes)]
        inputs = [inputs[0], _add(model, constants, f"{node.output[0]}/pads", every), inputs[2]]
    return [helper.make_node("Pad", inputs, list(node.output), name=node.name)]


def _rank(model: Any, name: str) -> int | None:
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        if value.name == name and value.type.tensor_type.HasField("shape"):
            return len(value.type.tensor_type.shape.dim)
    return None


def _add(model: Any, constants: dict[str, Any], name: str, array: Any) -> str:
    import numpy as np
    from onnx import numpy_helper

    tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
    model.graph.initializer.append(tensor)
    constants[name] = tensor
    return name


_CHANGES: dict[str, Callable[[Any, Any, dict[str, Any]], list[Any]]] = {
    "Gemm": _gemm,
    "Pad": _pad,
}
