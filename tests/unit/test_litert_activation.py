from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgeops.convert.litert.lowering import lower
from edgeops.convert.litert.passes import run_passes
from tests.unit._litert import check_op, model_of, one_node, refusal

NAN, INF = np.nan, np.inf
WIDE = np.concatenate([np.linspace(-12, 12, 97), [-100, 100, 0]]).astype("float32").reshape(4, 25)


def floats(*values):
    return np.array(values, "float32")


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Relu", {}),
        ("LeakyRelu", {"alpha": 0.3}),
        ("Elu", {}),
        ("Elu", {"alpha": 2.0}),
        ("Selu", {}),
        ("Selu", {"alpha": 2.0, "gamma": 3.0}),
        ("Celu", {"alpha": 2.0}),
        ("ThresholdedRelu", {"alpha": 2.0}),
        ("Sigmoid", {}),
        ("HardSigmoid", {"alpha": 0.5, "beta": 0.6}),
        ("HardSwish", {}),
        ("Tanh", {}),
        ("Softplus", {}),
        ("Softsign", {}),
        ("Mish", {}),
        ("Shrink", {"lambd": 1.5, "bias": 0.5}),
        ("Identity", {}),
    ],
)
def test_activations(op, attributes):
    check_op(one_node(op, {"x": WIDE}, **attributes), {"x": WIDE}, atol=2e-6)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_in_both_forms(approximate):
    model = one_node("Gelu", {"x": WIDE}, opset=20, approximate=approximate)
    check_op(model, {"x": WIDE}, atol=2e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.702])
def test_swish(alpha):
    want = (WIDE / (1 + np.exp(-alpha * WIDE.astype("float64")))).astype("float32")
    model = one_node("Swish", {"x": WIDE}, opset=24, alpha=alpha)
    check_op(model, {"x": WIDE}, atol=2e-6, expected=[want])


def test_relu_cuts_what_is_negative():
    x = floats(-1, 0, 2.5, NAN)
    check_op(one_node("Relu", {"x": x}), {"x": x}, expected=[floats(0, 0, 2.5, NAN)])
    whole = np.array([-3, 4], "int32")
    check_op(one_node("Relu", {"x": whole}), {"x": whole}, expected=[np.array([0, 4], "int32")])


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (0.0, 6.0, [0, 0, 3, 6, NAN]),
        (0.0, None, [0, 0, 3, 9, NAN]),
        (-1.0, 1.0, [-1, -0.5, 1, 1, NAN]),
        (0.0, 1.0, [0, 0, 1, 1, NAN]),
        (-2.0, 4.0, [-2, -0.5, 3, 4, NAN]),
        (None, 4.0, [-7, -0.5, 3, 4, NAN]),
        (None, None, [-7, -0.5, 3, 9, NAN]),
        (5.0, 2.0, [2, 2, 2, 2, NAN]),
    ],
)
@pytest.mark.parametrize("constant", [True, False])
def test_clip_between_bounds(low, high, want, constant):
    # Beside a bound that is computed LiteRT loses NaN.
    inputs = {
        "x": floats(-7, -0.5, 3, 9, NAN if constant else want[-2]),
        "low": None if low is None else np.array(low, "float32"),
        "high": None if high is None else np.array(high, "float32"),
    }
    names = [name for name in ("low", "high") if inputs[name] is not None and constant]
    last = [NAN] if constant else [want[-2]]
    model = one_node("Clip", inputs, constants=names)
    check_op(model, inputs, expected=[floats(*want[:-1], *last)])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_clip_of_integers(dtype):
    inputs = {
        "x": np.array([0, 50, 100], dtype),
        "low": np.array(10, dtype),
        "high": np.array(60, dtype),
    }
    check_op(one_node("Clip", inputs), inputs, expected=[np.array([10, 50, 60], dtype)])


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1), (5,)])
@pytest.mark.parametrize("constant", [True, False])
def test_prelu_broadcasts_its_slope(shape, constant):
    x = np.arange(-30, 30, dtype="float32").reshape(1, 3, 4, 5)
    slope = np.linspace(0.1, 0.7, int(np.prod(shape)), dtype="float32").reshape(shape)
    inputs = {"x": x, "slope": slope}
    check_op(one_node("PRelu", inputs, constants=["slope"] if constant else []), inputs)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_along_any_axis(op, axis):
    x = np.random.default_rng(3).normal(size=(2, 3, 4)).astype("float32") * 5
    check_op(one_node(op, {"x": x}, axis=axis), {"x": x})


