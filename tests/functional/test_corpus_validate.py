"""Real models keep the figures that the corpus states, converted and measured as a person would."""

from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pytest

from edgeops.cli import main

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


def read_idx(path, offset):
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def test_mnist_keeps_its_accuracy(corpus, tmp_path, capsys):
    folder = corpus / "mnist_cnn"
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz", 8).astype(np.int64)
    np.savez(tmp_path / "e.npz", Input3=images.astype(np.float32), labels=labels)
    gates = ("--gate", "accuracy>=0.989", "--gate", "accuracy_drop<=0", "--gate", "agreement>=1")
    code, result = measured(tmp_path, capsys, folder / "mnist.onnx", "e.npz", *gates)
    assert code == 0
    assert result["metrics"]["accuracy"] == stated(corpus, "mnist_cnn") == 0.9891
    low, high = result["gates"][0]["interval"]
    assert low < 0.9891 < high < low + 0.006


def test_hand_keypoint_keeps_its_accuracy_though_it_answers_class_ids(corpus, tmp_path, capsys):
    folder = corpus / "hand_keypoint"
    shutil.copy(folder / "keypoint_test_split.csv", tmp_path / "e.csv")
    model = folder / "keypoint_classifier_argmax.onnx"
    code, result = measured(tmp_path, capsys, model, "e.csv", "--gate", "accuracy>=0.96")
    assert code == 0
    assert result["metrics"]["accuracy"] == pytest.approx(
        stated(corpus, "hand_keypoint")["onnx"], abs=5e-6
    )
    assert result["metrics"]["agreement"] == 1.0


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
    assert "name no classes" in result["figures"]["agreement"]["absent"]
