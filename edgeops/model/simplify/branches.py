"""A pass over If: a condition that is constant leaves one branch, which moves into the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.model.simplify.graph import Node

if TYPE_CHECKING:
    from edgeops.model.simplify.graph import Graph


def inline_branches(graph: Graph) -> bool:
    """Replace If nodes with a constant condition by the branch that they take."""
    changed = False
    for node in list(graph.nodes):
        if node.op != "If":
            continue
        condition = graph.array(node.inputs[0])
        if condition is None or condition.size != 1:
            continue
        branch = node.get("then_branch" if condition.reshape(-1)[0] else "else_branch")
        if branch is not None and len(branch.output) == len(node.outputs):
            _inline(graph, node, branch)
            changed = True
    if changed:
        graph.sort()
        graph.pinned = graph.outputs.union(*(node.captured for node in graph.nodes))
    return changed


def _inline(graph: Graph, node: Node, branch: Any) -> None:
    from edgeops.model.simplify.light import constant_of

    graph.remove(node)
    own = [name for inner in branch.node for name in inner.output if name]
    own += [tensor.name for tensor in branch.initializer]
    names = {name: graph.fresh(name) for name in own}
    for tensor in branch.initializer:
        graph.tensors[names[tensor.name]] = tensor
    for inner in branch.node:
        tensor = constant_of(inner)
        if tensor is not None:
            graph.tensors[names[inner.output[0]]] = tensor
            continue
        copy = type(inner).FromString(inner.SerializeToString())
        rename(copy, names)
        graph.add(Node(copy))
    for out, value in zip(node.outputs, branch.output, strict=True):
        if out:
            graph.new("Identity", [names.get(value.name, value.name)], [out])


def rename(node: Any, names: dict[str, str]) -> None:
    """Rename tensors that a node message reads and makes, in its subgraphs too."""
    for side in (node.input, node.output):
        side[:] = [names.get(name, name) for name in side]
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            for inner in graph.node:
                rename(inner, names)
            for value in graph.output:
                value.name = names.get(value.name, value.name)