def test_softmax_of_large_and_infinite_values():
    x = floats(1e4, -INF, 9999).reshape(1, 3)
    want = floats(0.7310586, 0, 0.26894143).reshape(1, 3)
    check_op(one_node("Softmax", {"x": x}), {"x": x}, expected=[want])


def test_softmax_before_opset_13_takes_all_axes_from_one_on():
    x = np.arange(12, dtype="float32").reshape(2, 2, 3)
    check_op(one_node("Softmax", {"x": x}, opset=11, axis=1), {"x": x})


def test_hardmax_takes_the_first_of_equals():
    x = floats(2, 5, 5, 1).reshape(1, 4)
    want = floats(0, 1, 0, 0).reshape(1, 4)
    check_op(one_node("Hardmax", {"x": x}), {"x": x}, expected=[want])


def test_softmax_of_seven_axes_is_refused():
    x = np.zeros((1, 1, 1, 1, 1, 1, 2), "float32")
    assert refusal(one_node("Softmax", {"x": x})).code == "rank-unsupported"


def test_dropout_passes_and_masks_nothing():
    x = floats(1, -2, NAN)
    model = one_node("Dropout", {"x": x}, outputs=2)
    check_op(model, {"x": x}, expected=[x, np.array([True, True, True])])


def test_dropout_in_training_is_refused():
    inputs = {"x": floats(1), "ratio": np.array(0.5, "float32"), "training": np.array(True)}
    model = one_node("Dropout", inputs, constants=["ratio", "training"])
    assert refusal(model).code == "operator-unsupported"


def test_activations_of_float16():
    x = np.array([-1, 0.5, 3], "float16")
    for op in ("Relu", "Sigmoid", "Softplus", "HardSwish"):
        check_op(one_node(op, {"x": x}), {"x": x}, rtol=2e-3)


def gelu_in_parts(order):
    half, one = np.array(0.5, "float32"), np.array(1.0, "float32")
    root = np.array(1.4142135, "float32") if order != 2 else np.array(0.70710678, "float32")
    ends = {
        0: [("Mul", ["x", "shifted"], "m"), ("Mul", ["m", "half"], "y")],
        1: [("Mul", ["half", "x"], "m"), ("Mul", ["m", "shifted"], "y")],
        2: [("Mul", ["shifted", "half"], "m"), ("Mul", ["x", "m"], "y")],
    }
    steps = [
        ("Mul" if order == 2 else "Div", ["x", "root"], "scaled"),
        ("Erf", ["scaled"], "error"),
        ("Add", ["error", "one"], "shifted"),
        *ends[order],
    ]
    nodes = [helper.make_node(op, ins, [out], name=out) for op, ins, out in steps]
    constants = {"half": half, "one": one, "root": root}
    return model_of(nodes, {"x": WIDE}, ["y"], constants=constants)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_gelu_in_parts_becomes_one_operator(order):
    model = gelu_in_parts(order)
    check_op(model, {"x": WIDE}, atol=2e-6)
    graph = lower(model)
    run_passes(graph)
    assert [op.code for op in graph.ops] == ["GELU"]


def test_what_only_looks_like_gelu_is_left():
    model = gelu_in_parts(0)
    for tensor in model.graph.initializer:
        if tensor.name == "root":
            tensor.CopyFrom(numpy_helper.from_array(np.array(1.5, "float32"), "root"))
    check_op(model, {"x": WIDE}, atol=2e-6)
    graph = lower(model)
    run_passes(graph)
    assert "GELU" not in [op.code for op in graph.ops]
