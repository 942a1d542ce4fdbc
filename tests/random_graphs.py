"""Random models for property tests: a chain of operators, each fed from what is there already.

Operators that jump (Floor, ArgMax, comparisons) are fed from inputs of the model alone: on a
computed value two right engines may fall on different sides of a jump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
MOST = 4096  # elements of a value
UNARY = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "Neg",
    "Abs",
    "HardSwish",
    "Softplus",
    "Erf",
    "Sin",
    "Cos",
    "Identity",
)
WITH_ALPHA = ("LeakyRelu", "Elu", "HardSigmoid")
JUMPS = ("Floor", "Ceil", "Round")
BINARY = ("Add", "Sub", "Mul", "Max", "Min")
REDUCE = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")


@dataclass
class Growing:
    """A graph being grown: values that may be read, by name, and which of them are inputs."""

    draw: object
    nodes: list = field(default_factory=list)
    constants: list = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)

    def add(self, op, inputs, count=1, **attributes):
        """Append a node, infer the shapes of its outputs, return their names."""
        names = [f"v{len(self.nodes)}.{index}" for index in range(count)]
        node = helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}_{op}", **attributes)
        self.nodes.append(node)
        graph = helper.make_graph(
            [node],
            "one",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name])
                for name in dict.fromkeys(inputs)
                if name in self.shapes
            ],
            [helper.make_empty_tensor_value_info(name) for name in names],
            [c for c in self.constants if c.name in inputs],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        for value in found.graph.output:
            shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            self.shapes[value.name] = shape
        return names

    def const(self, array):
        """Return the name of a new constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *shape, scale=0.5):
        """Return the name of a constant of random numbers."""
        seed = self.draw(st.integers(0, 999))
        return self.const(np.random.default_rng(seed).normal(0, scale, shape).astype("float32"))

    def pick(self, *ranks, inputs=False):
        """Return a value of one of the ranks, or None."""
        names = self.inputs if inputs else list(self.shapes)
        fitting = [n for n in names if not ranks or len(self.shapes[n]) in ranks]
        return self.draw(st.sampled_from(fitting)) if fitting else None


def _unary(g):
    g.add(g.draw(st.sampled_from(UNARY)), [g.pick()])


def _alpha(g):
    op, x = g.draw(st.sampled_from(WITH_ALPHA)), g.pick()
    g.add(op, [x], alpha=g.draw(st.sampled_from((0.1, 0.2, 1.0))))


def _jump(g):
    g.add(g.draw(st.sampled_from(JUMPS)), [g.pick(inputs=True)])


def _clip(g):
    low, high = g.draw(st.sampled_from(((0.0, 6.0), (-1.0, 1.0), (-0.5, 2.0))))
    g.add("Clip", [g.pick(), g.const(np.float32(low)), g.const(np.float32(high))])


def _binary(g):
    x = g.pick()
    shape = g.shapes[x]
    partner = [n for n, s in g.shapes.items() if s == shape]
    if g.draw(st.booleans()):
        other = g.draw(st.sampled_from(partner))
    else:
        kept = [size if g.draw(st.booleans()) else 1 for size in shape]
        cut = g.draw(st.integers(0, len(kept)))
        other = g.weights(*kept[cut:])
    g.add(g.draw(st.sampled_from(BINARY)), [x, other])


def _where(g):
    x = g.pick(inputs=True)
    (mask,) = g.add("Greater", [x, g.const(np.float32(0.1))])
    del g.shapes[mask]
    partner = g.draw(st.sampled_from([n for n, s in g.shapes.items() if s == g.shapes[x]]))
    g.nodes.append(helper.make_node("Where", [mask, x, partner], [f"w{len(g.nodes)}"]))
    g.nodes[-1].name = f"n{len(g.nodes)}_Where"
    g.shapes[g.nodes[-1].output[0]] = g.shapes[x]


def _softmax(g):
    x = g.pick(1, 2, 3, 4)
    axis = g.draw(st.integers(0, len(g.shapes[x]) - 1))
    g.add(g.draw(st.sampled_from(("Softmax", "LogSoftmax"))), [x], axis=axis)


