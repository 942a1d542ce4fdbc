"""A pass over attributes: numbers that an operator takes when none is given are written down."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeops.model.simplify.graph import Graph


def write_defaults(graph: Graph) -> bool:
    """Give nodes the float attributes that they leave to the default.

    Not all engines know the defaults: mnnconvert 3.6.1 takes 0 for the epsilon that a
    BatchNormalization does not give, so that channels that hardly vary come out hundreds of times
    too large.
    """
    changed = False
    for node in graph.nodes:
        given = node.attributes
        for attribute in _floats(node.op, graph.opset):
            if attribute.name not in given:
                node.proto.attribute.append(attribute)
                changed = True
        if len(given) < len(node.proto.attribute):
            node.reread()
    return changed


@cache
def _floats(op: str, opset: int) -> tuple[Any, ...]:
    """Return the defaults of an operator's float attributes as messages."""
    import onnx

    if "::" in op or not onnx.defs.has(op):
        return ()
    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return ()
    values = [attribute.default_value for attribute in schema.attributes.values()]
    return tuple(value for value in values if value.type == onnx.AttributeProto.FLOAT)
