"""Transposes are moved to where they cancel; activations and biases join what comes before them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("ai_edge_litert", reason="needs edgeops[litert]")

from tests.unit._litert import check_op, model_of

RANDOM = np.random.default_rng(5)
WEIGHTS = {
    "w1": RANDOM.normal(0, 0.3, (8, 3, 3, 3)).astype("float32"),
    "w2": RANDOM.normal(0, 0.3, (8, 8, 3, 3)).astype("float32"),
    "factor": RANDOM.normal(0, 0.3, (8, 1, 1)).astype("float32"),
    "bias": RANDOM.normal(0, 0.3, (1, 8, 1, 1)).astype("float32"),
}
X = RANDOM.normal(0, 1, (1, 3, 8, 8)).astype("float32")


def graph_of(model):
    """Return the LiteRT graph of a model after all passes."""
    from edgeops.convert.litert.lowering import lower
    from edgeops.convert.litert.passes import run_passes

    graph = lower(model)
    run_passes(graph)
    return graph


def operators(nodes, inputs, outputs, constants=("w1", "w2")):
    """Hold the model against ONNX Runtime; return how often each LiteRT operator stands in it."""
    model = model_of(nodes, inputs, outputs, constants={name: WEIGHTS[name] for name in constants})
    check_op(model, inputs, rtol=1e-4, atol=1e-5)
    return Counter(op.code for op in graph_of(model).ops)


def conv(x, weights, out, pad=1):
    return helper.make_node("Conv", [x, weights], [out], name=out, pads=[pad] * 4)


def test_two_convolutions_have_a_transpose_before_and_one_behind():
    nodes = [conv("x", "w1", "a"), helper.make_node("Relu", ["a"], ["b"]), conv("b", "w2", "y")]
    found = operators(nodes, {"x": X}, ["y"])
    assert found == {"TRANSPOSE": 2, "CONV_2D": 2}


def test_a_residual_and_a_gate_bring_their_transposes_together():
    nodes = [
        conv("x", "w1", "a"),
        helper.make_node("Sigmoid", ["a"], ["gate"]),
        helper.make_node("Mul", ["a", "gate"], ["b"]),
        conv("b", "w2", "c"),
        helper.make_node("Add", ["b", "c"], ["d"]),
        conv("d", "w2", "y"),
    ]
    found = operators(nodes, {"x": X}, ["y"])
    assert found["TRANSPOSE"] == 2


def test_a_branch_without_a_transpose_gets_one_only_where_that_is_cheaper():
    skip = RANDOM.normal(0, 1, (1, 8, 8, 8)).astype("float32")
    nodes = [
        conv("x", "w1", "a"),
        helper.make_node("Add", ["a", "skip"], ["b"]),
        conv("b", "w2", "y"),
    ]
    found = operators(nodes, {"x": X, "skip": skip}, ["y"])
    assert found["TRANSPOSE"] == 3


def test_the_bias_and_the_activation_of_a_convolution_are_its_own():
    nodes = [
        conv("x", "w1", "a"),
        helper.make_node("Add", ["a", "bias"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    found = operators(nodes, {"x": X}, ["y"], ("w1", "bias"))
    assert found == {"TRANSPOSE": 2, "CONV_2D": 1}


def test_a_value_that_is_an_output_too_is_not_fused_away():
    nodes = [conv("x", "w1", "a"), helper.make_node("Relu", ["a"], ["y"])]
    found = operators(nodes, {"x": X}, ["y", "a"], ("w1",))
    assert found["RELU"] == 1


def test_a_transpose_and_its_inverse_leave_nothing():
    x = RANDOM.normal(0, 1, (1, 8, 8, 3)).astype("float32")
    nodes = [helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]), conv("a", "w1", "b")]
    nodes.append(helper.make_node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1]))
    assert operators(nodes, {"x": x}, ["y"], ("w1",)) == {"CONV_2D": 1}


@pytest.mark.parametrize("group", [1, 3])
def test_factors_of_channels_become_weights(group):
    WEIGHTS["w3"] = RANDOM.normal(0, 0.3, (9, 3 // group, 3, 3)).astype("float32")
    WEIGHTS["f3"] = RANDOM.normal(0, 0.3, (9, 1, 1)).astype("float32")
    nodes = [
        helper.make_node("Conv", ["x", "w3"], ["a"], pads=[1] * 4, group=group),
        helper.make_node("Mul", ["a", "f3"], ["b"]),
        helper.make_node("Add", ["b", "f3"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    found = operators(nodes, {"x": X}, ["y"], ("w3", "f3"))
    code = "CONV_2D" if group == 1 else "DEPTHWISE_CONV_2D"
    assert found == {"TRANSPOSE": 2, code: 1}


def test_a_factor_behind_an_activation_stays():
    nodes = [
        conv("x", "w1", "a"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Mul", ["b", "factor"], ["y"]),
    ]
    found = operators(nodes, {"x": X}, ["y"], ("w1", "factor"))
    assert found == {"TRANSPOSE": 2, "CONV_2D": 1, "MUL": 1}


@pytest.mark.parametrize(("activation", "code"), [("Relu", "PAD"), ("Tanh", "PADV2")])
def test_pools_of_what_is_never_negative_are_padded_with_zeros(activation, code):
    nodes = [
        conv("x", "w1", "a"),
        helper.make_node(activation, ["a"], ["b"]),
        helper.make_node(
            "MaxPool", ["b"], ["y"], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]
        ),
    ]
    found = operators(nodes, {"x": X}, ["y"], ("w1",))
    assert found[code] == 1


def test_a_value_that_two_branches_want_transposed_is_transposed_once():
    x = RANDOM.normal(0, 1, (1, 8, 8, 8)).astype("float32")
    nodes = [conv("x", "w2", "a"), helper.make_node("Add", ["a", "x"], ["b"]), conv("b", "w2", "y")]
    assert operators(nodes, {"x": x}, ["y"], ("w2",)) == {"TRANSPOSE": 2, "CONV_2D": 2, "ADD": 1}
