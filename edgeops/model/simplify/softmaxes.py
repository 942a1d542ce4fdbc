"""A pass over Softmax: flattening before it and unflattening after it are an axis of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.simplify.dims import product

if TYPE_CHECKING:
    from edgeops.model.simplify.dims import Dim
    from edgeops.model.simplify.graph import Graph, Node

_KINDS = {"Softmax", "LogSoftmax", "Hardmax"}
_FLAT = 2  # axes of what is flattened


def unflatten_softmax(graph: Graph) -> bool:
    """Make one Softmax of Flatten, Softmax and Reshape back, as raising the opset leaves them.

    That is right where all that follows the axis of the Softmax is of size 1.
    """
    changed = False
    for node in list(graph.nodes):
        if node.op in _KINDS:
            changed |= _unflatten(graph, node)
    return changed


def _unflatten(graph: Graph, node: Node) -> bool:
    before = graph.makers.get(node.inputs[0])
    after = graph.only_reader(node.outputs[0])
    if before is None or after is None or after.op != "Reshape":
        return False
    if before.op not in {"Flatten", "Reshape"} or after.inputs[0] != node.outputs[0]:
        return False
    shape, flat = graph.shape(before.inputs[0]), graph.shape(before.outputs[0])
    axis = _axis(shape, flat)
    last = node.get("axis", -1) in {-1, 1}
    if axis is None or not last or graph.shape(after.outputs[0]) != shape:
        return False
    graph.set_inputs(node, [before.inputs[0]])
    node.set("axis", axis)
    out = after.outputs[0]
    graph.remove(after)
    del graph.makers[node.outputs[0]]
    node.outputs = [out]
    graph.makers[out] = node
    return True


def _axis(shape: tuple[Dim, ...] | None, flat: tuple[Dim, ...] | None) -> int | None:
    if shape is None or flat is None or len(flat) != _FLAT:
        return None
    for axis, size in enumerate(shape):
        rest = all(dim == 1 for dim in shape[axis + 1 :])
        if rest and (product(shape[:axis]), size) == flat:
            return axis
    return None
