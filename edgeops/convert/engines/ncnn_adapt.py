"""Bring a copy of a prepared model into the form that pnnx takes.

pnnx recognizes operators by the forms that PyTorch's exporter writes: a Gemm with its weight turned
and a bias of one axis, a Pad that states its value. Where a model has another form of the same
thing, a copy gets that form here and in ``ncnn_forms``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.engines.ncnn_forms import FORMS
from edgeops.convert.engines.ncnn_pool import pool
from edgeops.convert.engines.ncnn_resize import resize

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.core.variant import TensorInfo

# The newest opset and IR version that the ONNX Runtime inside of pnnx 20261020 knows everywhere.
NEWEST = 21
OLDEST = 17
IR = 10
_MATRIX = 2
_AXES_OF_PAD = 3
_OLD_MODES = {b"linear": b"bilinear", b"cubic": b"bicubic"}
_REDUCTIONS = {
    *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    "ReduceLogSumExp",
}


class Copy:
    """The copy that is being changed: its constants by name, sizes, and a way to add constants."""

    def __init__(self, model: Any) -> None:
        self._graph = model.graph
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
        self._values = {value.name: value.type.tensor_type for value in values}

    def value(self, node: Any, index: int) -> Any:
        """Return a node's input as an array, None when it is absent or computed."""
        from onnx import numpy_helper

        name = node.input[index] if index < len(node.input) else ""
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def sizes(self, name: str) -> list[int | None] | None:
        """Return a tensor's sizes, None for those that are open; None when its rank is unknown."""
        if name in self.constants:
            return list(self.constants[name].dims)
        tensor = self._values.get(name)
        if tensor is None or not tensor.HasField("shape"):
            return None
        return [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]

    def add(self, name: str, array: Any) -> str:
        """Add a constant and return its name."""
        import numpy as np
        from onnx import numpy_helper

        tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), name)
        self._graph.initializer.append(tensor)
        self.constants[name] = tensor
        return name


def one_sample(model: Any, *, simplify: bool = True) -> Any:
    """Return a copy in which open first axes of inputs are 1, prepared anew.

    Other open axes stay open. A model without an open first axis comes back as it is.
    """
    import onnx

    from edgeops.model.load import graph_inputs
    from edgeops.model.prepare import prepare

    inputs = graph_inputs(model)
    if not any(is_loop(tensor) for tensor in inputs):
        return model
    known: dict[str, tuple[int, ...]] = {}
    for tensor in inputs:
        rest = tuple(size for size in tensor.shape[1:] if isinstance(size, int))
        if is_loop(tensor) and len(rest) == len(tensor.shape) - 1:
            known[tensor.name] = (1, *rest)
    copy = type(model)()
    copy.CopyFrom(model)
    others = {tensor.name for tensor in inputs if is_loop(tensor) and tensor.name not in known}
    for value in copy.graph.input:
        if value.name in others:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    del copy.graph.value_info[:]
    single = prepare(copy, input_shapes=known, simplify=simplify).proto
    for value in single.graph.output:  # their sizes follow from the inputs'
        value.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(single)


def is_loop(tensor: TensorInfo) -> bool:
    """Return whether an input's first axis is open: ncnn then runs sample by sample."""
    return bool(tensor.shape) and tensor.shape != ("...",) and not isinstance(tensor.shape[0], int)


