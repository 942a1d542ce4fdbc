"""What can be computed into weights and pads is, equal to rounding; constants do not grow."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.model.prepare import prepare
from tests.unit._graphs import attributes, constant, inputs_of, kinds, model, prepared, run


def weighted(nodes, weights, shape=("N", 4, 8, 8), rank=4, opset=17):
    """Return a model from "x" to "y" with random float weights of the given shapes."""
    random = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(
            np.asarray(random.random(s) + 0.5 if isinstance(s, tuple) else s, np.float32), name
        )
        for name, s in weights.items()
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


NORM = dict.fromkeys(("scale", "bias", "mean", "variance"), (6,))


def norm(source, out="y", **attributes):
    return helper.make_node("BatchNormalization", [source, *NORM], [out], **attributes)


BEFORE = {
    "conv": ("Conv", {"w": (6, 4, 3, 3)}, {}),
    "conv with bias": ("Conv", {"w": (6, 4, 3, 3), "b": (6,)}, {}),
    "conv in groups": ("Conv", {"w": (6, 2, 3, 3), "b": (6,)}, {"group": 2}),
    "transposed conv": ("ConvTranspose", {"w": (4, 6, 3, 3)}, {}),
    "transposed conv in groups": ("ConvTranspose", {"w": (4, 3, 3, 3), "b": (6,)}, {"group": 2}),
}
AFTER = {
    "norm": ([norm("c", epsilon=0.1)], NORM),
    "norm with default epsilon": ([norm("c")], NORM),
    "factor and offset": (
        [helper.make_node("Mul", ["c", "f"], ["d"]), helper.make_node("Add", ["o", "d"], ["y"])],
        {"f": (6, 1, 1), "o": (1, 6, 1, 1)},
    ),
    "divisor": ([helper.make_node("Div", ["c", "f"], ["y"])], {"f": (1,)}),
    "difference": ([helper.make_node("Sub", ["c", "f"], ["y"])], {"f": (6, 1, 1)}),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(BEFORE, AFTER)))
def test_factors_and_offsets_go_into_the_weights(before, after):
    op, weights, options = BEFORE[before]
    nodes, more = AFTER[after]
    first = helper.make_node(op, ["x", *weights], ["c"], name="first", **options)
    made = prepared(weighted([first, *nodes], weights | more))
    assert kinds(made) == [op]
    assert made.graph.node[0].name == "first"


@pytest.mark.parametrize("turned", [0, 1])
def test_factors_and_offsets_go_into_gemm(turned):
    weights = {"w": (6, 4) if turned else (4, 6), "b": (6,)}
    gemm = helper.make_node("Gemm", ["x", *weights], ["c"], transB=turned, alpha=0.5)
    made = prepared(weighted([gemm, norm("c")], weights | NORM, ("N", 4), rank=2))
    assert kinds(made) == ["Gemm"]


def test_norm_after_a_dense_layer_leaves_product_and_bias():
    weights = {"w": (4, 6), "b": (6,)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        norm("d"),
    ]
    made = prepared(weighted(nodes, weights | NORM, ("N", 4), rank=2))
    assert kinds(made) == ["MatMul", "Add"]


def test_norm_takes_the_factor_after_it():
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["c"], axis=1),
        norm("c", "d"),
        helper.make_node("Mul", ["d", "f"], ["y"]),
    ]
    made = prepared(weighted(nodes, NORM | {"f": (6, 1, 1)}, ("N", 3, 8, 8)))
    assert kinds(made) == ["Concat", "BatchNormalization"]


STAYS = {
    "two read the conv": (
        [norm("c", "d"), helper.make_node("Add", ["c", "d"], ["y"])],
        NORM,
        ["Conv", "BatchNormalization", "Add"],
    ),
    "a constant for each pixel": (
        [helper.make_node("Mul", ["c", "f"], ["y"])],
        {"f": (6, 6)},
        ["Conv", "Mul"],
    ),
    "a constant that grows the rank": (
        [
            helper.make_node("Mul", ["c", "f"], ["d"]),
            helper.make_node("Squeeze", ["d"], ["y"]),
        ],
        {"f": (1, 1, 6, 1, 1)},
        ["Conv", "Mul", "Squeeze"],
    ),
    "a divisor of zero": (
        [helper.make_node("Div", ["c", "f"], ["y"])],
        {"f": np.zeros(1)},
        ["Conv", "Div"],
    ),
    "a variance below zero": (
        [norm("c")],
        NORM | {"variance": -np.ones(6)},
        ["Conv", "BatchNormalization"],
    ),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_is_not_one_number_a_channel_stays(case):
    nodes, weights, expected = STAYS[case]
    conv = helper.make_node("Conv", ["x", "w"], ["c"])
    made = prepare(weighted([conv, *nodes], {"w": (6, 4, 3, 3)} | weights)).proto
    assert kinds(made) == expected


def test_weights_that_another_node_reads_are_not_changed():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        norm("c", "d"),
        helper.make_node("Conv", ["x", "w"], ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("Add", ["d", "f"], ["y"]),
    ]
    made = prepared(weighted(nodes, {"w": (6, 4, 3, 3)} | NORM))
    assert "BatchNormalization" in kinds(made)


def test_factors_that_float16_cannot_hold_stay_outside():
    conv = helper.make_node("Conv", ["x", "w"], ["c"])
    proto = weighted([conv, norm("c")], {"w": (6, 4, 3, 3)} | NORM | {"scale": np.full(6, 3e4)})
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), tensor.name)
        )
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    weight = next(t for t in proto.graph.initializer if t.name == "w")
    array = numpy_helper.to_array(weight) * np.float16(100)
    weight.CopyFrom(numpy_helper.from_array(array, "w"))
    assert kinds(prepare(proto).proto) == ["Conv", "BatchNormalization"]


def test_numbers_that_engines_might_not_know_are_written_down():
    """A missing epsilon is 0 for mnnconvert 3.6.1: channels that hardly vary blow up."""
    nodes = [
        helper.make_node("Relu", ["x"], ["c"]),
        helper.make_node("LeakyRelu", ["c"], ["d"]),
        norm("d"),
    ]
    proto = weighted(nodes, NORM, ("N", 6, 8, 8))
    for simplify in (True, False):
        made = prepare(proto, simplify=simplify).proto
        assert attributes(made.graph.node[1])["alpha"] == pytest.approx(0.01)
        assert attributes(made.graph.node[2])["epsilon"] == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("op", "mode", "kernel", "stride", "size"),
    [
        ("Conv", "SAME_UPPER", 3, 2, 9),
        ("Conv", "SAME_LOWER", 2, 1, 8),
        ("MaxPool", "SAME_UPPER", 3, 2, 8),
        ("MaxPool", "SAME_LOWER", 3, 2, 8),
        ("AveragePool", "SAME_UPPER", 3, 2, 7),
        ("AveragePool", "VALID", 3, 2, 7),
        ("Conv", "VALID", 3, 2, 8),
    ],
)
def test_auto_pad_becomes_numbers(op, mode, kernel, stride, size):
    shape = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "auto_pad": mode}
    weights = {"w": (6, 4, kernel, kernel)} if op == "Conv" else {}
    node = helper.make_node(op, ["x", *weights], ["y"], **shape)
    made = prepared(weighted([node], weights, ("N", 4, size, size)), exact=True)
    found = attributes(made.graph.node[0])
    assert "auto_pad" not in found
    assert len(found["pads"]) == 4


def test_auto_pad_of_steps_of_one_needs_no_sizes():
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER")
    made = prepared(weighted([node], {"w": (6, 4, 2, 3)}, ("N", 4, "H", "W")), exact=True)
    assert attributes(made.graph.node[0])["pads"] == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("op", "options", "shape"),
    [
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2]}, ("N", 4, "H", "W")),
        ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, ("N", 4, 8, 8)),
        ("Conv", {"strides": [4, 4]}, ("N", 4, 7, 7)),
        ("ConvTranspose", {"strides": [2, 2]}, ("N", 4, 7, 7)),
    ],
)
def test_auto_pad_that_is_not_known_for_certain_stays(op, options, shape):
    size = {"Conv": (6, 4, 1, 1), "ConvTranspose": (4, 6, 3, 3)}.get(op)
    weights = {"w": size} if size else {}
    node = helper.make_node(op, ["x", *weights], ["y"], auto_pad="SAME_UPPER", **options)
    made = prepared(weighted([node], weights, shape), exact=True)
    assert attributes(made.graph.node[0])["auto_pad"] == b"SAME_UPPER"


PADS = {
    "conv": ("Conv", {}, 0.0, True),
    "conv with pads of its own": ("Conv", {"pads": [1, 0, 0, 2]}, 0.0, True),
    "conv over ones": ("Conv", {}, 1.0, False),
    "conv that pads by itself": ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 0.0, False),
    "average": ("AveragePool", {}, 0.0, True),
    "average with counted pads": (
        "AveragePool",
        {"pads": [1, 1, 0, 0], "count_include_pad": 1},
        0.0,
        True,
    ),
    "average with pads not counted": ("AveragePool", {"pads": [1, 1, 0, 0]}, 0.0, False),
    "average rounded up": ("AveragePool", {"ceil_mode": 1, "strides": [2, 2]}, 0.0, False),
    "maximum over zeros": ("MaxPool", {}, 0.0, False),
    "maximum over the lowest": ("MaxPool", {}, float(np.finfo("float32").min), True),
}


@pytest.mark.parametrize("case", PADS)
def test_pad_goes_into_what_reads_it_where_that_is_the_same(case):
    op, options, value, goes = PADS[case]
    pads = numpy_helper.from_array(np.array([0, 0, 1, 0, 0, 0, 0, 1]), "pads")
    weights = {"w": (6, 4, 3, 3)} if op == "Conv" else {}
    shape = {} if op == "Conv" else {"kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Pad", ["x", "pads", "value"], ["p"]),
        helper.make_node(op, ["p", *weights], ["y"], **shape, **options),
    ]
    # Sizes are open so that SAME stays what it is.
    proto = weighted(nodes, weights | {"value": np.float32(value)}, ("N", 4, "H", "W"))
    proto.graph.initializer.append(pads)
    made = prepared(proto)
    assert kinds(made) == ([op] if goes else ["Pad", op])


def test_pad_of_channels_stays():
    pads = numpy_helper.from_array(np.array([0, 1, 1, 0, 0, 0, 0, 1]), "pads")
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "w"], ["y"]),
    ]
    proto = weighted(nodes, {"w": (6, 5, 3, 3)})
    proto.graph.initializer.append(pads)
    assert kinds(prepared(proto)) == ["Pad", "Conv"]


def test_constants_are_computed_once():
    made = prepared(
        model(
            """
            a = Constant<value = float[2] {1, 2}>()
            b = Exp(a) \n c = ReduceSum<keepdims = 0>(b) \n d = Sqrt(c)
            y = Mul(x, d)
            """
        ),
    )
    assert kinds(made) == ["Mul"]
    assert constant(made, made.graph.node[0].input[1]) == pytest.approx(
        np.sqrt(np.exp(1) + np.exp(2))
    )


def test_integers_divided_by_zero_are_never_computed():
    """ONNX Runtime dies of it; the node stays, and fails where it is run."""
    proto = model(
        """
        a = Constant<value = int64[1] {1}>()
        b = Constant<value = int64[1] {0}>()
        c = Div(a, b) \n d = Mod(a, b) \n e = Add(c, d) \n f = Cast<to = 1>(e) \n y = Add(x, f)
        """
    )
    assert kinds(prepare(proto).proto) == ["Div", "Mod", "Add", "Cast", "Add"]


def test_large_results_are_not_written_down_small_ones_are():
    made = prepared(
        model(
            """
            big = Constant<value = int64[4] {1, 3, 256, 256}>()
            few = Constant<value = int64[1] {3}>()
            a = ConstantOfShape<value = float[1] {2}>(big)
            b = ConstantOfShape<value = float[1] {3}>(few)
            c = ReduceSum<keepdims = 0>(b)
            d = Mul(x, c) \n y = Add(d, a)
            """,
            "float[N,3,256,256] x",
        ),
        exact=True,
    )
    assert kinds(made) == ["ConstantOfShape", "Mul", "Add"] or kinds(made) == [
        "Mul",
        "ConstantOfShape",
        "Add",
    ]
    assert made.ByteSize() < 5000


def test_large_weights_are_transposed_for_nothing():
    """What a constant becomes may be as large as what it was made from."""
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    made = prepared(weighted(nodes, {"w": (200, 100)}, ("N", 100), rank=2))
    assert kinds(made) == ["MatMul"]
    assert made.ByteSize() < 85_000


def test_quantized_weights_stay_quantized():
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0),
        helper.make_node("Conv", ["x", "d"], ["y"]),
    ]
    proto = weighted(nodes, {"s": np.float32(0.1)})
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((6, 4, 3, 3), np.int8), "w"))
    proto.graph.initializer.append(numpy_helper.from_array(np.int8(0), "z"))
    assert kinds(prepared(proto)) == ["DequantizeLinear", "Conv"]


def test_random_numbers_are_drawn_when_the_model_runs():
    proto = model("a = RandomNormal<shape = [1, 3, 8, 8]>() \n y = Add(x, a)")
    assert kinds(prepare(proto).proto) == ["RandomNormal", "Add"]


def test_source_and_weights_are_left_as_they_were():
    conv = helper.make_node("Conv", ["x", "w"], ["c"])
    proto = weighted([conv, norm("c")], {"w": (6, 4, 3, 3)} | NORM)
    before = proto.SerializeToString()
    prepare(proto)
    assert proto.SerializeToString() == before


def test_a_part_that_cannot_be_computed_does_not_keep_others_from_it():
    """ONNX Runtime has no kernel for the first: the second is computed all the same."""
    proto = model(
        """
        a = Constant<value = uint16[2] {1, 2}>()
        b = Constant<value = float[1] {4}>()
        c = Neg(b) \n d = BitwiseNot(a) \n e = Cast<to = 1>(d) \n f = ReduceSum<keepdims = 0>(e)
        g = Add(x, c) \n y = Add(g, f)
        """,
        opset=18,
    )
    made = prepare(proto).proto
    onnx.checker.check_model(made)
    assert "Neg" not in kinds(made)
    assert (run(made, inputs_of(proto))[0] == run(proto, inputs_of(proto))[0]).all()
