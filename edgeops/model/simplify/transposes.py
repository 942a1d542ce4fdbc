"""Passes over Transpose: those that move nothing go, two in a row become one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeops.model.simplify.graph import Graph, Node


def join_transposes(graph: Graph) -> bool:
    """Merge consecutive Transposes; those that cancel go, with those that move nothing."""
    changed = False
    for node in list(graph.nodes):
        if node.op != "Transpose" or node not in graph.nodes:
            continue
        order = permutation(graph, node)
        if order is None:
            continue
        if order == sorted(order):
            changed |= graph.bypass(node, node.inputs[0])
            continue
        first = graph.makers.get(node.inputs[0])
        if first is not None and first.op == "Transpose":
            changed |= _join(graph, first, node, order)
    return changed


def permutation(graph: Graph, node: Node) -> list[int] | None:
    """Return the order of axes that a Transpose makes, None when the rank is not known."""
    order = node.get("perm")
    if order is not None:
        return list(order)
    shape = graph.shape(node.inputs[0])
    return None if shape is None else list(range(len(shape)))[::-1]


def _join(graph: Graph, first: Node, second: Node, order: list[int]) -> bool:
    before = permutation(graph, first)
    if before is None or len(before) != len(order):
        return False
    whole = [before[axis] for axis in order]
    if whole == sorted(whole):
        return graph.bypass(second, first.inputs[0])
    if graph.only_reader(first.outputs[0]) is not second:
        return False
    graph.set_inputs(second, [first.inputs[0]])
    second.set("perm", whole)
    return True
