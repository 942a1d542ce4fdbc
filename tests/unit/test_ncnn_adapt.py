"""What pnnx would read wrongly, written so that it does not; ONNX Runtime says it is the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.convert.engines.ncnn_adapt import adapt, one_sample
from edgeops.core.contracts import ConvertOptions
from edgeops.model.load import graph_inputs, graph_outputs
from edgeops.model.prepare import prepare
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession


def graph(nodes, inputs, outputs, constants=None, opset=17):
    """Return a model; inputs and outputs are shapes of float32 by name."""
    sides = [
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in side.items()
        ]
        for side in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    made = helper.make_graph(nodes, "g", *sides, weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def same(model):
    """Return the operators of the adapted model, having held its answers against the model's."""
    model = onnx.shape_inference.infer_shapes(model)
    adapted = adapt(model)
    random = np.random.default_rng(3)
    given = {t.name: random.standard_normal(t.shape).astype("float32") for t in graph_inputs(model)}
    before = OnnxRuntimeSession(model.SerializeToString()).run(given)
    after = OnnxRuntimeSession(adapted.SerializeToString()).run(given)
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, rtol=1e-5, atol=1e-6)
    return [node.op_type for node in adapted.graph.node]


def weights(*shape):
    return np.random.default_rng(7).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("bias", [(3,), (1, 3), (1,), (), (2, 3)])
@pytest.mark.parametrize("turned", [{}, {"transB": 1, "alpha": 0.5, "beta": 2.0}, {"transA": 1}])
def test_gemm_becomes_a_linear_layer_whatever_form_it_has(bias, turned):
    rows = [4, 2] if turned.get("transA") else [2, 4]
    w = weights(3, 4) if turned.get("transB") else weights(4, 3)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], **turned)
    kinds = same(graph([node], {"x": rows}, {"y": [2, 3]}, {"w": w, "b": weights(*bias)}))
    assert "Gemm" in kinds
    assert ("Add" in kinds) == (bias == (2, 3))


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "stated",
    [
        {"pads": [0, 0, 1, 1], "strides": [2, 2]},
        {"pads": [1, 1, 0, 0]},
        {"ceil_mode": 1, "strides": [2, 2]},
        {"ceil_mode": 1, "strides": [3, 3], "pads": [1, 1, 1, 1]},
    ],
)
@pytest.mark.parametrize("include", [0, 1])
def test_uneven_pooling_becomes_even_with_a_pad(kind, stated, include):
    more = {"count_include_pad": include} if kind == "AveragePool" else {}
    node = helper.make_node(kind, ["x"], ["y"], kernel_shape=[3, 3], **stated, **more)
    model = graph([node], {"x": [1, 2, 8, 8]}, {"y": None})
    adapted = adapt(onnx.shape_inference.infer_shapes(model))
    same(model)
    pooling = next(node for node in adapted.graph.node if node.op_type == kind)
    pads = next((list(a.ints) for a in pooling.attribute if a.name == "pads"), [0] * 4)
    assert pads[:2] == pads[2:]


def test_even_pooling_stays_as_it_is():
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    assert same(graph([node], {"x": [1, 2, 8, 8]}, {"y": None})) == ["MaxPool"]


def test_pad_of_some_axes_states_all_of_them_and_its_value():
    node = helper.make_node("Pad", ["x", "p", "", "a"], ["y"])
    constants = {"p": np.array([1, 2]), "a": np.array([-1])}
    model = graph([node], {"x": [1, 2, 4]}, {"y": None}, constants, opset=18)
    assert same(model) == ["Pad"]
    (pad,) = adapt(onnx.shape_inference.infer_shapes(model)).graph.node
    assert len(pad.input) == 3
    assert pad.attribute[0].s == b"constant"


@pytest.mark.parametrize("index", [2, -1, [1], [0, 1, 3], [3, 0]])
def test_gather_by_constants_becomes_slices(index):
    node = helper.make_node("Gather", ["x", "i"], ["y"], axis=1)
    kinds = same(graph([node], {"x": [2, 4, 3]}, {"y": None}, {"i": np.array(index)}))
    assert set(kinds) <= ({"Slice", "Concat"} if isinstance(index, list) else {"Gather"})


