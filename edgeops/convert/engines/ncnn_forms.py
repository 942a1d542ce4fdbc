"""Single operators in the forms that pnnx takes: one function an operator, node in, nodes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.convert.engines.ncnn_adapt import Copy

_MOST_SLICES = 16
_SEQUENCE_LENGTHS, _INITIAL = 4, (5, 6)


def reduce(node: Any, copy: Copy) -> list[Any]:
    """State a single axis twice: pnnx reads a list of one as no list, and reduces nothing.

    Maxima and minima it takes over one axis only: they become one node an axis.
    """
    import numpy as np
    from onnx import helper

    stated = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    axes, sizes = copy.value(node, 1), copy.sizes(node.input[0])
    if "axes" in stated:
        axes = np.asarray(stated["axes"], np.int64)
    if sizes is None or (axes is None and len(node.input) > 1 and node.input[1]):
        return [node]
    if axes is None or axes.size == 0:
        if stated.get("noop_with_empty_axes", 0):
            return [helper.make_node("Identity", [node.input[0]], list(node.output))]
        axes = np.arange(len(sizes))
    axes, keep = axes.reshape(-1) % len(sizes), stated.get("keepdims", 1)
    made = node.output[0]
    if node.op_type not in ("ReduceMax", "ReduceMin"):
        listed = copy.add(f"{made}/axes", np.resize(axes, max(len(axes), 2)))
        return [helper.make_node(node.op_type, [node.input[0], listed], [made], keepdims=keep)]
    nodes, left = [], node.input[0]
    for number, axis in enumerate(axes.tolist()):
        name = made if keep and number == len(axes) - 1 else f"{made}/{number}"
        listed = copy.add(f"{made}/axis{number}", np.asarray([axis], np.int64))
        nodes.append(helper.make_node(node.op_type, [left, listed], [name], keepdims=1))
        left = name
    if not keep:
        gone = copy.add(f"{made}/axes", axes)
        nodes.append(helper.make_node("Squeeze", [left, gone], [made]))
    return nodes


def chain(node: Any, copy: Copy) -> list[Any]:
    """Write an operator over many tensors as one over two, again and again."""
    import numpy as np
    from onnx import helper

    operator = {"Sum": "Add", "Mean": "Add"}.get(node.op_type, node.op_type)
    made = node.output[0]
    if len(node.input) < 2:  # noqa: PLR2004 - two operands
        return [helper.make_node("Identity", list(node.input), [made])]
    nodes, left = [], node.input[0]
    for index, right in enumerate(node.input[1:], start=2):
        last = index == len(node.input) and node.op_type != "Mean"
        name = made if last else f"{made}/{index}"
        nodes.append(helper.make_node(operator, [left, right], [name]))
        left = name
    if node.op_type == "Mean":
        share = copy.add(f"{made}/share", np.float32(1 / len(node.input)))
        nodes.append(helper.make_node("Mul", [left, share], [made]))
    return nodes


def power(node: Any, copy: Copy) -> list[Any]:
    """Write a power as products, a root or a reciprocal.

    ncnn takes powers by the logarithm, so that those of zero and of negative numbers come out as
    2.4e38; only its square is a product.
    """
    from onnx import helper

    exponent = exponent_of(node, copy)
    base, made = node.input[0], node.output[0]
    if exponent is None or exponent not in POWERS:
        return [node]
    if exponent == 1:
        return [helper.make_node("Identity", [base], [made])]
    if exponent in (0.5, -0.5):
        root = made if exponent > 0 else f"{made}/root"
        nodes = [helper.make_node("Sqrt", [base], [root])]
        base = root
    else:
        nodes, left = [], base
        count = int(abs(exponent))
        for index in range(2, count + 1):
            name = made if index == count and exponent > 0 else f"{made}/{index}"
            nodes.append(helper.make_node("Mul", [left, base], [name]))
            left = name
        base = left
    if exponent < 0:
        nodes.append(helper.make_node("Reciprocal", [base], [made]))
    return nodes


def exponent_of(node: Any, copy: Copy) -> float | None:
    """Return the constant exponent of a Pow, None when it is computed or several."""
    value = copy.value(node, 1)
    return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


POWERS = (0.5, -0.5, *range(1, 9), *range(-4, 0))


def slices(node: Any, copy: Copy) -> list[Any]:
    """State axes and steps of a Slice, and leave out axes that stay whole."""
    import numpy as np
    from onnx import helper

    starts, ends = copy.value(node, 1), copy.value(node, 2)
    sizes = copy.sizes(node.input[0])
    if starts is None or ends is None or sizes is None:
        return [node]
    axes, steps = copy.value(node, 3), copy.value(node, 4)
    axes = np.arange(starts.size) if axes is None else axes % len(sizes)
    steps = np.ones_like(starts) if steps is None else steps
    rows = [
        (start, end, axis, step)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
        if not (start == 0 and step == 1 and sizes[axis] is not None and end >= sizes[axis])
    ]
    if not rows:
        rows = [(0, sizes[-1] or 2**31 - 1, len(sizes) - 1, 1)]
    inputs = [
        copy.add(f"{node.output[0]}/{part}", np.asarray([row[index] for row in rows], np.int64))
        for index, part in enumerate(("starts", "ends", "axes", "steps"))
    ]
    return [helper.make_node("Slice", [node.input[0], *inputs], list(node.output), name=node.name)]


def gather(node: Any, copy: Copy) -> list[Any]:
    """Write a table that is looked up as an embedding, and constant indices as slices.

    pnnx knows an embedding only without its axis, and takes a list of indices for one index.
    """
    import numpy as np
    from onnx import helper

    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if node.input[0] in copy.constants and axis == 0:
        return [helper.make_node("Gather", list(node.input), list(node.output), name=node.name)]
    indices, sizes = copy.value(node, 1), copy.sizes(node.input[0])
    if indices is None or sizes is None or not 0 < indices.size <= _MOST_SLICES:
        return [node]
    if (indices < 0).any():
        if sizes[axis] is None:
            return [node]
        indices = indices % sizes[axis]
    made = node.output[0]
    if indices.ndim == 0:
        index = copy.add(f"{made}/index", indices.astype(np.int64))
        return [helper.make_node("Gather", [node.input[0], index], [made], axis=axis % len(sizes))]
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    names = [made] if len(runs) == 1 else [f"{made}/part{number}" for number in range(len(runs))]
    nodes = []
    for name, run in zip(names, runs, strict=True):
        ends = [("from", run[0]), ("to", run[-1] + 1), ("axis", axis % len(sizes)), ("step", 1)]
        inputs = [copy.add(f"{name}/{end}", np.asarray([value], np.int64)) for end, value in ends]
        nodes.append(helper.make_node("Slice", [node.input[0], *inputs], [name]))
    if len(runs) > 1:
        nodes.append(helper.make_node("Concat", names, [made], axis=axis, name=node.name))
    return nodes


def split(node: Any, copy: Copy) -> list[Any]:
    """State the sizes of the parts."""
    import numpy as np
    from onnx import helper

    if copy.value(node, 1) is not None:
        return [node]
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    parts = [copy.sizes(name) for name in node.output]
    known = [sizes[axis] for sizes in parts if sizes is not None and sizes[axis] is not None]
    if len(known) != len(node.output):
        return [node]
    sizes = copy.add(f"{node.output[0]}/split", np.asarray(known, np.int64))
    return [helper.make_node("Split", [node.input[0], sizes], list(node.output), axis=axis)]


def recurrent(node: Any, copy: Copy) -> list[Any]:
    """Write an LSTM or GRU with its direction squeezed out, as PyTorch's exporter does.

    The last state is the last step of the output; initial states of zeros are left out.
    """
    import numpy as np
    from onnx import helper

    states = [copy.value(node, index) for index in _INITIAL if index < len(node.input)]
    if any(name for name in node.input[_SEQUENCE_LENGTHS : _SEQUENCE_LENGTHS + 1]) or any(
        state is None or state.any() for state in states if state is not None
    ):
        return [node]
    made = next(name for name in node.output if name)
    every, squeezed = f"{made}/every", f"{made}/steps"
    axis = copy.add(f"{made}/direction", np.asarray([1], np.int64))
    inputs = [name for name in node.input[:_SEQUENCE_LENGTHS] if name]
    layer = helper.make_node(node.op_type, inputs, [every], name=node.name)
    layer.attribute.extend(a for a in node.attribute if a.name not in ("layout", "direction"))
    nodes = [layer, helper.make_node("Squeeze", [every, axis], [squeezed])]
    if node.output[0]:
        nodes.append(helper.make_node("Unsqueeze", [squeezed, axis], [node.output[0]]))
    if len(node.output) > 1 and node.output[1]:
        sizes = copy.sizes(node.input[0])
        steps = sizes[0] if sizes else None
        if steps is None:
            return [node]
        ends = [
            copy.add(f"{made}/{part}", np.asarray([value], np.int64))
            for part, value in (("from", steps - 1), ("to", steps), ("axis", 0), ("step", 1))
        ]
        nodes.append(helper.make_node("Slice", [squeezed, *ends], [node.output[1]]))
    return nodes


def tile(node: Any, copy: Copy) -> list[Any]:
    """Write repeats as parts that are put together, one axis after the other."""
    from onnx import helper

    repeats = copy.value(node, 1)
    if repeats is None or repeats.max(initial=1) > _MOST_SLICES:
        return [node]
    axes = [axis for axis, count in enumerate(repeats) if count > 1]
    nodes, left = [], node.input[0]
    for axis in axes:
        made = node.output[0] if axis == axes[-1] else f"{node.output[0]}/{axis}"
        nodes.append(helper.make_node("Concat", [left] * int(repeats[axis]), [made], axis=axis))
        left = made
    return nodes or [node]


def swish(node: Any, copy: Copy) -> list[Any]:
    """Write ``x * sigmoid(alpha * x)``."""
    import numpy as np
    from onnx import helper

    alpha = next((a.f for a in node.attribute if a.name == "alpha"), 1.0)
    given, made = node.input[0], node.output[0]
    nodes, scaled = [], given
    if alpha != 1.0:
        scaled = f"{made}/scaled"
        factor = copy.add(f"{made}/alpha", np.float32(alpha))
        nodes.append(helper.make_node("Mul", [given, factor], [scaled]))
    nodes.append(helper.make_node("Sigmoid", [scaled], [f"{made}/gate"]))
    return [*nodes, helper.make_node("Mul", [given, f"{made}/gate"], [made], name=node.name)]


def transpose(node: Any, copy: Copy) -> list[Any]:
    """State the order of the axes: left out, it turns all of them around."""
    sizes = copy.sizes(node.input[0])
    if not any(a.name == "perm" for a in node.attribute) and sizes is not None:
        node.attribute.add(name="perm", type=7, ints=range(len(sizes))[::-1])  # 7 is INTS
    return [node]


FORMS: dict[str, Callable[[Any, Copy], list[Any]]] = {
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"), reduce),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceLogSumExp"), reduce),
    **dict.fromkeys(("Max", "Min", "Sum", "Mean"), chain),
    **dict.fromkeys(("LSTM", "GRU"), recurrent),
    "Gather": gather,
    "Pow": power,
    "Slice": slices,
    "Split": split,
    "Swish": swish,
    "Tile": tile,
    "Transpose": transpose,
}
