"""Static, dynamic and float16 models, and the ranking of nodes by what quantizing them costs."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.core.contracts import Samples
from edgeops.core.variant import TensorInfo
from edgeops.errors import RefusedError
from edgeops.quantize import graph, schemes, worst
from edgeops.quantize.calibrate import Calibrator, Ranges
from tests.helpers import write_tiny_model

X = np.random.default_rng(3).normal(size=(64, 4)).astype(np.float32)


def ops(model):
    return [node.op_type for node in model.graph.node]


def run(model, array=X):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": array})[0]


def ranges_of(model, array=X):
    samples = Samples({"x": array}, None, len(array), "calibration", "sha256:0")
    tensors = graph.activations(model, schemes.static_operators())
    inputs = (TensorInfo("x", ("N", array.shape[1]), "float32"),)
    return Calibrator(model, inputs, samples, tensors).ranges("minmax")


@pytest.fixture
def tiny(tmp_path):
    return graph.prepare(onnx.load(write_tiny_model(tmp_path / "model.onnx")))


def static(model, **options):
    options = {"operators": schemes.static_operators(), **options}
    return schemes.static_int8(model, ranges_of(model), **options)


def test_static_int8_gives_nearly_the_same_answers(tiny):
    made = static(tiny)
    onnx.checker.check_model(made.model)
    assert np.abs(run(made.model) - run(tiny)).max() < 0.05
    assert {"first", "second"} <= set(made.changed)
    assert made.kept_float == ()


def test_static_int8_has_unsigned_activations_and_signed_weights_per_channel(tiny):
    made = static(tiny).model
    constants = {tensor.name: tensor for tensor in made.graph.initializer}
    weights = [t for t in made.graph.initializer if t.data_type == TensorProto.INT8 and t.dims]
    assert sorted(list(t.dims) for t in weights if len(t.dims) == 2) == [[4, 8], [8, 3]]
    for node in made.graph.node:
        if node.op_type == "QuantizeLinear":
            assert constants[node.input[2]].data_type == TensorProto.UINT8
    scales = {
        len(numpy_helper.to_array(constants[node.input[1]]).ravel())
        for node in made.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in {t.name for t in weights}
    }
    assert scales == {8, 3}


def test_static_int8_without_per_channel_has_one_scale_a_tensor(tiny):
    made = static(tiny, per_channel=False).model
    scales = [t for t in made.graph.initializer if t.name.endswith("_scale")]
    assert all(numpy_helper.to_array(scale).size == 1 for scale in scales)


def test_static_int8_does_not_change_its_argument_and_gives_the_same_bytes_again(tiny):
    before = tiny.SerializeToString()
    one, other = static(tiny).model, static(tiny).model
    assert tiny.SerializeToString() == before
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_static_int8_keeps_excluded_nodes_in_float(tiny):
    made = static(tiny, exclude=["second"])
    assert "second" in made.kept_float
    gemm = next(node for node in made.model.graph.node if node.name == "second")
    assert gemm.input[1] == "w2"


def test_static_int8_of_compute_leaves_the_softmax_alone(tiny):
    made = static(tiny, operators=schemes.COMPUTE)
    assert made.kept_float == ("softmax",)


def test_static_int8_keeps_nodes_without_bounds_in_float(tiny):
    known = ranges_of(tiny)
    bounds = {name: pair for name, pair in known.bounds.items() if name != "scores"}
    ranges = Ranges("minmax", bounds, frozenset({"scores"}), known.samples)
    made = schemes.static_int8(tiny, ranges, operators=schemes.static_operators())
    assert set(made.kept_float) == {"second", "softmax"}


def test_static_int8_takes_a_matmul_with_a_bias_of_two_axes():
    """The stock quantizer raises ValueError on it (onnxruntime issue 24815)."""
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(4, 3)), "b": 1e4 * random.normal(size=(1, 3))}
    source = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "w"], ["h"], name="matmul"),
                helper.make_node("Add", ["h", "b"], ["y"], name="add"),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
            [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    source.ir_version = 8
    model = graph.prepare(source)
    made = static(model)
    assert np.abs(run(made.model) - run(model)).max() < 0.01 * np.abs(run(model)).max()


def test_static_int8_that_quantizes_nothing_is_refused(tiny):
    with pytest.raises(RefusedError) as caught:
        static(tiny, exclude=[node.name for node in tiny.graph.node])
    assert caught.value.code == "nothing-to-quantize"
    assert "Gemm" in caught.value.why


def test_quantizer_leaves_the_log_as_it_was(tiny):
    static(tiny)
    assert logging.root.manager.disable == logging.NOTSET


def test_dynamic_int8_has_integer_products(tiny):
    made = schemes.dynamic_int8(tiny, operators=schemes.DYNAMIC)
    onnx.checker.check_model(made.model)
    assert "MatMulInteger" in ops(made.model)
    assert made.changed == ("first", "second")
    assert np.abs(run(made.model) - run(tiny)).max() < 0.05


def test_half_keeps_inputs_and_outputs(tiny):
    made = schemes.half(tiny)
    onnx.checker.check_model(made.model)
    assert made.model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert run(made.model).dtype == np.float32
    assert np.abs(run(made.model) - run(tiny)).max() < 0.01
    assert made.model.ByteSize() > 0
    assert set(made.changed) == {"first", "relu", "second", "softmax"}


def test_half_takes_two_bytes_a_weight(tiny):
    made = schemes.half(tiny).model
    halves = [item for item in made.graph.initializer if item.data_type == TensorProto.FLOAT16]
    assert halves
    before = {item.name: numpy_helper.to_array(item) for item in tiny.graph.initializer}
    for tensor in halves:
        assert len(tensor.raw_data) == 2 * int(np.prod(tensor.dims))
        assert not tensor.int32_data
        expected = before[tensor.name].astype(np.float16)
        assert np.array_equal(numpy_helper.to_array(tensor), expected)


def test_half_keeps_nodes_with_large_values_in_float(tiny):
    ranges = Ranges("minmax", {"h": (-1e6, 1.0)})
    assert {"first", "relu"} <= set(schemes.half(tiny, ranges=ranges).kept_float)


def test_quantized_models_are_recognised(tiny):
    assert graph.is_quantized(tiny) == []
    assert graph.is_quantized(static(tiny).model)


def test_rank_puts_the_node_with_the_outlier_first():
    """Both nodes only scale; one of them has a weight that stretches its range a thousandfold."""
    good = np.ones(4, dtype=np.float32)
    wild = np.array([1.0, 1.0, 1.0, 1000.0], dtype=np.float32)
    source = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Mul", ["x", "good"], ["h"], name="tame"),
                helper.make_node("Mul", ["h", "wild"], ["y"], name="stretched"),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
            [numpy_helper.from_array(good, "good"), numpy_helper.from_array(wild, "wild")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    source.ir_version = 8
    model = source
    graph.name_nodes(model)
    model = onnx.shape_inference.infer_shapes(model)
    quiet = X.copy()
    quiet[1:, 3] = 0.0  # the stretched channel speaks once: the range is its, the signal is not
    quiet[0, 3] = 1.0
    made = static(model)
    calibrated = schemes.static_int8(
        model, ranges_of(model, quiet), operators=schemes.static_operators()
    )
    losses = worst.rank(model, calibrated.model, calibrated.changed, [{"x": quiet[1:]}])
    assert [loss.node for loss in losses] == ["stretched", "tame"]
    assert losses[0].sqnr_db < 20.0 < losses[1].sqnr_db
    assert made.changed == ("tame", "stretched")


def test_rank_measures_each_node_for_itself(tiny):
    made = static(tiny)
    losses = worst.rank(tiny, made.model, made.changed, [{"x": X}])
    assert {loss.node for loss in losses} == {"first", "second", "softmax"}
    assert all(20.0 < loss.sqnr_db < 80.0 for loss in losses)
    assert [loss.sqnr_db for loss in losses] == sorted(loss.sqnr_db for loss in losses)
