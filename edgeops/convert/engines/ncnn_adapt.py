"""Bring a copy of a prepared model into the form that pnnx takes."""

from __future__ import annotations

from typing import Any

from edgeops.model.load import graph_inputs
from edgeops.model.prepare import fixed, infer


def with_batch(model: Any, size: int) -> Any:
    """Return a copy whose open first axes of inputs have one size."""
    shapes = {}
    for tensor in graph_inputs(model):
        if tensor.shape and not isinstance(tensor.shape[0], int):
            shapes[tensor.name] = size
    copy = fixed(model, {})
    names = {tensor.name for tensor in graph_inputs(model)}
    for value in copy.graph.input:
        if value.name in shapes and value.name in names:
            value.type.tensor_type.shape.dim[0].dim_value = size
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return infer(copy)[0]


def adapt(model: Any) -> Any:
    return model