def test_slice_states_axes_and_steps_and_leaves_out_whole_axes():
    node = helper.make_node("Slice", ["x", "s", "e"], ["y"])
    constants = {"s": np.array([0, 1]), "e": np.array([2**62, 3])}
    model = graph([node], {"x": [2, 4, 3]}, {"y": None}, constants)
    assert same(model) == ["Slice"]
    (made,) = adapt(onnx.shape_inference.infer_shapes(model)).graph.node
    assert len(made.input) == 5
    named = {t.name: numpy_helper.to_array(t).tolist() for t in _constants(model)}
    assert [named[name] for name in made.input[1:]] == [[1], [3], [1], [1]]


def _constants(model):
    return adapt(onnx.shape_inference.infer_shapes(model)).graph.initializer


@pytest.mark.parametrize("kind", ["ReduceSum", "ReduceMean", "ReduceMax"])
@pytest.mark.parametrize("axes", [[1], [-1, 0], []])
@pytest.mark.parametrize("keep", [0, 1])
def test_reduction_over_one_axis_states_it_so_that_pnnx_reads_it(kind, axes, keep):
    node = helper.make_node(kind, ["x", "a"], ["y"], keepdims=keep)
    model = graph([node], {"x": [2, 4, 3]}, {"y": None}, {"a": np.array(axes, "int64")}, opset=18)
    kinds = same(model)
    count = len(axes) or 3
    assert kinds.count(kind) == (count if kind == "ReduceMax" else 1)
    adapted = adapt(onnx.shape_inference.infer_shapes(model))
    assert adapted.opset_import[0].version == 17
    if kind == "ReduceMean":
        (stated,) = [list(a.ints) for a in adapted.graph.node[0].attribute if a.name == "axes"]
        assert stated == {1: [1, 1], 2: [2, 0], 3: [0, 1, 2]}[count]


@pytest.mark.parametrize("kind", ["Max", "Min", "Sum", "Mean"])
def test_operator_over_many_becomes_a_chain_over_two(kind):
    node = helper.make_node(kind, ["a", "b", "c"], ["y"])
    shapes = {name: [2, 3] for name in "abc"}
    assert max(len(n) for n in [same(graph([node], shapes, {"y": [2, 3]}))]) >= 2


@pytest.mark.parametrize("exponent", [2.0, 3.0, 8.0, 1.0, -1.0, -3.0])
def test_power_becomes_products(exponent):
    node = helper.make_node("Pow", ["x", "e"], ["y"])
    kinds = same(graph([node], {"x": [2, 3]}, {"y": [2, 3]}, {"e": np.float32(exponent)}))
    assert "Pow" not in kinds


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layer_is_squeezed_and_its_last_state_cut_out(kind):
    gates = 4 if kind == "LSTM" else 3
    stated = {} if kind == "LSTM" else {"linear_before_reset": 1}
    node = helper.make_node(kind, ["x", "w", "r", "b"], ["y", "h"], hidden_size=3, **stated)
    constants = {
        "w": weights(1, gates * 3, 4),
        "r": weights(1, gates * 3, 3),
        "b": weights(1, gates * 6),
    }
    kinds = same(graph([node], {"x": [5, 1, 4]}, {"y": None, "h": None}, constants))
    assert kinds == [kind, "Squeeze", "Unsqueeze", "Slice"]


def test_newer_opset_is_stated_as_one_that_pnnx_knows():
    node = helper.make_node("Relu", ["x"], ["y"])
    model = graph([node], {"x": [2, 3]}, {"y": [2, 3]}, opset=23)
    adapted = adapt(model)
    assert adapted.opset_import[0].version == 17


def test_input_that_nothing_reads_is_left_out():
    node = helper.make_node("Relu", ["x"], ["y"])
    adapted = adapt(graph([node], {"x": [2, 3], "unused": [1]}, {"y": [2, 3]}))
    assert [value.name for value in adapted.graph.input] == ["x"]


def test_open_batch_becomes_one_sample_throughout():
    node = helper.make_node("Relu", ["x"], ["y"])
    model = prepare(graph([node], {"x": ["N", 3]}, {"y": ["N", 3]})).proto
    single = one_sample(model)
    assert graph_inputs(single)[0].shape == (1, 3)
    assert graph_outputs(single)[0].shape == (1, 3)
    assert graph_inputs(model)[0].shape == ("N", 3)
    assert ConvertOptions().simplify
