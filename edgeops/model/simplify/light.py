"""A copy of a model without its weights: what can be edited and handed around for nothing.

The tensors stay where they are, in the source, and are copied once, into the finished model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Tensors of at most so many elements go along where values matter: shapes, axes, scales.
SMALL = 64


def lighten(proto: Any) -> tuple[Any, dict[str, Any]]:
    """Return a copy of an ``onnx.ModelProto`` without its constants, and those by name.

    The constants are initializers and what Constant nodes hold: messages of the source, which must
    not be changed. Constant nodes that make an output of the graph stay nodes.
    """
    import onnx

    model = onnx.ModelProto()
    _copy_fields(proto, model, without={"graph"})
    _copy_fields(proto.graph, model.graph, without={"node", "initializer"})
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    outputs = {value.name for value in proto.graph.output}
    for node in proto.graph.node:
        tensor = constant_of(node)
        if tensor is None or node.output[0] in outputs:
            model.graph.node.add().CopyFrom(node)
        else:
            tensors[node.output[0]] = tensor
    return model, tensors


def constant_of(node: Any) -> Any | None:
    """Return the tensor that a Constant node holds, or None."""
    if node.op_type != "Constant" or node.domain not in {"", "ai.onnx"}:
        return None
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.HasField("t"):
            return attribute.t
        if attribute.name.startswith("value_"):
            return _plain(attribute)
    return None


def _plain(attribute: Any) -> Any | None:
    import numpy as np
    from onnx import helper, numpy_helper

    kinds = {"value_float": "float32", "value_floats": "float32"}
    kinds |= {"value_int": "int64", "value_ints": "int64"}
    if attribute.name not in kinds:
        return None
    value = helper.get_attribute_value(attribute)
    return numpy_helper.from_array(np.asarray(value, kinds[attribute.name]))


def with_tensors(model: Any, tensors: Mapping[str, Any]) -> Any:
    """Return a model in which small constants are initializers and large ones only inputs.

    That is enough for inferring shapes and for raising the opset, and costs nothing for weights.
    """
    import onnx

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    add_tensors(whole, ((n, t) for n, t in tensors.items() if math.prod(t.dims) <= SMALL))
    for name, tensor in tensors.items():
        if math.prod(tensor.dims) > SMALL:
            whole.graph.input.append(
                onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims)
            )
    return whole


def add_tensors(model: Any, tensors: Iterable[tuple[str, Any]]) -> None:
    """Copy constants into the model's initializers under their names."""
    for name, tensor in tensors:
        copy = model.graph.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = name


def _copy_fields(source: Any, target: Any, without: set[str]) -> None:
    for field, value in source.ListFields():
        if field.name in without:
            continue
        if hasattr(value, "extend"):
            getattr(target, field.name).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
