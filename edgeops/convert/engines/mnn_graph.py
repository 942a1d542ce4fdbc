"""Change an ONNX graph into the form that MNN's converter reads right.

Every change keeps what the graph computes. Without them MNN 3.6.1 crashes, refuses or, worse,
answers wrong; all were found by the operator cases of the onnx package (scripts/try_engine.py) or
by real models. Each function says what MNN does without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.engines.rewrite import Rewriter, alone, attribute, ceiled, put

if TYPE_CHECKING:
    from edgeops.convert.engines.rewrite import Change

_ELEMENTWISE = frozenset(
    (
        *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max"),
        *("Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor"),
    )
)
_OUTPUTS = {"LSTM": 3, "GRU": 2, "RNN": 2}
_SWAPPED = {"Less": "Greater", "LessOrEqual": "GreaterOrEqual"}
_LINE = 3  # axes of what a one-dimensional convolution or pooling reads


def adapt(model: Any) -> None:
    """Change the main graph of a prepared ``onnx.ModelProto`` in place."""
    MnnRewriter(model).run()


class MnnRewriter(Rewriter):
    """All of the changes."""

    def replaced(self, node: Any) -> list[Any]:
        """Return the nodes that take the place of one."""
        if node.domain not in ("", "ai.onnx"):
            return [node]
        _state_defaults(self, node)
        if node.op_type in _ELEMENTWISE:
            _scalars(self, node)
        return super().replaced(node)


def _state_defaults(graph: Rewriter, node: Any) -> None:
    """State what is left out, for it counts as 0 (strides: a division by it) or an old default."""
    import onnx

    stated = {item.name for item in node.attribute}
    for name, item in onnx.defs.get_schema(node.op_type, graph.opset).attributes.items():
        if name not in stated and item.default_value.name:
            node.attribute.append(item.default_value)
    if node.op_type not in _WINDOWED or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return
    axes = len(graph.shape(node.input[0]) or ()) - 2
    implied = {"strides": [1] * axes, "pads": [0] * (2 * axes)}
    if node.op_type in ("Conv", "ConvTranspose"):
        implied["dilations"] = [1] * axes
    for name, value in implied.items():
        if name not in stated and axes > 0:
            put(node, name, value)


def _scalars(graph: Rewriter, node: Any) -> None:
    """Take the axes of a constant of one element, such as [1, 1, 1].

    MNN takes it for a packed tensor when it is the first operand or has more axes than the other,
    and adds its padding: every value but the first of four comes out wrong.
    """
    for place, name in enumerate(node.input):
        array = graph.array(name)
        if array is None or array.size != 1 or not array.ndim:
            continue
        others = [len(graph.shape(other) or ()) for other in node.input if other != name]
        if max(others, default=-1) >= array.ndim:
            node.input[place] = graph.constant(f"{name}__scalar", array.reshape(()))


def _swapped(_: Rewriter, node: Any) -> list[Any]:
    """Turn Less around: MNN's answers wrong where Greater, with the operands swapped, is right."""
    first, second = node.input
    node.op_type = _SWAPPED[node.op_type]
    node.input[0], node.input[1] = second, first
    return [node]


def _indices(graph: Rewriter, node: Any) -> list[Any]:
    """Make indices positive: MNN reads before the tensor for -1."""
    shape, axis, name = graph.shape(node.input[0]), attribute(node, "axis", 0), node.input[1]
    if shape is None or not -len(shape) <= axis < len(shape) or shape[axis] is None:
        return [node]
    size, array = shape[axis], graph.array(name)
    if array is not None:
        node.input[1] = graph.constant(f"{name}__of_{size}", array % size)
        return [node]
    import numpy as np

    return [graph.before(node, 1, "Mod", graph.constant(f"size__{size}", np.int64(size))), node]


def _axes(graph: Rewriter, node: Any) -> list[Any]:
    """State the axes of a reduction where MNN looks: an input of some, an attribute of others."""
    import numpy as np

    name = node.input[1] if len(node.input) > 1 else ""
    array = graph.array(name) if name else np.array(attribute(node, "axes", []), "int64")
    if array is None or (not array.size and attribute(node, "noop_with_empty_axes", 0)):
        return [node]
    shape = graph.shape(node.input[0])
    axes = [int(axis) for axis in array] or list(range(len(shape or ())))
    del node.input[1:]
    put(node, "noop_with_empty_axes", None)
    put(node, "axes", None)
    if node.op_type in _AXES_AS_INPUT:
        node.input.append(graph.constant(f"{node.output[0]}__axes", np.array(axes, "int64")))
    elif axes:
        put(node, "axes", axes)
    return [node]


def _recurrent(_: Rewriter, node: Any) -> list[Any]:
    """Name outputs that are left out: MNN gives the first one in the place of the others."""
    node.output.extend([""] * (_OUTPUTS[node.op_type] - len(node.output)))
    made = next(filter(None, node.output))
    for place, name in enumerate(node.output):
        if not name:
            node.output[place] = f"{made}__unread_{place}"
    return [node]


def _gemm(graph: Rewriter, node: Any) -> list[Any]:
    """Transpose before the Gemm: MNN does not look at transA when B is a constant."""
    if not attribute(node, "transA", 0):
        return [node]
    put(node, "transA", 0)
    return [graph.before(node, 0, "Transpose", perm=[1, 0]), node]


def _power(graph: Rewriter, node: Any) -> list[Any]:
    """Make the exponent a float32 as the base is: MNN cannot mix types."""
    array = graph.array(node.input[1])
    if array is not None and array.dtype.kind in "iu":
        node.input[1] = graph.constant(f"{node.input[1]}__float", array.astype("float32"))
    return [node]


