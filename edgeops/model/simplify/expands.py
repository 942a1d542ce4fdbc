"""Passes over Expand: none before operators that broadcast themselves, else to constant shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.simplify.axes import BROADCASTING, broadcast_shape
from edgeops.model.simplify.values import known

if TYPE_CHECKING:
    from edgeops.model.simplify.dims import Dim
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


def fix_expands(graph: Graph) -> bool:
    """Write the shapes of Expand nodes down: an axis that stays as it is may be called 1."""
    import numpy as np

    changed = False
    for node in graph.nodes:
        if node.op != "Expand" or node.inputs[1] in graph.tensors:
            continue
        source, target = graph.shape(node.inputs[0]), known(graph, node.inputs[1])
        sizes = None if source is None or target is None else _sizes(source, target.items)
        if sizes is not None:
            name = graph.constant(f"{node.outputs[0]}_shape", np.array(sizes, np.int64))
            graph.set_input(node, 1, name)
            changed = True
    return changed


def _sizes(source: tuple[Dim, ...], target: tuple[Dim | None, ...]) -> list[int] | None:
    padded = (1,) * (len(target) - len(source)) + source[-len(target) :]
    if len(padded) != len(target):
        return None
    sizes = [1 if size == has else size for has, size in zip(padded, target, strict=True)]
    numbers = [size for size in sizes if isinstance(size, int)]
    return numbers if len(numbers) == len(sizes) else None
