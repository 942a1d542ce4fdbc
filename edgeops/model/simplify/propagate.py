"""What is known before the model runs, from its first node to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.simplify.axes import SHAPES
from edgeops.model.simplify.values import FEW, VALUES

if TYPE_CHECKING:
    from edgeops.model.simplify.graph import Graph


def propagate(graph: Graph) -> None:
    """Fill ``graph.values`` and ``graph.same``; the nodes must be sorted and shapes inferred."""
    for node in graph.nodes:
        follow = VALUES.get(node.op)
        if follow is not None and node.outputs:
            found = follow(graph, node)
            if found is not None and len(found.items) <= FEW:
                graph.values[node.outputs[0]] = found
        equate = SHAPES.get(node.op)
        if equate is not None:
            equate(graph, node)
