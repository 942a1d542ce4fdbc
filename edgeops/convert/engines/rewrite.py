"""Change nodes of an ONNX graph one by one into a form that an engine's converter reads right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[["Rewriter", Any], list[Any]]


class Rewriter:
    """The main graph of a prepared ``onnx.ModelProto``, changed in place by ``run``.

    ``changes`` are by operator: what returns the nodes that take a node's place, itself the last
    of them as a rule. None of them changes what the graph computes.
    """

    changes: ClassVar[dict[str, Change]] = {}

    def __init__(self, model: Any) -> None:
        self._graph = model.graph
        self.opset = next((o.version for o in model.opset_import if not o.domain), 17)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.shapes: dict[str, list[int | None]] = {
            name: list(tensor.dims) for name, tensor in self.constants.items()
        }
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
            if value.type.tensor_type.HasField("shape"):
                self.shapes[value.name] = [
                    dim.dim_value if dim.HasField("dim_value") else None
                    for dim in value.type.tensor_type.shape.dim
                ]
        self._added: list[Any] = []

    def run(self) -> None:
        """Change the graph."""
        made = [node for old in self._graph.node for node in self.replaced(old)]
        copies = [type(node).FromString(node.SerializeToString()) for node in made]
        del self._graph.node[:]
        self._graph.node.extend(copies)
        self._graph.initializer.extend(self._added)

    def replaced(self, node: Any) -> list[Any]:
        """Return the nodes that take the place of one."""
        change = self.changes.get(node.op_type)
        if change is None or node.domain not in ("", "ai.onnx"):
            return [node]
        return change(self, node)

    def shape(self, name: str) -> list[int | None] | None:
        """Return a tensor's sizes, None for open ones, or None when not even their number is known."""
        return self.shapes.get(name)

    def array(self, name: str) -> Any | None:
        """Return a constant's values, or None for what is none."""
        from onnx import numpy_helper

        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def constant(self, name: str, array: Any) -> str:
        """Add a constant, unless one of this name is there, and return its name."""
        import numpy as np
        from onnx import numpy_helper

        if name not in self.constants:
            tensor = numpy_helper.from_array(np.asarray(array), name)
            self.constants[name] = tensor
            self.shapes[name] = list(tensor.dims)
            self._added.append(tensor)
        return name

    def before(self, node: Any, place: int, op: str, *more: str, **attributes: Any) -> Any:
        """Return a new node that changes input ``place`` of ``node``, which reads it from now on."""
        made = self.node(
            op, [node.input[place], *more], f"{node.output[0]}__in{place}", **attributes
        )
        node.input[place] = made.output[0]
        return made

    def after(self, node: Any, op: str, *more: str, **attributes: Any) -> Any:
        """Return a new node that makes output 0 of ``node`` out of what it makes from now on."""
        name = node.output[0]
        node.output[0] = f"{name}__before"
        made = self.node(op, [node.output[0], *more], name, **attributes)
        made.name = f"{name}__{op}".lower()
        return made

    @staticmethod
    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        """Return a new node of one output."""
        from onnx import helper

        return helper.make_node(op, inputs, [output], output, **attributes)


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return an attribute's value."""
    from onnx import helper

    for stated in node.attribute:
        if stated.name == name:
            value = helper.get_attribute_value(stated)
            return value.decode() if isinstance(value, bytes) else value
    return default


def put(node: Any, name: str, value: Any) -> None:
    """Set an attribute, or take it away with None."""
    from onnx import helper

    kept = [stated for stated in node.attribute if stated.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def alone(_: Rewriter, node: Any) -> list[Any]:
    """Turn Max, Min, Sum or Mean of one tensor, and Dropout, into what they are: nothing."""
    if node.op_type == "Dropout" or len(node.input) == 1:
        node.op_type = "Identity"
        del node.input[1:]
        del node.output[1:]
        del node.attribute[:]
    return [node]


def ceiled(graph: Rewriter, node: Any) -> list[Any]:
    """Write ``ceil_mode`` of a pooling as padding at the end, where its sizes are known.

    ONNX leaves out a last window that would start in the padding; engines differ there.
    """
    shape, kernel = graph.shape(node.input[0]), attribute(node, "kernel_shape")
    if not attribute(node, "ceil_mode", 0) or not shape or None in shape[2:]:
        return [node]
    if attribute(node, "count_include_pad", 0) or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return [node]
    axes = len(kernel)
    pads = list(attribute(node, "pads", [0] * (2 * axes)))
    strides = attribute(node, "strides", [1] * axes)
    dilations = attribute(node, "dilations", [1] * axes)
    for axis, size in enumerate(shape[2:]):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        padded = int(size or 0) + pads[axis] + pads[axis + axes]
        count = math.ceil((padded - reach) / strides[axis]) + 1
        if (count - 1) * strides[axis] >= int(size or 0) + pads[axis]:
            count -= 1
        end = pads[axis + axes] + (count - 1) * strides[axis] + reach - padded
        whole = int(size or 0) + pads[axis] + max(end, 0)
        if end >= reach or (whole - reach) // strides[axis] + 1 != count:
            return [node]
        pads[axis + axes] = max(end, 0)
    put(node, "pads", pads)
    put(node, "ceil_mode", 0)
    return [node]
