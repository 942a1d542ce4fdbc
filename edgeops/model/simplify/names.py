"""Names for nodes: findings, proofs and reports point at nodes by name."""

from __future__ import annotations

from typing import Any


def name_nodes(graph: Any) -> None:
    """Give every node of an ``onnx.GraphProto``, subgraphs included, a name of its own.

    Names that are there stay, the first of those that stand twice too; a node without one is called
    after the first tensor that it makes.
    """
    taken: set[str] = set()
    nameless = []
    for node in _nodes(graph):
        if node.name and node.name not in taken:
            taken.add(node.name)
        else:
            nameless.append(node)
    for node in nameless:
        base = node.name or next(filter(None, node.output), "") or node.op_type
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        node.name = name
        taken.add(name)


def _nodes(graph: Any) -> list[Any]:
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += _nodes(attribute.g)
            for inner in attribute.graphs:
                found += _nodes(inner)
    return found
