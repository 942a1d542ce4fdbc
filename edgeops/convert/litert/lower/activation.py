"""Activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node


@lowers("Relu")
def relu(b: Builder, node: Node) -> None:
    """``max(x, 0)``."""
    x = b.value(node.inputs[0])
    b.bind(node.outputs[0], b.emit("RELU", [x], x.dims))


@lowers("Softmax")
def softmax(b: Builder, node: Node) -> None:
    """Softmax along one axis; LiteRT's works on the last."""
    x = b.value(node.inputs[0])
    axis = node.attr("axis", -1) % x.rank
    order = [*(i for i in range(x.rank) if i != axis), axis]
    moved = b.emit("SOFTMAX", [b.transpose(x, order)], tuple(x.dims[i] for i in order), beta=1.0)
    back = [order.index(i) for i in range(x.rank)]
    b.bind(node.outputs[0], b.transpose(moved, back))
