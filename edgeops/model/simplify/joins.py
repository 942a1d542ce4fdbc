"""Passes that write operators in the way that is understood most widely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.simplify.dims import Dim, ratio
from edgeops.model.simplify.values import known

if TYPE_CHECKING:
    from edgeops.model.simplify.graph import Graph, Node

_PAIR = 2


def join_concats(graph: Graph) -> bool:
    """Make one Concat of a Concat that only another one along the same axis reads."""
    changed = False
    for node in list(graph.nodes):
        if node.op != "Concat":
            continue
        inputs: list[str] = []
        for name in node.inputs:
            inner = graph.makers.get(name)
            if inner is not None and _joins(graph, inner, node):
                inputs += inner.inputs
            else:
                inputs.append(name)
        if len(inputs) > len(node.inputs):
            graph.set_inputs(node, inputs)
            changed = True
    return changed


def _joins(graph: Graph, inner: Node, outer: Node) -> bool:
    shape = graph.shape(inner.outputs[0])
    if inner.op != "Concat" or shape is None or graph.only_reader(inner.outputs[0]) is not outer:
        return False
    axes = [node.get("axis", 0) % max(len(shape), 1) for node in (inner, outer)]
    return bool(axes[0] == axes[1])


def add_pairs(graph: Graph) -> bool:
    """Write the Sum of two as Add."""
    pairs = [n for n in graph.nodes if n.op == "Sum" and len(n.inputs) == _PAIR]
    for node in pairs:
        node.become("Add")
    return bool(pairs)


def scale_resizes(graph: Graph) -> bool:
    """Give a Resize to computed sizes constant scales, where they are the same at any size."""
    import numpy as np

    changed = False
    for node in graph.nodes:
        if node.op != "Resize" or not node.input(3) or node.input(3) in graph.tensors:
            continue
        factors = _factors(graph, node)
        stretched = node.get("keep_aspect_ratio_policy", "stretch") == "stretch"
        cropped = node.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        if factors is None or not stretched or cropped or node.get("axes"):
            continue
        name = graph.constant(f"{node.outputs[0]}_scales", np.array(factors, np.float32))
        graph.set_inputs(node, [node.inputs[0], node.input(1), name])
        changed = True
    return changed


def _factors(graph: Graph, node: Node) -> list[float] | None:
    source, sizes = graph.shape(node.inputs[0]), known(graph, node.input(3))
    if source is None or sizes is None or len(sizes.items) != len(source):
        return None
    found = [_factor(has, size) for has, size in zip(source, sizes.items, strict=True)]
    return None if None in found else [factor for factor in found if factor is not None]


def _factor(has: Dim, size: Dim | None) -> float | None:
    import numpy as np

    if size is None:
        return None
    if isinstance(has, int) and isinstance(size, int):
        factor = np.float32(size) / np.float32(has)
        return float(factor) if int(np.float32(has) * factor) == size else None
    times = ratio(size, has)
    return float(times) if isinstance(times, int) else None