def adapt(model: Any) -> Any:
    """Return a copy of an ``onnx.ModelProto`` in the forms that pnnx takes, unread inputs left out."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    copy = Copy(made)
    nodes = []
    for node in made.graph.node:
        change = _CHANGES.get(node.op_type) if not node.domain else None
        nodes.extend(change(node, copy) if change else [node])
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del made.graph.node[:]
    made.graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    inputs = [value for value in made.graph.input if value.name in read]
    del made.graph.input[:]
    made.graph.input.extend(inputs)
    return _lower_opset(made, copy)


def _lower_opset(model: Any, copy: Copy) -> Any:
    """State the oldest opset that the graph is valid in, and an IR version that pnnx knows.

    pnnx reads reductions best in opset 17, where their axes are attributes. An operator may have
    changed its meaning in between; the proof would show that.
    """
    model.ir_version = min(model.ir_version, IR)
    opset = next((o for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:
        return model
    stated = opset.version
    for version in (OLDEST, NEWEST):
        opset.version = min(version, stated) if version == NEWEST else version
        trial = _as_in_17(model, copy) if version == OLDEST else model
        if _is_valid(trial):
            return trial
    opset.version = stated
    return model


def _as_in_17(model: Any, copy: Copy) -> Any:
    """Return a copy with what opset 17 said otherwise: axes of reductions, ways to sample."""
    trial = type(model)()
    trial.CopyFrom(model)
    for node in trial.graph.node:
        axes = copy.value(node, 1) if node.op_type in _REDUCTIONS else None
        if axes is not None:
            del node.input[1:]
            node.attribute.add(name="axes", type=7, ints=axes.tolist())  # 7 is INTS
        for attribute in node.attribute if node.op_type == "GridSample" else ():
            attribute.s = _OLD_MODES.get(attribute.s, attribute.s)
    return trial


def _is_valid(model: Any) -> bool:
    import onnx

    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, RuntimeError, ValueError):
        return False
    return True


def _gemm(node: Any, copy: Copy) -> list[Any]:
    """Write ``alpha * a @ b + beta * c`` with constant b and c as a linear layer."""
    import numpy as np
    from onnx import helper

    stated = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    weight, bias = copy.value(node, 1), copy.value(node, _MATRIX)
    given = len(node.input) > _MATRIX and bool(node.input[_MATRIX])
    if weight is None or (given and bias is None):
        return [node]
    weight = weight if stated.get("transB", 0) else weight.T
    weight = weight * np.asarray(stated.get("alpha", 1.0), weight.dtype)
    first, nodes = node.input[0], []
    if stated.get("transA", 0):
        first = f"{node.output[0]}/turned"
        nodes.append(helper.make_node("Transpose", [node.input[0]], [first], perm=[1, 0]))
    inputs = [first, copy.add(f"{node.output[0]}/weight", weight)]
    made, last = node.output[0], []
    if given:
        bias = bias * np.asarray(stated.get("beta", 1.0), bias.dtype)
        if bias.size in (1, weight.shape[0]) and bias.shape[-1:] in ((), (bias.size,)):
            flat = np.broadcast_to(bias.reshape(-1), (weight.shape[0],))
            inputs.append(copy.add(f"{node.output[0]}/bias", flat))
        else:
            made = f"{node.output[0]}/product"
            addend = copy.add(f"{node.output[0]}/addend", bias)
            last = [helper.make_node("Add", [made, addend], [node.output[0]])]
    return [*nodes, helper.make_node("Gemm", inputs, [made], name=node.name, transB=1), *last]


def _pad(node: Any, copy: Copy) -> list[Any]:
    """State the mode and value of Pad, and the pads of all axes."""
    import numpy as np
    from onnx import helper

    mode = next((a.s for a in node.attribute if a.name == "mode"), b"constant")
    pads, axes, sizes = (
        copy.value(node, 1),
        copy.value(node, _AXES_OF_PAD),
        copy.sizes(node.input[0]),
    )
    if pads is None or sizes is None:
        return [node]
    if axes is not None:
        every = np.zeros(2 * len(sizes), np.int64)
        for index, axis in enumerate(axes % len(sizes)):
            every[axis] = pads[index]
            every[axis + len(sizes)] = pads[index + len(axes)]
        pads = every
    inputs = [node.input[0], copy.add(f"{node.output[0]}/pads", pads)]
    if mode == b"constant":
        value = copy.value(node, _MATRIX)
        value = np.zeros((), np.float32) if value is None else value.reshape(())
        inputs.append(copy.add(f"{node.output[0]}/value", value))
    return [helper.make_node("Pad", inputs, list(node.output), name=node.name, mode=mode)]


def _pooling(node: Any, copy: Copy) -> list[Any]:
    """Write pooling that is not the same on both sides with a Pad of its own."""
    sizes = copy.sizes(node.input[0])
    known = None if sizes is None or None in sizes else [size or 0 for size in sizes]
    return pool(node, known, copy.add) or [node]


_CHANGES: dict[str, Callable[[Any, Copy], list[Any]]] = {
    **FORMS,
    "AveragePool": _pooling,
    "Gemm": _gemm,
    "MaxPool": _pooling,
    "Pad": _pad,
    "Resize": resize,
}