def _slope(graph: Rewriter, node: Any) -> list[Any]:
    """Spell out a PRelu whose slope is not one number a channel: MNN takes it for that."""
    shape, slope = graph.shape(node.input[0]), graph.shape(node.input[1])
    if shape is None or slope is None:
        return [node]
    plain = [size for size in slope if size != 1]
    by_channel = [shape[1], *[1] * (len(shape) - 2)] if len(shape) > 1 else []
    if not plain or slope == by_channel:
        return [node]
    import numpy as np

    zero, name = graph.constant("zero__float", np.float32(0)), node.output[0]
    above = graph.node("Max", [node.input[0], zero], f"{name}__above")
    below = graph.node("Min", [node.input[0], zero], f"{name}__below")
    scaled = graph.node("Mul", [below.output[0], node.input[1]], f"{name}__scaled")
    return [above, below, scaled, graph.node("Add", [above.output[0], scaled.output[0]], name)]


def _split(graph: Rewriter, node: Any) -> list[Any]:
    """Write the sizes: of ``num_outputs`` MNN makes all the same size, also the last."""
    count, shape = attribute(node, "num_outputs", 0), graph.shape(node.input[0])
    size = shape[attribute(node, "axis", 0)] if shape else None
    if not count or size is None:
        return [node]
    import numpy as np

    part = -(-size // count)
    sizes = np.array([*[part] * (count - 1), size - part * (count - 1)], "int64")
    put(node, "num_outputs", None)
    del node.input[1:]
    node.input.append(graph.constant(f"{node.output[0]}__sizes", sizes))
    return [node]


def _clip(graph: Rewriter, node: Any) -> list[Any]:
    """Give the upper bound where it is below the lower one, as ONNX does and MNN does not."""
    low, high = (*node.input[1:], "", "")[:2]
    least, most = graph.array(low), graph.array(high)
    if least is not None and most is not None and least.item() > most.item():
        node.input[1] = high
    return [node]


def _pad(graph: Rewriter, node: Any) -> list[Any]:
    """Write pads for all axes: MNN does not know the input that names some of them."""
    import numpy as np

    shape = graph.shape(node.input[0])
    axes = graph.array(node.input[3]) if len(node.input) > 3 else None  # noqa: PLR2004 - data, pads, value, axes
    pads = graph.array(node.input[1])
    if axes is None or pads is None or shape is None:
        return [node]
    whole = np.zeros(2 * len(shape), "int64")
    for place, axis in enumerate(axes % len(shape)):
        whole[axis], whole[axis + len(shape)] = pads[place], pads[place + len(axes)]
    node.input[1] = graph.constant(f"{node.output[0]}__pads", whole)
    del node.input[3:]
    if not node.input[2]:
        del node.input[2:]
    return [node]


def _resize(graph: Rewriter, node: Any) -> list[Any]:
    """Write scales or sizes for all axes: MNN takes those of some axes for the first ones."""
    import numpy as np

    axes, shape = attribute(node, "axes"), graph.shape(node.input[0])
    if axes is None or shape is None:
        return [node]
    for place, whole in ((2, [1.0] * len(shape)), (3, list(shape))):
        array = graph.array(node.input[place]) if len(node.input) > place else None
        if array is None or not array.size:
            continue
        for axis, value in zip(axes, array, strict=True):
            whole[axis] = value.item()
        if None in whole:
            return [node]
        name = f"{node.output[0]}__in{place}"
        node.input[place] = graph.constant(name, np.array(whole, array.dtype))
    put(node, "axes", None)
    return [node]


def _window(graph: Rewriter, node: Any) -> list[Any]:
    """Give a window in one dimension a second one: MNN's answers keep an axis too many."""
    if node.op_type in ("AveragePool", "MaxPool", "LpPool"):
        ceiled(graph, node)
    if len(graph.shape(node.input[0]) or ()) != _LINE:
        return [node]
    import numpy as np

    if node.op_type in ("Conv", "ConvTranspose"):
        weights = graph.array(node.input[1])
        if weights is None:
            return [node]
        name = f"{node.input[1]}__plane"
        node.input[1] = graph.constant(name, weights[:, :, np.newaxis])
    for name, missing in (("strides", [1]), ("dilations", [1]), ("kernel_shape", [1])):
        value = attribute(node, name)
        if value is not None:
            put(node, name, [*missing, *value])
    pads, extra = attribute(node, "pads"), attribute(node, "output_padding")
    if pads is not None:
        put(node, "pads", [0, pads[0], 0, pads[1]])
    if extra is not None:
        put(node, "output_padding", [0, *extra])
    if attribute(node, "output_shape") is not None:
        put(node, "output_shape", [1, *attribute(node, "output_shape")])
    axis = graph.constant("axis__2", np.array([2], "int64"))
    return [graph.before(node, 0, "Unsqueeze", axis), node, graph.after(node, "Squeeze", axis)]


_WINDOWED = frozenset(["AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool"])
_AXES_AS_INPUT = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_CHANGES: dict[str, Change] = {
    **dict.fromkeys(_SWAPPED, _swapped),
    **dict.fromkeys(_OUTPUTS, _recurrent),
    **dict.fromkeys(("Max", "Min", "Sum", "Mean", "Dropout"), alone),
    **dict.fromkeys(("GatherElements", "ScatterElements"), _indices),
    **dict.fromkeys((f"Reduce{kind}" for kind in _REDUCTIONS), _axes),
    **dict.fromkeys(_WINDOWED, _window),
    "Clip": _clip,
    "Gemm": _gemm,
    "Pad": _pad,
    "Pow": _power,
    "PRelu": _slope,
    "Resize": _resize,
    "Split": _split,
}
MnnRewriter.changes = _CHANGES