def _conv(g):
    x = g.pick(3, 4)
    _, channels, *spatial = g.shapes[x]
    kernel = [g.draw(st.integers(1, min(3, size))) for size in spatial]
    groups = g.draw(st.sampled_from(sorted({1, channels})))
    filters = channels * g.draw(st.integers(1, 2)) if groups > 1 else g.draw(st.integers(1, 6))
    inputs = [x, g.weights(filters, channels // groups, *kernel)]
    if g.draw(st.booleans()):
        inputs.append(g.weights(filters))
    pads = [g.draw(st.integers(0, 1)) for _ in range(2 * len(spatial))]
    strides = [g.draw(st.integers(1, 2)) for _ in spatial]
    g.add("Conv", inputs, group=groups, pads=pads, strides=strides)


def _conv_transpose(g):
    x = g.pick(4)
    channels = g.shapes[x][1]
    stride = g.draw(st.integers(1, 2))
    kernel = g.draw(st.integers(stride, 3))
    weights = g.weights(channels, g.draw(st.integers(1, 4)), kernel, kernel)
    g.add("ConvTranspose", [x, weights], strides=[stride, stride])


def _pool(g):
    x = g.pick(4)
    op = g.draw(st.sampled_from(("MaxPool", "AveragePool")))
    kernel = [g.draw(st.integers(1, min(3, size))) for size in g.shapes[x][2:]]
    pads = [g.draw(st.integers(0, size - 1)) for size in (*kernel, *kernel)]
    pads = [min(pad, 1) for pad in pads]
    options = {"count_include_pad": g.draw(st.integers(0, 1))} if op == "AveragePool" else {}
    strides = [g.draw(st.integers(1, 2)) for _ in kernel]
    g.add(op, [x], kernel_shape=kernel, strides=strides, pads=pads, **options)


def _global(g):
    g.add(g.draw(st.sampled_from(("GlobalAveragePool", "GlobalMaxPool"))), [g.pick(3, 4)])


def _batch_norm(g):
    x = g.pick(2, 3, 4)
    channels = g.shapes[x][1]
    variance = g.const(np.linspace(0.5, 2, channels).astype("float32"))
    g.add("BatchNormalization", [x, *(g.weights(channels) for _ in range(3)), variance])


def _layer_norm(g):
    x = g.pick(2, 3)
    size = g.shapes[x][-1]
    if size > 1:
        g.add("LayerNormalization", [x, g.weights(size), g.weights(size)])


def _prelu(g):
    x = g.pick(3, 4)
    g.add("PRelu", [x, g.weights(g.shapes[x][1], *[1] * (len(g.shapes[x]) - 2))])


def _matmul(g):
    x = g.pick(2, 3)
    size, units = g.shapes[x][-1], g.draw(st.integers(1, 6))
    if len(g.shapes[x]) == 2 and g.draw(st.booleans()):
        g.add("Gemm", [x, g.weights(units, size), g.weights(units)], transB=1)
    else:
        g.add("MatMul", [x, g.weights(size, units)])


def _reshape(g):
    x = g.pick()
    batch, rest = g.shapes[x][0], math.prod(g.shapes[x][1:])
    divisor = g.draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0]))
    shape = [batch, divisor, rest // divisor]
    g.add("Reshape", [x, g.const(np.array(shape, "int64"))])


def _flatten(g):
    g.add("Flatten", [g.pick(2, 3, 4)], axis=1)


def _transpose(g):
    x = g.pick(2, 3, 4)
    order = g.draw(st.permutations(range(1, len(g.shapes[x]))))
    g.add("Transpose", [x], perm=[0, *order])


def _concat(g):
    x = g.pick(2, 3, 4)
    partner = g.draw(st.sampled_from([n for n, s in g.shapes.items() if s == g.shapes[x]]))
    g.add("Concat", [x, partner], axis=g.draw(st.integers(1, len(g.shapes[x]) - 1)))


def _split(g):
    x = g.pick(2, 3, 4)
    axis = g.draw(st.integers(1, len(g.shapes[x]) - 1))
    size = g.shapes[x][axis]
    if size > 1:
        first = g.draw(st.integers(1, size - 1))
        sizes = g.const(np.array([first, size - first], "int64"))
        g.add("Split", [x, sizes], 2, axis=axis)


def _slice(g):
    x = g.pick(2, 3, 4)
    axis = g.draw(st.integers(1, len(g.shapes[x]) - 1))
    size = g.shapes[x][axis]
    start = g.draw(st.integers(0, size - 1))
    end = g.draw(st.integers(start + 1, size))
    step = g.draw(st.integers(1, 2))
    g.add("Slice", [x, *(g.const(np.array([v], "int64")) for v in (start, end, axis, step))])


def _gather(g):
    x = g.pick(2, 3, 4)
    axis = g.draw(st.integers(1, len(g.shapes[x]) - 1))
    size = g.shapes[x][axis]
    indices = g.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=4))
    g.add("Gather", [x, g.const(np.array(indices, "int64"))], axis=axis)


def _pad(g):
    x = g.pick(2, 3, 4)
    rank = len(g.shapes[x])
    mode = g.draw(st.sampled_from(("constant", "reflect", "edge")))
    pads = np.zeros((2, rank), "int64")
    for axis in range(1, rank):
        most = min(2, g.shapes[x][axis] - 1) if mode == "reflect" else 2
        pads[:, axis] = [g.draw(st.integers(0, most)) for _ in range(2)]
    g.add("Pad", [x, g.const(pads.ravel())], mode=mode)


