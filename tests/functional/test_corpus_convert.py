"""Real models with their own data: check, convert, and the figures of the corpus's index kept."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.project.datasets import load_samples
from edgeops.runtime.batch import run_batched
from edgeops.runtime.session import load_session


def _mnist(corpus, path):
    images = gzip.decompress((corpus / "mnist_cnn/t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((corpus / "mnist_cnn/t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    x = np.frombuffer(images, "uint8").reshape(-1, 1, 28, 28).astype("float32")
    np.savez(path, Input3=x, labels=np.frombuffer(labels, "uint8").astype("int64"))


def _magika(corpus, path):
    data = np.load(corpus / "magika_v3_3/eval_204.npz")
    np.savez(path, bytes=data["features"].astype("int32"), labels=data["expected_index"])


def _mtcnn(name, array):
    def write(corpus, path):
        np.savez(path, **{name: np.load(corpus / "mtcnn/reference.npz")[array]})

    return write


def _ultraface(corpus, path):
    np.savez(path, input=np.load(corpus / "ultraface_rfb320/reference_rfb320.npz")["input"])


def _hand(corpus, path):
    table = np.loadtxt(corpus / "hand_keypoint/keypoint_test_split.csv", delimiter=",")
    np.savez(path, input=table[:, 1:].astype("float32"), labels=table[:, 0].astype("int64"))


MODELS = {
    "mnist": ("mnist_cnn/mnist.onnx", _mnist),
    "magika": ("magika_v3_3/model.onnx", _magika),
    "hand": ("hand_keypoint/keypoint_classifier_argmax.onnx", _hand),
    "ultraface": ("ultraface_rfb320/version-RFB-320.onnx", _ultraface),
    "pnet": ("mtcnn/pnet.onnx", _mtcnn("input_1", "pnet_in")),
    "rnet": ("mtcnn/rnet.onnx", _mtcnn("input_2", "rnet_in")),
    "onet": ("mtcnn/onet.onnx", _mtcnn("input_3", "onet_in")),
}
# The output that top-1 is of, and top-1 as the corpus's index states it.
TOP1 = {
    "mnist": ("Plus214_Output_0", 0.9891),
    "magika": ("target_label", 1.0),
    "hand": ("class_ids", 0.9631),
}


@pytest.fixture(params=MODELS)
def case(request, corpus, tmp_path):
    """Return a model of the corpus, data that fits it, and where to convert it to."""
    file, write = MODELS[request.param]
    write(corpus, tmp_path / "data.npz")
    return request.param, corpus / file, tmp_path


def test_model_converts_with_parity_on_its_own_data(case, capsys):
    name, model, folder = case
    argv = ["-C", str(folder), "convert", str(model), "--to", "onnxruntime", "-o", "v"]
    assert main([*argv, "--data", "data.npz", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["parity"]["passed"] is True
    assert result["parity"]["data"] == "data.npz"
    assert result["parity"]["max_rel"] < 1e-5
    assert result["notes"] == []
    if name in TOP1:
        output, expected = TOP1[name]
        samples = load_samples("data.npz", folder)
        answer = run_batched(load_session(folder / "v"), samples)[output]
        ids = answer if answer.ndim == 1 else answer.argmax(axis=1)
        assert (ids == samples.labels).mean() >= expected


def test_model_converts_to_fp16(case, capsys):
    _, model, folder = case
    argv = ["-C", str(folder), "convert", str(model), "--to", "onnxruntime", "-o", "v"]
    assert main([*argv, "--data", "data.npz", "--precision", "fp16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parity"]["passed"] is True


def test_model_passes_check(case, capsys):
    _, model, _ = case
    assert main(["check", str(model), "--to", "onnxruntime", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["supported"] is True


def test_open_axes_become_fixed_on_request(corpus, tmp_path, capsys):
    argv = ["convert", str(corpus / "mtcnn/pnet.onnx"), "--to", "onnxruntime"]
    shape = ["--input-shape", "input_1=1,114,106,3"]
    _mtcnn("input_1", "pnet_in")(corpus, tmp_path / "d.npz")
    assert main(["-C", str(tmp_path), *argv, *shape, "-o", "v", "--data", "d.npz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parity"]["passed"] is True
    assert main(["inspect", str(tmp_path / "v"), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["outputs"][1]["shape"] == [1, 52, 48, 2]
    assert about["macs"] > 0


@pytest.mark.parametrize(
    ("file", "code"),
    [("ad_toycar/ad01_fp32.tflite", 5), ("ultraface_rfb320/RFB-320.mnn", 3)],
)
def test_other_formats_are_refused_naming_what_is_accepted(file, code, corpus, tmp_path, capsys):
    argv = ["-C", str(tmp_path), "convert", str(corpus / file), "--to", "onnxruntime", "--json"]
    assert main(argv) == code
    error = json.loads(capsys.readouterr().out)["error"]
    assert "onnx" in f"{error['what']} {error['why']}".lower()
