"""What nodes of an ONNX graph read, and the order they may stand in."""

from __future__ import annotations

import heapq
from typing import Any


def reads(node: Any) -> list[str]:
    """Return what a node reads, what its subgraphs read from outside included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names.extend(reads(inner))
            names.extend(output.name for output in graph.output)
    return names


def captured(node: Any) -> frozenset[str]:
    """Return what the subgraphs of a node read from outside of them."""
    names: set[str] = set()
    for attribute in node.attribute:
        if attribute.HasField("g"):
            names |= _outside(attribute.g)
        for graph in attribute.graphs:
            names |= _outside(graph)
    return frozenset(names)


def _outside(graph: Any) -> set[str]:
    made = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    read = {value.name for value in graph.output}
    for node in graph.node:
        read |= {name for name in node.input if name} | captured(node)
        made.update(node.output)
    return read - made


def sort_nodes(model: Any) -> None:
    """Put the nodes of the main graph in an order in which each tensor is made before it is read.

    Among nodes that are free to stand anywhere the present order is kept.
    """
    nodes = list(model.graph.node)
    maker = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    waits = [{maker[name] for name in reads(node) if name in maker} for node in nodes]
    readers: dict[int, list[int]] = {}
    for index, needed in enumerate(waits):
        for other in needed:
            readers.setdefault(other, []).append(index)
    free = [index for index, needed in enumerate(waits) if not needed]
    heapq.heapify(free)
    order = []
    while free:
        index = heapq.heappop(free)
        order.append(nodes[index])
        for reader in readers.get(index, ()):
            waits[reader].discard(index)
            if not waits[reader]:
                heapq.heappush(free, reader)
    del model.graph.node[:]
    model.graph.node.extend(order)
