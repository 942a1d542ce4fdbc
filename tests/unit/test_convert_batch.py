"""Whole data sets through sessions whose inputs and outputs count samples in different ways."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeops.core.contracts import Samples
from edgeops.errors import InputError, RefusedError
from edgeops.runtime.batch import run_batched
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

FLOAT = TensorProto.FLOAT


def session(nodes, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return OnnxRuntimeSession(model.SerializeToString())


def samples(**arrays):
    count = max(len(array) for array in arrays.values() if array.ndim)
    return Samples(arrays, None, count, "test", "")


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("count", [1, 4, 7, 70])
def test_outputs_come_one_row_a_sample_whatever_the_batch(batch, count):
    double = session(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [("x", FLOAT, [batch, 3])],
        [("y", FLOAT, [batch, 3])],
    )
    x = np.arange(count * 3, dtype="float32").reshape(count, 3)
    assert np.array_equal(run_batched(double, samples(x=x))["y"], 2 * x)


def test_output_without_a_batch_axis_is_stacked():
    total = session(
        [helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)],
        [("x", FLOAT, ["N", 3])],
        [("y", FLOAT, [])],
    )
    x = np.arange(15, dtype="float32").reshape(5, 3)
    assert run_batched(total, samples(x=x))["y"].tolist() == [1, 4, 7, 10, 13]


def test_output_of_different_lengths_becomes_one_array_a_sample():
    found = session(
        [helper.make_node("NonZero", ["x"], ["y"])],
        [("x", FLOAT, [1, 3])],
        [("y", TensorProto.INT64, [2, "found"])],
    )
    x = np.array([[0, 1, 1], [0, 0, 1], [1, 1, 1]], "float32")
    answer = run_batched(found, samples(x=x))["y"]
    assert answer.dtype == object
    assert [part.shape for part in answer] == [(2, 2), (2, 1), (2, 3)]


def test_value_of_rank_0_is_spread_over_the_shape_of_its_input():
    add = session(
        [helper.make_node("Add", ["x", "t"], ["y"])],
        [("x", FLOAT, ["N", 3]), ("t", FLOAT, [1])],
        [("y", FLOAT, ["N", 3])],
    )
    x = np.zeros((40, 3), "float32")
    answer = run_batched(add, samples(x=x, t=np.array(0.5, "float32")))["y"]
    assert answer.shape == (40, 3)
    assert (answer == 0.5).all()


def test_input_that_does_not_fit_says_expected_and_found():
    double = session(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [("x", FLOAT, ["N", 3])],
        [("y", FLOAT, ["N", 3])],
    )
    for arrays, words in [
        ({"x": np.zeros((1, 4), "float32")}, "has shape [1, 4], the model takes ['N', 3]"),
        ({"x": np.zeros((1, 3))}, "is float64, the model takes float32"),
        ({"z": np.zeros((1, 3))}, "'x' is missing"),
    ]:
        with pytest.raises(InputError) as caught:
            double.run(arrays)
        assert caught.value.code == "input-misfit"
        assert words in caught.value.why


def test_model_that_fails_on_what_fits_is_refused():
    gather = session(
        [helper.make_node("Gather", ["x", "i"], ["y"])],
        [("x", FLOAT, [3]), ("i", TensorProto.INT64, ["N"])],
        [("y", FLOAT, ["N"])],
    )
    with pytest.raises(RefusedError) as caught:
        gather.run({"x": np.zeros(3, "float32"), "i": np.array([99])})
    assert caught.value.code == "engine-run-failed"
    assert "99" in caught.value.why
