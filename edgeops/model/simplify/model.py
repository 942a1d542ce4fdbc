"""From a model to a graph for editing, and back with types, names and weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.model.simplify.dims import Term
from edgeops.model.simplify.graph import Graph
from edgeops.model.simplify.light import add_tensors
from edgeops.model.simplify.names import name_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

# What exporters write for "not known": two axes of that name need not be of the same size.
_NAMELESS = {"", "?", "-1", "None", "none", "unk", "unknown", "Unknown", "dynamic", "Dynamic"}


def opened(model: Any, tensors: Mapping[str, Any]) -> Graph:
    """Return a graph for editing; ``model`` has no constants and is used up."""
    import onnx

    interface = onnx.GraphProto()
    interface.input.extend(model.graph.input)
    interface.output.extend(model.graph.output)
    domains = {"", "ai.onnx"}
    customs = {name for n in model.graph.node if n.domain not in domains for name in n.output}
    _plain_types(model, customs)
    return Graph(model, tensors, interface)


def finished(graph: Graph) -> Any:
    """Return the whole model: nodes named, types of all tensors as last inferred, weights copied.

    Inputs and outputs are those that the graph was opened with.
    """
    from onnx import helper

    model = graph.to_model()
    given = {name for value in graph.interface.input for name in _names(value)}
    for side in ("input", "output", "value_info"):
        values = getattr(model.graph, side)
        del values[:]
        values.extend(getattr(graph.interface, side))
    for value in model.graph.output:
        _settle(value, graph.shape(value.name), given)
    made = [name for node in graph.nodes for name in node.outputs if name]
    for name in made:
        dtype, shape = graph.dtypes.get(name, 0), graph.shape(name)
        if dtype and name not in graph.outputs:
            dims = None if shape is None else [_shown(dim, given) for dim in shape]
            value = helper.make_tensor_value_info(name, dtype, dims)
            model.graph.value_info.append(value)
    # Each is let go once it is copied, so that no more than one copy of them all is alive.
    add_tensors(model, ((name, graph.tensors.pop(name)) for name in list(graph.tensors)))
    name_nodes(model.graph)
    return model


def _settle(value: Any, shape: Any, given: set[str]) -> None:
    """Write down the sizes of an output's axes whose names no input has, where they are known.

    Such names stand for sizes that follow from the inputs, and these may have been fixed.
    """
    dims = value.type.tensor_type.shape.dim
    if shape is None or len(shape) != len(dims):
        return
    for dim, size in zip(dims, shape, strict=True):
        if isinstance(size, int) and dim.dim_param and dim.dim_param not in given:
            dim.dim_value = size


def _shown(dim: Any, given: set[str]) -> Any:
    """Return a size as number or as the interface's name for it, None for others."""
    if isinstance(dim, Term):
        return dim.names[0] if dim.factor == 1 and {*dim.names} <= given else None
    return dim


def _names(value: Any) -> list[str]:
    return [dim.dim_param for dim in value.type.tensor_type.shape.dim if dim.dim_param]


def _plain_types(model: Any, customs: set[str]) -> None:
    """Make types trustworthy: axes of the inputs get names that hold, stale shapes are dropped.

    ``customs`` are the tensors whose types nobody infers: those that custom operators make.
    """
    trusted = _trusted(model.graph.input)
    for value in model.graph.input:
        _rename(value, trusted)
    kept = [value for value in model.graph.value_info if value.name in customs]
    for value in kept:
        _rename(value, trusted)
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    for value in model.graph.output:
        if value.type.HasField("tensor_type") and value.name not in customs:
            value.type.tensor_type.ClearField("shape")


def _trusted(values: Any) -> set[str]:
    trusted, twice = set(), set(_NAMELESS)
    for value in values:
        names = [dim.dim_param for dim in value.type.tensor_type.shape.dim]
        twice.update(name for name in names if names.count(name) > 1)
        trusted.update(names)
    return trusted - twice


def _rename(value: Any, trusted: set[str]) -> None:
    if not value.type.HasField("tensor_type"):
        return
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value <= 0:
            dim.Clear()  # some exporters write 0 for what is open
        if not dim.HasField("dim_value") and dim.dim_param not in trusted:
            dim.dim_param = f"{value.name}:{axis}"
