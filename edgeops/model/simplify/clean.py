"""Passes that take away what does nothing: dead nodes, unread constants, operators without effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.simplify.axes import expanded, same_shape, whole_axes
from edgeops.model.simplify.values import integers

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.model.simplify.graph import Graph, Node

# Outputs that may be left out when nobody reads them.
_OPTIONAL_OUTPUTS = {"MaxPool", "BatchNormalization", "LayerNormalization", "Dropout"}


def drop_dead(graph: Graph) -> bool:
    """Remove nodes and constants that nothing reads, and optional outputs that nobody wants."""

    def wanted(name: str) -> bool:
        return bool(name) and (name in graph.outputs or bool(graph.readers.get(name)))

    before = len(graph.nodes)
    for node in reversed(list(graph.nodes)):
        if not any(wanted(name) for name in node.outputs):
            graph.remove(node)
        elif node.op in _OPTIONAL_OUTPUTS:
            while len(node.outputs) > 1 and not wanted(node.outputs[-1]):
                graph.makers.pop(node.outputs.pop(), None)
    for name in [name for name in graph.tensors if not wanted(name)]:
        del graph.tensors[name]
    return len(graph.nodes) < before


def drop_idle(graph: Graph) -> bool:
    """Take away nodes whose output is their input; one between two ends of the model is a copy."""
    changed = False
    for node in list(graph.nodes):
        idle = _IDLE.get(node.op)
        if idle is None or not node.inputs or any(map(graph.readers.get, node.outputs[1:])):
            continue
        source = idle(graph, node)
        if source and not any(name in graph.outputs for name in node.outputs[1:]):
            changed |= graph.bypass(node, source) or _copy(graph, node, source)
    return changed


def _copy(graph: Graph, node: Node, source: str) -> bool:
    """Call a node what it is that must stay, both its ends being the model's own: a copy.

    Tools that drop what does nothing may lose the input with it; an Identity they know, or not.
    """
    if node.op == "Identity" or len(node.outputs) > 1:
        return False
    graph.set_inputs(node, [source])
    node.become("Identity")
    return True


def _always(_: Graph, node: Node) -> str:
    return node.inputs[0]


def _dropout(graph: Graph, node: Node) -> str:
    training = node.input(2)
    array = graph.array(training) if training else None
    off = not training or (array is not None and not array.any())
    return node.inputs[0] if off else ""


def _cast(graph: Graph, node: Node) -> str:
    return node.inputs[0] if graph.dtype(node.inputs[0]) == node.get("to") else ""


def _slice(graph: Graph, node: Node) -> str:
    shape, whole = graph.shape(node.inputs[0]), whole_axes(graph, node)
    return node.inputs[0] if shape is not None and whole == set(range(len(shape))) else ""


def _pad(graph: Graph, node: Node) -> str:
    pads = integers(graph, node.input(1))
    return node.inputs[0] if pads is not None and not any(pads) else ""


def _single(_: Graph, node: Node) -> str:
    return node.inputs[0] if len(node.inputs) == 1 else ""


def _split(_: Graph, node: Node) -> str:
    return node.inputs[0] if len(node.outputs) == 1 else ""


def _expand(graph: Graph, node: Node) -> str:
    shape = graph.shape(node.inputs[0])
    return node.inputs[0] if shape is not None and expanded(graph, node) == shape else ""


def _tile(graph: Graph, node: Node) -> str:
    repeats = integers(graph, node.input(1))
    return node.inputs[0] if repeats is not None and set(repeats) <= {1} else ""


def _neutral(number: float, *, either: bool) -> Callable[[Graph, Node], str]:
    """Return the test for a constant operand that changes neither value nor shape."""

    def idle(graph: Graph, node: Node) -> str:
        for at in (1, 0) if either else (1,):
            array = graph.array(node.inputs[at])
            other = node.inputs[1 - at]
            if (
                array is not None
                and array.dtype.kind in "fiu"
                and (array == number).all()
                and same_shape(graph, other, node.outputs[0])
            ):
                return other
        return ""

    return idle


def _concat(graph: Graph, node: Node) -> str:
    """Leave out inputs without elements; what is left may be one."""
    axis = node.get("axis", 0)
    shapes = [graph.shape(name) for name in node.inputs]
    kept = [
        name
        for name, shape in zip(node.inputs, shapes, strict=True)
        if shape is None or not -len(shape) <= axis < len(shape) or shape[axis] != 0
    ]
    if kept and len(kept) < len(node.inputs):
        graph.set_inputs(node, kept)
    return _single(graph, node)


_IDLE: dict[str, Callable[[Graph, Node], str]] = {
    "Identity": _always,
    "Dropout": _dropout,
    "Cast": _cast,
    "Slice": _slice,
    "Pad": _pad,
    "Concat": _concat,
    "Sum": _single,
    "Mean": _single,
    "Max": _single,
    "Min": _single,
    "Clip": _single,
    "Split": _split,
    "Expand": _expand,
    "Tile": _tile,
    "Mul": _neutral(1, either=True),
    "Div": _neutral(1, either=False),
    "Add": _neutral(0, either=True),
    "Sub": _neutral(0, either=False),
}
