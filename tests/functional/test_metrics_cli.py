"""Detections, sound and slices through the verb, from a file to figures, gates and the worst samples."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeops.cli import main
from edgeops.core import registry
from tests.metric_data import data


def write_echo(path, name, shape):
    """Write a model that answers what it is given, called ``answer``."""
    given, answer = (
        helper.make_tensor_value_info(one, TensorProto.FLOAT, ["N", *shape])
        for one in (name, "answer")
    )
    node = helper.make_node("Mul", [name, "one"], ["answer"])
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    graph = helper.make_graph([node], "echo", [given], [answer], [one])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.fixture
def laid(tmp_path, capsys):
    """Return a function that lays an echo of a metric's data as a variant, with a slice."""

    def lay(metric, **more):
        outputs, labels = data(metric)
        (array,) = outputs.values()
        light = np.where(np.arange(len(labels)) % 4, "day", "night")
        arrays = {"x": array.astype(np.float32), "labels": labels, "slice:light": light}
        np.savez(tmp_path / "e.npz", **arrays | more)
        write_echo(tmp_path / "model.onnx", "x", array.shape[1:])
        convert = ["convert", "model.onnx", "--to", "onnxruntime", "-o", "variant"]
        assert main(["-C", str(tmp_path), *convert, "--data", "e.npz"]) == 0
        capsys.readouterr()

    return lay


def validated(folder, capsys, metric, *argv):
    argv = ["--evaluation", "e.npz", "--metric", metric, "--source", "model.onnx", *argv]
    code = main(["-C", str(folder), "validate", "variant", *argv, "--seconds", "0.2", "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["map50", "map", "si_sdr", "mae", "top3"])
def test_metric_is_measured_with_its_slices(name, laid, tmp_path, capsys):
    metric = registry.get("metrics", name)
    laid(metric)
    outputs, labels = data(metric)
    gates = [f"{name}_drop<=0", f"{name}[light=night]>=-200", f"{name}_drop[light=day]<=0"]
    argv = [part for gate in gates for part in ("--gate", gate)]
    code, result = validated(tmp_path, capsys, name, *argv)
    assert code == 0, result
    figures = result["figures"]
    assert figures[name]["value"] == pytest.approx(metric.score(outputs, labels), abs=1e-5)
    low, high = figures[name]["interval"]
    assert low < figures[name]["value"] < high
    assert figures[f"{name}[light=night]"]["samples"] == 20
    assert figures[f"{name}[light=day]"]["samples"] == 60
    assert figures[f"{name}_drop"]["interval"] == [0.0, 0.0]
    assert figures["agreement"]["value"] == 1.0
    assert any("light=night (20)" in note for note in result["notes"])


def test_boxes_may_be_told_by_rows(laid, tmp_path, capsys):
    metric = registry.get("metrics", "map50")
    outputs, padded = data(metric)
    rows = [part[part[:, 4] >= 0] for part in padded]
    more = {"labels": np.concatenate(rows), "labels:rows": np.array([len(part) for part in rows])}
    laid(metric, **more)
    code, result = validated(tmp_path, capsys, "map50", "--gate", "map50>=0")
    assert code == 0, result
    assert result["metrics"]["map50"] == pytest.approx(metric.score(outputs, padded), abs=1e-6)


def test_labels_that_are_no_boxes_are_refused_before_anything_is_measured(laid, tmp_path, capsys):
    laid(registry.get("metrics", "map50"), labels=np.arange(80))
    code, result = validated(tmp_path, capsys, "map50", "--gate", "map50>=0")
    assert code == 3
    assert result["error"]["code"] == "labels-misfit"
    assert "labels:rows" in result["error"]["fix"]


def test_gate_on_a_slice_that_is_not_there_is_refused(laid, tmp_path, capsys):
    laid(registry.get("metrics", "mae"))
    code, result = validated(tmp_path, capsys, "mae", "--gate", "mae[light=dusk]<=1")
    assert code == 3
    assert result["error"]["code"] == "gate-unknown"
