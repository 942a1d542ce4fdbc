"""Shapes and dtypes of all tensors, by ONNX's own inference, for as little as it can cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.model.simplify.dims import Dim, named
from edgeops.model.simplify.light import with_tensors

if TYPE_CHECKING:
    from edgeops.model.simplify.graph import Graph


def infer(graph: Graph) -> str:
    """Fill ``graph.shapes`` and ``graph.dtypes``; return a note when ONNX refuses."""
    import onnx

    graph.values.clear()
    graph.same.clear()
    model = with_tensors(graph.to_model(), graph.tensors)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError) as error:
        read_types(graph, model)
        return f"shapes were not inferred ({line(error)})"
    graph.shapes.clear()
    read_types(graph, inferred)
    return ""


def read_types(graph: Graph, model: Any) -> None:
    """Take over what the values of a model say of their tensors."""
    for values in (model.graph.value_info, model.graph.output, model.graph.input):
        for value in values:
            kind = value.type.tensor_type
            if not value.type.HasField("tensor_type"):
                continue
            graph.dtypes[value.name] = kind.elem_type
            if kind.HasField("shape"):
                graph.shapes[value.name] = tuple(
                    _dim(dim, f"{value.name}:{axis}") for axis, dim in enumerate(kind.shape.dim)
                )


def _dim(dim: Any, otherwise: str) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return named(dim.dim_param or otherwise)


def line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