def _reduce(g):
    x = g.pick(2, 3, 4)
    axes = g.draw(st.sets(st.integers(1, len(g.shapes[x]) - 1), min_size=1))
    keep = g.draw(st.integers(0, 1))
    g.add(g.draw(st.sampled_from(REDUCE)), [x], axes=sorted(axes), keepdims=keep)


def _reduce_sum(g):
    x = g.pick(2, 3, 4)
    axis = g.const(np.array([g.draw(st.integers(1, len(g.shapes[x]) - 1))], "int64"))
    g.add("ReduceSum", [x, axis], keepdims=g.draw(st.integers(0, 1)))


def _unsqueeze(g):
    x = g.pick(1, 2, 3)
    g.add("Unsqueeze", [x, g.const(np.array([g.draw(st.integers(1, len(g.shapes[x])))], "int64"))])


def _tile(g):
    x = g.pick(2, 3)
    repeats = [1, *(g.draw(st.integers(1, 2)) for _ in g.shapes[x][1:])]
    g.add("Tile", [x, g.const(np.array(repeats, "int64"))])


def _resize(g):
    x = g.pick(4)
    mode = g.draw(st.sampled_from(("nearest", "linear")))
    factor = g.draw(st.sampled_from((2.0, 3.0)))
    scales = g.const(np.array([1, 1, factor, factor], "float32"))
    coordinates = "asymmetric" if mode == "nearest" else "half_pixel"
    options = {"nearest_mode": "floor"} if mode == "nearest" else {}
    g.add(
        "Resize",
        [x, "", scales],
        mode=mode,
        coordinate_transformation_mode=coordinates,
        **options,
    )


def _depth_to_space(g):
    x = g.pick(4)
    if g.shapes[x][1] % 4 == 0:
        g.add("DepthToSpace", [x], blocksize=2, mode=g.draw(st.sampled_from(("DCR", "CRD"))))
    elif all(size % 2 == 0 for size in g.shapes[x][2:]):
        g.add("SpaceToDepth", [x], blocksize=2)


FAMILIES = (
    _unary,
    _alpha,
    _jump,
    _clip,
    _binary,
    _where,
    _softmax,
    _conv,
    _conv_transpose,
    _pool,
    _global,
    _batch_norm,
    _layer_norm,
    _prelu,
    _matmul,
    _reshape,
    _flatten,
    _transpose,
    _concat,
    _split,
    _slice,
    _gather,
    _pad,
    _reduce,
    _reduce_sum,
    _unsqueeze,
    _tile,
    _resize,
    _depth_to_space,
)
_RANKS = {
    _softmax: (1, 2, 3, 4),
    _conv: (3, 4),
    _conv_transpose: (4,),
    _pool: (4,),
    _global: (3, 4),
    _batch_norm: (2, 3, 4),
    _layer_norm: (2, 3),
    _prelu: (3, 4),
    _matmul: (2, 3),
    _flatten: (2, 3, 4),
    _unsqueeze: (1, 2, 3),
    _tile: (2, 3),
    _resize: (4,),
    _depth_to_space: (4,),
    **dict.fromkeys(
        (_transpose, _concat, _split, _slice, _gather, _pad, _reduce, _reduce_sum), (2, 3, 4)
    ),
}


@st.composite
def models(draw, most_nodes=7):
    """Draw an ONNX model of one or two inputs with all its open ends as outputs."""
    g = Growing(draw)
    for index in range(draw(st.integers(1, 2))):
        rank = draw(st.sampled_from((2, 3, 4, 4)))
        sizes = {2: (1, 8), 3: (1, 4, 6), 4: (1, 4, 6, 6)}[rank]
        shape = (sizes[0], *(draw(st.integers(1, size)) for size in sizes[1:]))
        g.inputs.append(f"x{index}")
        g.shapes[f"x{index}"] = shape
    for _ in range(draw(st.integers(2, most_nodes))):
        ranks = {len(shape) for shape in g.shapes.values()}
        fitting = [f for f in FAMILIES if f not in _RANKS or ranks & set(_RANKS[f])]
        draw(st.sampled_from(fitting))(g)
        large = [name for name, shape in g.shapes.items() if math.prod(shape) > MOST]
        for name in large:
            del g.shapes[name]
    return _model(g)


def _model(g):
    if not g.nodes:
        g.add("Relu", [g.inputs[0]])
    read = {name for node in g.nodes for name in node.input}
    made = [name for node in g.nodes for name in node.output]
    ends = [name for name in made if name not in read]
    shapes = {name: g.shapes[name] for name in g.inputs}
    graph = helper.make_graph(
        g.nodes,
        "random",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
            if name in read
        ],
        [helper.make_empty_tensor_value_info(name) for name in ends],
        [c for c in g.constants if c.name in read],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model)
    return model
