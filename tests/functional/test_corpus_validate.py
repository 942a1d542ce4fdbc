"""Real models keep the figures that the corpus states, converted and measured as a person would."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from edgeops.cli import main
from tests.corpus_figures import FIGURES

pytestmark = pytest.mark.slow


def stated(corpus, name):
    """Return what the corpus's index says was recomputed for an entry."""
    index = json.loads((corpus / "index.json").read_text())
    entries = index if isinstance(index, list) else index["entries"]
    return next(entry for entry in entries if entry["id"] == name)["recomputed"]["value"]


def measured(folder, capsys, model, data, *argv):
    """Convert a model, validate the variant against its source, and return code and result."""
    shutil.copy(model, folder / "model.onnx")
    convert = ["convert", "model.onnx", "--to", "onnxruntime", "-o", "variant", "--data", data]
    assert main(["-C", str(folder), *convert]) == 0
    argv = ("--evaluation", data, "--source", "model.onnx", "--seconds", "0.3", *argv, "--json")
    capsys.readouterr()
    code = main(["-C", str(folder), "validate", "variant", *argv])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_corpus_keeps_its_figures(entry, corpus, tmp_path, capsys):
    entry.lay(corpus, tmp_path)
    assert main(["-C", str(tmp_path), *entry.convert]) == 0
    capsys.readouterr()
    assert main(["-C", str(tmp_path), *entry.validate, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    entry.holds(corpus, result)
    value = result["metrics"][entry.figure]
    interval = result["gates"][0]["interval"]
    if interval is not None:
        assert interval[0] <= value <= interval[1]


@pytest.mark.parametrize(("metric", "value"), [("accuracy", 1.0), ("top5", 1.0), ("f1", 1.0)])
def test_magika_gets_every_file_right(metric, value, corpus, tmp_path, capsys):
    folder = corpus / "magika_v3_3"
    with np.load(folder / "eval_204.npz") as data:
        features, labels = data["features"].astype(np.int32), data["expected_index"]
    np.savez(tmp_path / "e.npz", bytes=features, labels=labels)
    argv = ("--metric", metric, "--gate", f"{metric}>={value}")
    code, result = measured(tmp_path, capsys, folder / "model.onnx", "e.npz", *argv)
    assert code == 0
    assert result["metrics"][metric] == stated(corpus, "magika_v3_3")["top1"] == value


@pytest.mark.parametrize(
    ("net", "given", "output", "expected"),
    [
        ("rnet", "input_2", "softmax_1", "rnet_softmax_1"),
        ("onet", "input_3", "dense_6", "onet_dense_6"),
        ("pnet", "input_1", "conv2d_4", "pnet_bbox"),
    ],
)
def test_mtcnn_answers_what_it_did(net, given, output, expected, corpus, tmp_path, capsys):
    with np.load(corpus / "mtcnn" / "reference.npz") as data:
        arrays = {given: data[f"{net}_in"], "labels": data[expected]}
    np.savez(tmp_path / "e.npz", **arrays)
    argv = ("--metric", "rmse", "--output", output, "--gate", "rmse<=0.0001")
    model = corpus / "mtcnn" / f"{net}.onnx"
    code, result = measured(tmp_path, capsys, model, "e.npz", *argv)
    assert code == 0
    assert result["metrics"]["rmse"] < 1e-5


def test_mtcnn_outputs_are_told_apart_by_the_labels(corpus, tmp_path, capsys):
    with np.load(corpus / "mtcnn" / "reference.npz") as data:
        np.savez(tmp_path / "e.npz", input_3=data["onet_in"], labels=data["onet_dense_6"])
    model = corpus / "mtcnn" / "onet.onnx"
    code, result = measured(
        tmp_path, capsys, model, "e.npz", "--metric", "rmse", "--gate", "rmse<=0.0001"
    )
    assert code == 0
    assert result["metrics"]["rmse"] < 1e-5


@pytest.mark.parametrize("output", ["scores", "boxes"])
def test_ultraface_answers_what_it_did(output, corpus, tmp_path, capsys):
    folder = corpus / "ultraface_rfb320"
    with np.load(folder / "reference_rfb320.npz") as data:
        np.savez(tmp_path / "e.npz", input=data["input"], labels=data[output])
        face = data["scores"][0, :, 1].max()
    assert face == pytest.approx(
        stated(corpus, "ultraface_rfb320")["one_face.jpg"]["RFB"][0], abs=1e-4
    )
    argv = ("--metric", "rmse", "--output", output, "--gate", "rmse<=0.0001")
    model = folder / "version-RFB-320.onnx"
    code, result = measured(tmp_path, capsys, model, "e.npz", *argv)
    assert code == 0
    assert result["metrics"]["rmse"] < 1e-5
    agreement = result["figures"]["agreement"]
    assert agreement["value"] == 1.0
    assert "within 5%" in agreement["method"]
