"""LSTM, GRU and RNN become LiteRT operators that answer as ONNX Runtime does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("ai_edge_litert", reason="needs edgeops[litert]")

from tests.unit._litert import check_op, refusal

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(
    kind,
    *,
    steps=5,
    batch=2,
    size=3,
    hidden=4,
    direction="forward",
    bias=True,
    initial=False,
    layout=0,
    lengths=None,
    **attributes,
):
    """Return a model of one recurrent layer with all its outputs, and inputs for it."""
    random = np.random.default_rng(7)
    sides = 2 if direction == "bidirectional" else 1
    gates = GATES[kind] * hidden
    constants = {
        "w": random.normal(0, 0.5, (sides, gates, size)).astype("float32"),
        "r": random.normal(0, 0.5, (sides, gates, hidden)).astype("float32"),
    }
    names = ["x", "w", "r", "", "", ""]
    if bias:
        constants["b"] = random.normal(0, 0.5, (sides, 2 * gates)).astype("float32")
        names[3] = "b"
    if lengths is not None:
        constants["lengths"] = np.array(lengths, "int32")
        names[4] = "lengths"
    order = (lambda t, d, b: (b, t, d)) if layout else (lambda t, d, b: (t, d, b))
    x_shape = (batch, steps, size) if layout else (steps, batch, size)
    state_shape = (batch, sides, hidden) if layout else (sides, batch, hidden)
    arrays = {"x": random.normal(0, 1, x_shape).astype("float32")}
    outputs = ["y", "h"] + (["c"] if kind == "LSTM" else [])
    if initial:
        names[5] = "h0"
        arrays["h0"] = random.normal(0, 1, state_shape).astype("float32")
        if kind == "LSTM":
            names.append("c0")
            arrays["c0"] = random.normal(0, 1, state_shape).astype("float32")
    while names[-1] == "":
        names.pop()
    node = helper.make_node(
        kind,
        names,
        outputs,
        name="layer",
        hidden_size=hidden,
        direction=direction,
        layout=layout,
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in arrays.items()],
        [
            helper.make_tensor_value_info(
                "y", TensorProto.FLOAT, (*order(steps, sides, batch), hidden)
            ),
            *(
                helper.make_tensor_value_info(n, TensorProto.FLOAT, state_shape)
                for n in outputs[1:]
            ),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, arrays


def check(model, arrays):
    """Hold LiteRT against ONNX Runtime; layers are short, so their rounding stays small."""
    check_op(model, arrays, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_layer_agrees_in_every_direction(kind, direction):
    check(*layer(kind, direction=direction))


@pytest.mark.parametrize("kind", GATES)
def test_layer_agrees_with_initial_state_and_without_bias(kind):
    check(*layer(kind, initial=True, bias=False, direction="bidirectional"))


@pytest.mark.parametrize("kind", GATES)
def test_layer_agrees_with_equal_lengths_given(kind):
    check(*layer(kind, lengths=[5, 5]))


def test_gru_agrees_when_the_reset_gate_comes_after_the_matrix():
    check(*layer("GRU", linear_before_reset=1, initial=True))


def test_rnn_agrees_with_another_activation():
    check(*layer("RNN", activations=["Relu"]))


@pytest.mark.parametrize(
    ("kind", "options", "code"),
    [
        ("LSTM", {"clip": 1.0}, "attribute-unsupported"),
        ("LSTM", {"input_forget": 1}, "attribute-unsupported"),
        ("RNN", {"activations": ["Softsign"]}, "attribute-unsupported"),
        ("GRU", {"lengths": [3, 5]}, "operator-unsupported"),
        ("RNN", {"steps": 513}, "operator-unsupported"),
    ],
)
def test_layer_is_refused_by_name_when_it_cannot_be_said(kind, options, code):
    model, _ = layer(kind, **options)
    (finding,) = refusal(model).findings
    assert (finding.code, finding.where) == (code, "layer")
