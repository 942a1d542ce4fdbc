"""Ranges of activations from data, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.core.contracts import Samples
from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.model.graph import sort_nodes
from edgeops.quantize import calibrate, graph
from edgeops.quantize.calibrate import Calibrator, cut, stride

INPUTS = (TensorInfo("x", ("N", 2), "float32"),)


def model_of(*nodes, output="y", weights=()):
    shaped = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    model = helper.make_model(shaped, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return graph.prepare(model)


def samples_of(rows):
    array = np.array(rows, dtype=np.float32).reshape(-1, 2)
    return Samples({"x": array}, None, len(array), "calibration.npz", "sha256:0")


def doubled():
    two = ("two", np.array([2.0, 2.0], dtype=np.float32))
    return model_of(helper.make_node("Mul", ["x", "two"], ["y"], name="double"), weights=[two])


def calibrator(model, rows, tensors=("x", "y")):
    return Calibrator(model, INPUTS, samples_of(rows), tensors)


def test_minmax_is_the_least_and_greatest_of_all_samples():
    ranges = calibrator(doubled(), [[-1, 0.5], [3, 2], [0, -4]]).ranges("minmax")
    assert ranges.bounds == {"x": (-4.0, 3.0), "y": (-8.0, 6.0)}
    assert ranges.samples == 3


def test_ranges_always_hold_zero():
    ranges = calibrator(doubled(), [[3, 4], [5, 6]]).ranges("minmax")
    assert ranges.bounds["x"] == (0.0, 6.0)
    ranges = calibrator(doubled(), [[-3, -4], [-5, -6]]).ranges("minmax")
    assert ranges.bounds["x"] == (-6.0, 0.0)


def test_constant_tensor_needs_no_histogram():
    for method in calibrate.METHODS:
        bounds = calibrator(doubled(), [[2, 2], [2, 2]]).ranges(method).bounds
        assert bounds == {"x": (0.0, 2.0), "y": (0.0, 4.0)}


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_one_wild_value_does_not_widen_the_range(method):
    values = np.random.default_rng(0).normal(size=(20000, 2))
    values[7, 1] = 1000.0
    model = doubled()
    assert calibrator(model, values).ranges("minmax").bounds["x"][1] == 1000.0
    low, high = calibrator(model, values).ranges(method).bounds["x"]
    assert -10.0 < low < 0.0
    assert 1.0 < high < 200.0


def test_histograms_in_many_groups_give_the_same_ranges(monkeypatch):
    values = np.random.default_rng(1).normal(size=(50, 2))
    model = doubled()
    whole = calibrator(model, values).ranges("percentile").bounds
    monkeypatch.setattr(calibrate, "GROUP_BYTES", 4)
    split = calibrator(model, values)
    assert split.ranges("percentile").bounds == whole
    assert [list(group) for group in split._groups()] == [["x"], ["y"]]


def test_minmax_runs_no_second_pass():
    made = calibrator(doubled(), [[1, 2]])
    made.ranges("minmax")
    assert not made._histograms


def test_nan_is_refused_with_tensor_and_sample():
    model = model_of(helper.make_node("Sqrt", ["x"], ["y"], name="root"))
    with pytest.raises(InputError) as caught:
        calibrator(model, [[1, 1], [4, 9], [-1, 1]]).ranges("minmax")
    assert caught.value.code == "calibration-nan"
    assert "'y'" in caught.value.what
    assert caught.value.where == "calibration.npz, sample 2 (the first is 0)"


def test_nan_in_the_first_sample_is_named_so():
    model = model_of(helper.make_node("Sqrt", ["x"], ["y"], name="root"))
    with pytest.raises(InputError) as caught:
        calibrator(model, [[-1, 1], [4, 9]]).ranges("minmax")
    assert "sample 0" in caught.value.where


def test_model_without_float_tensors_has_no_ranges():
    assert calibrator(doubled(), [[1, 2]], tensors=()).ranges("entropy").bounds == {}


def test_infinity_leaves_the_tensor_without_bounds():
    model = model_of(helper.make_node("Log", ["x"], ["y"], name="log"))
    ranges = calibrator(model, [[1, 1], [0, 1]]).ranges("entropy")
    assert ranges.unbounded == {"y"}
    assert "y" not in ranges.bounds
    assert ranges.bounds["x"] == (0.0, 1.0)


def test_no_sample_is_refused():
    with pytest.raises(InputError) as caught:
        calibrator(doubled(), []).ranges("minmax")
    assert caught.value.code == "calibration-empty"


def test_stride_keeps_out_of_step_with_the_tensor():
    assert stride(1000, 5000) == 1
    assert stride(1000, 250) == 7  # 4, 5 and 6 share a factor with 1000
    assert stride(6, 3) == 5


def test_cut_takes_labels_along_and_leaves_scalars_alone():
    samples = Samples(
        {"x": np.arange(6), "k": np.array(3)}, np.arange(6) * 10, 6, "file", "sha256:0"
    )
    part = cut(samples, 2, 4)
    assert part.count == 2
    assert part.arrays["x"].tolist() == [2, 3]
    assert part.arrays["k"] == 3
    assert part.labels.tolist() == [20, 30]


def test_activations_are_the_float_tensors_of_the_wanted_operators():
    model = doubled()
    assert graph.activations(model, ["Mul"]) == ["x", "y"]
    assert graph.activations(model, ["Conv"]) == []


def test_prepare_gives_nodes_names_and_leaves_its_argument_alone():
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Exp", ["h"], ["y"])]
    source = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    source.ir_version = 8
    before = source.SerializeToString()
    prepared = graph.prepare(source)
    assert source.SerializeToString() == before
    assert [node.name for node in prepared.graph.node] == ["Relu_0", "Exp_1"]
    assert [opset.domain for opset in prepared.opset_import] == [""]
    onnx.checker.check_model(prepared)


def test_sort_nodes_puts_makers_before_readers_of_subgraphs_too():
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["b"], name="inside")],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("If", ["flag"], ["y"], name="if", then_branch=branch, else_branch=branch),
        helper.make_node("Relu", ["x"], ["inner"], name="relu"),
        helper.make_node("Exp", ["x"], ["z"], name="exp"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    sort_nodes(model)
    assert [node.name for node in model.graph.node] == ["relu", "if", "exp"]
