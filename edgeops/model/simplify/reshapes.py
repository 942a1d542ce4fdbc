"""Passes over Reshape and its relatives: computed shapes written down, chains made one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.simplify.axes import reshaped
from edgeops.model.simplify.values import integers

if TYPE_CHECKING:
    from edgeops.model.simplify.dims import Dim
    from edgeops.model.simplify.graph import Graph, Node

_RELATIVES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}


def fix_reshapes(graph: Graph) -> bool:
    """Write the shapes of Reshape nodes down where at most one axis has to stay open.

    An open axis becomes -1, further ones 0 where they are those of the input.
    """
    changed = False
    for node in list(graph.nodes):
        if node.op != "Reshape" or len(node.inputs) != 2:  # noqa: PLR2004 # data and shape
            continue
        made = reshaped(graph, node) or graph.shape(node.outputs[0])
        target = None if made is None else target_for(graph.shape(node.inputs[0]), made)
        if target is None or integers(graph, node.inputs[1]) == target:
            continue
        if 0 in target and node.inputs[1] in graph.tensors:
            continue  # as good as what stands there
        _retarget(graph, node, node.inputs[0], target)
        changed = True
    return changed


def join_reshapes(graph: Graph) -> bool:
    """Make one Reshape of two in a row, none where the shape comes back as it was."""
    changed = False
    for node in list(graph.nodes):
        if node.op not in _RELATIVES or node not in graph.nodes:
            continue
        source = node.inputs[0]
        made = graph.shape(node.outputs[0])
        if made is not None and graph.shape(source) == made:
            changed |= graph.bypass(node, source)
            continue
        before = graph.makers.get(source)
        if before is None or before.op not in _RELATIVES or before.outputs[0] != source:
            continue
        changed |= _join(graph, before, node, made)
    return changed


def _join(graph: Graph, first: Node, second: Node, made: tuple[Dim, ...] | None) -> bool:
    source = first.inputs[0]
    shape = graph.shape(source)
    if made is None:
        return False
    if shape == made:
        return graph.bypass(second, source)
    target = target_for(shape, made)
    if target is None or graph.only_reader(first.outputs[0]) is not second:
        return False
    if second.op != "Reshape":
        second.become("Reshape")
    _retarget(graph, second, source, target)
    return True


def _retarget(graph: Graph, node: Node, source: str, target: tuple[int, ...]) -> None:
    import numpy as np

    name = graph.constant(f"{node.outputs[0]}_shape", np.array(target, np.int64))
    graph.set_inputs(node, [source, name])
    node.set("allowzero", None)


def target_for(source: tuple[Dim, ...] | None, made: tuple[Dim, ...]) -> tuple[int, ...] | None:
    """Return what to write into a Reshape from one shape to another, or None.

    At most one -1; zeros only where several axes are open; never for tensors without elements.
    """
    if 0 in made:
        return None
    opens = [axis for axis, dim in enumerate(made) if not isinstance(dim, int)]
    target = [dim if isinstance(dim, int) else -1 for dim in made]
    if len(opens) > 1:
        for axis in opens:
            if source is not None and axis < len(source) and source[axis] == made[axis]:
                target[axis] = 0
    return tuple(target) if target.count(-1) <= 1 else None
