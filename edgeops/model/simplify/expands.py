"""A pass over Expand: operators that broadcast by themselves need none before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.simplify.axes import BROADCASTING, broadcast_shape

if TYPE_CHECKING:
    from edgeops.model.simplify.graph import Graph, Node


def skip_expands(graph: Graph) -> bool:
    """Let broadcasting operators read what an Expand reads where the result has the same shape."""
    changed = False
    for node in list(graph.nodes):
        if node.op not in BROADCASTING:
            continue
        for at, name in enumerate(node.inputs):
            expand = graph.makers.get(name)
            if expand is not None and expand.op == "Expand" and _needless(graph, node, at, expand):
                graph.set_input(node, at, expand.inputs[0])
                changed = True
    return changed


def _needless(graph: Graph, node: Node, at: int, expand: Node) -> bool:
    shapes = [graph.shape(name) for name in node.inputs]
    whole = broadcast_shape(*shapes)
    shapes[at] = graph.shape(expand.inputs[0])
    without = broadcast_shape(*shapes)
    return whole is not None and None not in whole and whole == without
