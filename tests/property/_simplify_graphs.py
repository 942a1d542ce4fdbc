"""Random graphs of the kinds that exporters write, drawn step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

# What the open axis is when a graph is run: shapes below hold it as a number, which nothing else is.
BATCH = 101


@dataclass
class Draft:
    """A graph being drawn; ``shapes`` are those of a run with a batch of BATCH."""

    draw: object
    open_batch: bool
    nodes: list = field(default_factory=list)
    constants: list = field(default_factory=list)
    shapes: dict = field(default_factory=dict)
    count: int = 0

    def pick(self, *choices):
        return self.draw(st.sampled_from(choices))

    def name(self):
        self.count += 1
        return f"t{self.count}"

    def constant(self, values, dtype=None):
        """Add a constant as an initializer or as a Constant node."""
        array = np.array(values, dtype)
        name = self.name()
        tensor = numpy_helper.from_array(array, name)
        if self.pick(True, False):
            self.constants.append(tensor)
        else:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def noise(self, *shape):
        seed = self.draw(st.integers(0, 1000))
        return self.constant(np.random.default_rng(seed).normal(size=shape), "float32")

    def op(self, kind, inputs, shape, **attributes):
        name = self.name()
        named = {"name": f"n{self.count}"} if self.pick(True, False) else {}
        self.nodes.append(helper.make_node(kind, inputs, [name], **named, **attributes))
        if shape is not None:
            self.shapes[name] = tuple(shape)
        return name

    def integers(self, kind, inputs, **attributes):
        """Add a node of a computed shape: nothing to go on from."""
        return self.op(kind, inputs, None, **attributes)


def unary(draft, name, shape):
    kind = draft.pick("Relu", "Neg", "Sigmoid", "Abs", "Identity", "Dropout", "LeakyRelu", "Sum")
    return draft.op(kind, [name], shape)


def no_op(draft, name, shape):
    kind = draft.pick("Cast", "Pad", "Slice", "Mul", "Add", "Transpose", "Concat", "Tile")
    rank = len(shape)
    inputs, attributes = [name], {}
    if kind == "Cast":
        attributes["to"] = TensorProto.FLOAT
    elif kind == "Pad":
        inputs.append(draft.constant([0] * 2 * rank, "int64"))
    elif kind == "Slice":
        inputs += [draft.constant([0], "int64"), draft.constant([2**31 - 1], "int64")]
    elif kind in {"Mul", "Add"}:
        inputs.append(draft.constant([1 if kind == "Mul" else 0], "float32"))
    elif kind == "Transpose":
        attributes["perm"] = list(range(rank))
    elif kind == "Concat":
        attributes["axis"] = rank - 1
    else:
        inputs.append(draft.constant([1] * rank, "int64"))
    return draft.op(kind, inputs, shape, **attributes)


def affine(draft, name, shape):
    """Multiply or add one number a channel, or one for all."""
    channels = draft.pick(1, shape[1]) if len(shape) > 1 else 1
    sizes = (1, channels, *(1,) * (len(shape) - 2)) if len(shape) > 1 else (1,)
    return draft.op(draft.pick("Mul", "Add", "Sub"), [name, draft.noise(*sizes)], shape)


def twice(draft, name, shape):
    """Compute the same twice, and add both."""
    kind = draft.pick("Tanh", "Exp", "Relu")
    clipped = draft.op("Sigmoid", [name], shape)
    both = [draft.op(kind, [clipped], shape) for _ in range(2)]
    return draft.op(draft.pick("Add", "Sum", "Sub"), both, shape)


def transpose(draft, name, shape):
    order = draft.draw(st.permutations(range(len(shape))))
    return draft.op("Transpose", [name], [shape[axis] for axis in order], perm=list(order))


def split_sizes(draft, count):
    """Return sizes whose product is ``count``."""
    sizes = []
    while count > 1 and len(sizes) < 3:
        size = draft.pick(*[n for n in range(1, count + 1) if count % n == 0])
        sizes.append(size)
        count //= size
    return [*sizes, count]


def reshape(draft, name, shape):
    """Reshape to numbers; what follows the batch is shuffled."""
    rest = split_sizes(draft, math.prod(shape[1:]))
    target = [draft.pick(-1, 0) if draft.open_batch else shape[0], *rest]
    return draft.op("Reshape", [name, draft.constant(target, "int64")], [shape[0], *rest])


def computed_reshape(draft, name, shape):
    """Reshape to what is computed from the tensor's own shape, as exporters do."""
    if not draft.open_batch:
        return reshape(draft, name, shape)
    own = draft.integers("Shape", [name])
    kind = draft.pick("gather", "slice", "cast", "where")
    if kind == "slice":
        ends = [draft.constant([at], "int64") for at in (0, 1, 0)]
        batch = draft.integers("Slice", [own, *ends])
    elif kind == "where":
        batch = draft.integers("Gather", [own, draft.constant([0], "int64")])
        ones = draft.integers("ConstantOfShape", [draft.constant([1], "int64")], value=ONE)
        negative = draft.integers("Mul", [ones, draft.constant([-1], "int64")])
        wrong = draft.integers("Equal", [batch, negative])
        batch = draft.integers("Where", [wrong, ones, batch])
    else:
        scalar = draft.integers("Gather", [own, draft.constant(0, "int64")])
        if kind == "cast":
            scalar = draft.integers("Cast", [scalar], to=TensorProto.INT32)
            scalar = draft.integers("Mul", [scalar, draft.constant(1, "int32")])
            scalar = draft.integers("Cast", [scalar], to=TensorProto.INT64)
        batch = draft.integers("Unsqueeze", [scalar, draft.constant([0], "int64")])
    rest = split_sizes(draft, math.prod(shape[1:]))
    parts = [batch, *(draft.constant([size], "int64") for size in rest)]
    target = draft.integers("Concat", parts, axis=0)
    return draft.op("Reshape", [name, target], [shape[0], *rest])


ONE = numpy_helper.from_array(np.array([1], np.int64))


def squeeze(draft, name, shape):
    axis = draft.draw(st.integers(0, len(shape)))
    axes = draft.constant([axis], "int64")
    more = draft.op("Unsqueeze", [name, axes], [*shape[:axis], 1, *shape[axis:]])
    if draft.pick(True, False):
        more = draft.op("Relu", [more], draft.shapes[more])
    return draft.op("Squeeze", [more, axes], shape) if draft.pick(True, False) else more


def flatten(draft, name, shape):
    return draft.op("Flatten", [name], [shape[0], math.prod(shape[1:])])


def expand(draft, name, shape):
    """Expand to the shape of something larger, and use it there."""
    ones = draft.op("ReduceMax", [name], [*shape[:-1], 1], axes=[len(shape) - 1], keepdims=1)
    own = draft.integers("Shape", [name])
    wide = draft.op("Expand", [ones, own], shape)
    return draft.op("Sub", [name, wide], shape) if draft.pick(True, False) else wide


def cut(draft, name, shape):
    axis = draft.draw(st.integers(1, len(shape) - 1)) if len(shape) > 1 else 0
    if len(shape) < 2 or shape[axis] < 2:
        return name
    at = [draft.constant([n], "int64") for n in (1, 2**31 - 1, axis)]
    return draft.op("Slice", [name, *at], [n - (a == axis) for a, n in enumerate(shape)])


def stack(draft, name, shape):
    if len(shape) < 2:
        return name
    other = draft.op("Relu", [name], shape)
    pair = draft.op("Concat", [name, other], [shape[0], 2 * shape[1], *shape[2:]], axis=1)
    third = [shape[0], 3 * shape[1], *shape[2:]]
    return draft.op("Concat", [pair, name], third, axis=1) if draft.pick(True, False) else pair


def softmax(draft, name, shape):
    """Softmax as raising an old opset leaves it: flattened, and brought back."""
    flat = draft.op("Flatten", [name], [shape[0], math.prod(shape[1:])])
    soft = draft.op(draft.pick("Softmax", "LogSoftmax"), [flat], draft.shapes[flat], axis=1)
    return draft.op("Reshape", [soft, draft.integers("Shape", [name])], shape)


def convolution(draft, name, shape):
    if len(shape) not in {3, 4}:
        return name
    channels, made, width = shape[1], draft.pick(1, 2, 3), draft.pick(1, 3)
    spatial = shape[2:]
    inputs = [name, draft.noise(made, channels, *[width] * len(spatial))]
    if draft.pick(True, False):
        inputs.append(draft.noise(made))
    step = draft.pick(1, 2)
    mode = draft.pick("SAME_UPPER", "SAME_LOWER")
    out = [shape[0], made, *(-(-size // step) for size in spatial)]
    attributes = {"auto_pad": mode, "strides": [step] * len(spatial)}
    return normalize(draft, draft.op("Conv", inputs, out, **attributes), out)


def normalize(draft, name, shape):
    if len(shape) < 2 or not draft.pick(True, False):
        return name
    parts = [draft.noise(shape[1]) for _ in range(3)]
    variance = np.random.default_rng(draft.draw(st.integers(0, 99))).random(shape[1])
    parts.append(draft.constant(variance, "float32"))
    epsilon = {"epsilon": 1e-3} if draft.pick(True, False) else {}
    return draft.op("BatchNormalization", [name, *parts], shape, **epsilon)


def padded(draft, name, shape):
    """Pad, then a convolution or a pool without pads of its own."""
    if len(shape) != 4 or min(shape[2:]) < 2:
        return name
    pads = draft.constant([0, 0, 1, 0, 0, 0, 0, 1], "int64")
    wide = [*shape[:2], shape[2] + 1, shape[3] + 1]
    kind = draft.pick("Conv", "AveragePool", "MaxPool")
    value = draft.constant(np.finfo("float32").min if kind == "MaxPool" else 0, "float32")
    more = draft.op("Pad", [name, pads, value], wide)
    out = [*shape[:2], wide[2] - 1, wide[3] - 1]
    if kind == "Conv":
        weight = draft.noise(shape[1], shape[1], 2, 2)
        return draft.op("Conv", [more, weight], out, kernel_shape=[2, 2])
    counted = {"count_include_pad": draft.pick(0, 1)} if kind == "AveragePool" else {}
    return draft.op(kind, [more], out, kernel_shape=[2, 2], **counted)


def resize(draft, name, shape):
    """Resize to sizes computed from the tensor's own."""
    if len(shape) != 4 or max(shape[2:]) > 8:
        return name
    own = draft.integers("Shape", [name])
    kept = draft.integers(
        "Slice", [own, draft.constant([0], "int64"), draft.constant([2], "int64")]
    )
    ends = [draft.constant([at], "int64") for at in (2, 4)]
    spatial = draft.integers("Slice", [own, *ends])
    doubled = draft.integers("Mul", [spatial, draft.constant([2], "int64")])
    sizes = draft.integers("Concat", [kept, doubled], axis=0)
    out = [*shape[:2], 2 * shape[2], 2 * shape[3]]
    return draft.op("Resize", [name, "", "", sizes], out, mode=draft.pick("nearest", "linear"))


def dense(draft, name, shape):
    if len(shape) < 2:
        return name
    made = draft.pick(2, 5)
    out = [*shape[:-1], made]
    product = draft.op("MatMul", [name, draft.noise(shape[-1], made)], out)
    return normalize(draft, draft.op("Add", [product, draft.noise(made)], out), out)


def folded(draft, name, shape):
    """Add what is computed of constants only."""
    one, other = draft.noise(1), draft.noise(1)
    total = draft.op("Mul", [one, draft.op("Tanh", [other], None)], None)
    kind = draft.pick("Add", "Mul")
    return draft.op(kind, [name, total], shape)


def branch(draft, name, shape):
    """Take a branch that is known before."""
    sides = {}
    for side, kind in (("then_branch", "Relu"), ("else_branch", "Neg")):
        out = draft.name()
        value = helper.make_tensor_value_info(out, TensorProto.FLOAT, [None] * len(shape))
        inner = [helper.make_node(kind, [name], [f"{out}_in"])]
        inner.append(helper.make_node("Abs", [f"{out}_in"], [out]))
        sides[side] = helper.make_graph(inner, side, [], [value])
    return draft.op("If", [draft.constant(draft.pick(True, False), "bool")], shape, **sides)


STEPS = (
    unary,
    no_op,
    affine,
    twice,
    transpose,
    reshape,
    computed_reshape,
    squeeze,
    flatten,
    expand,
    cut,
    stack,
    softmax,
    convolution,
    convolution,
    padded,
    padded,
    resize,
    dense,
    folded,
    branch,
)


@st.composite
def models(draw):
    """Draw a model with input "x", its batch open or not, and one or two outputs."""
    open_batch = draw(st.booleans())
    draft = Draft(draw, open_batch)
    count = draw(st.sampled_from((1, 2, 3, 3, 3)))
    shape = (BATCH, *draw(st.lists(st.integers(1, 5), min_size=count, max_size=count)))
    draft.shapes["x"] = shape
    current = "x"
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=9)):
        sizes = draft.shapes[current]
        small = math.prod(sizes[1:]) < 500 and len(sizes) < 6
        # Transposing may move the batch: what reshapes around it then has to stop.
        if small and sizes[0] == BATCH and len(sizes) > 1:
            current = step(draft, current, sizes)
    if current == "x":
        current = draft.op("Neg", ["x"], shape)
    outputs = [current]
    others = [name for name in draft.shapes if name not in {"x", current}]
    if others and draw(st.booleans()):
        outputs.append(draw(st.sampled_from(others)))
    return built(draft, shape, outputs)


def built(draft, shape, outputs):
    given = ["N" if draft.open_batch else BATCH, *shape[1:]]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(draft.shapes[name]))
        for name in outputs
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, given)
    graph = helper.make_graph(draft.nodes, "drawn", [x], values, draft.constants)
    opset = draft.pick(13, 17)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
