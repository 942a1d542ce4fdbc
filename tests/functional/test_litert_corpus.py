"""Real models on LiteRT by our own writer: proven on their own data, accuracy kept."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.project.datasets import load_samples
from edgeops.runtime.batch import run_batched
from edgeops.runtime.session import load_session
from tests.corpus_models import ONNX, TFLITE
from tests.unit._litert_kernels import operators

pytest.importorskip("ai_edge_litert", reason="the extra [litert] is not installed")

# The most transposes that a model keeps: its input's layout, and what its own nodes ask for.
TRANSPOSES = {
    "mnist_cnn": 0,
    "hand_keypoint": 0,
    "ultraface": 1,
    "ultraface_slim": 1,
    "ultraface_nopost": 1,
    "mtcnn_pnet": 1,
    "mtcnn_rnet": 0,
    "mtcnn_onet": 0,
    "basic_pitch": 0,
    "magika": 1,
}
SLOW = ("magika", "basic_pitch", "mnist_cnn")


def convert(folder, model, *options, capsys):
    """Convert to LiteRT by the command line; return its JSON."""
    argv = ["-C", str(folder), "convert", str(model), "--to", "litert", "-o", "v", "--json"]
    assert main([*argv, *options]) == 0, capsys.readouterr().out
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "model",
    [pytest.param(m, marks=pytest.mark.slow if m.name in SLOW else ()) for m in ONNX],
    ids=[m.name for m in ONNX],
)
def test_model_arrives_on_litert_with_its_accuracy(model, corpus, tmp_path, capsys):
    model.data(corpus, tmp_path / "data.npz")
    result = convert(tmp_path, corpus / model.file, "--data", "data.npz", capsys=capsys)
    assert result["parity"]["passed"] is True
    assert result["parity"]["data"] == "data.npz"
    if model.name != "magika":  # whose source divides by roots of differences near zero
        assert result["parity"]["max_rel"] < 1e-4
    found = Counter(operators((tmp_path / "v/model.tflite").read_bytes()))
    assert found["TRANSPOSE"] <= TRANSPOSES[model.name]
    if model.top1 is not None:
        samples = load_samples("data.npz", tmp_path)
        answer = run_batched(load_session(tmp_path / "v"), samples)[model.score]
        ids = answer if answer.ndim == 1 else answer.argmax(axis=1)
        assert (ids == samples.labels).mean() >= model.top1


@pytest.mark.parametrize(
    "model",
    [m for m in ONNX if m.name not in ("basic_pitch", "hand_keypoint", "magika")],
    ids=lambda model: model.name,
)
def test_model_arrives_in_half_precision_at_half_the_size(model, corpus, tmp_path, capsys):
    model.data(corpus, tmp_path / "data.npz")
    options = ("--data", "data.npz", "--precision", "fp16")
    result = convert(tmp_path, corpus / model.file, *options, capsys=capsys)
    assert result["parity"]["passed"] is True
    assert result["files"][0]["bytes"] < 0.75 * (corpus / model.file).stat().st_size


def test_free_sizes_of_a_fully_convolutional_model_are_kept(corpus, tmp_path, capsys):
    import onnxruntime

    model = corpus / "mtcnn/pnet.onnx"
    convert(tmp_path, model, capsys=capsys)
    session = load_session(tmp_path / "v")
    assert session.inputs[0].shape == ("N", "M1", "M2", 3)
    source = onnxruntime.InferenceSession(model)
    random = np.random.default_rng(0)
    for shape in ((1, 114, 106, 3), (2, 31, 57, 3), (1, 12, 12, 3), (1, 114, 106, 3)):
        x = random.standard_normal(shape).astype("float32")
        names = [output.name for output in session.outputs]
        wanted = dict(zip(names, source.run(names, {"input_1": x}), strict=True))
        for name, found in session.run({"input_1": x}).items():
            np.testing.assert_allclose(found, wanted[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("model", TFLITE, ids=lambda model: model.name)
def test_tflite_file_is_taken_as_it_is(model, corpus, tmp_path, capsys):
    model.data(corpus, tmp_path / "data.npz")
    result = convert(tmp_path, corpus / model.file, "--data", "data.npz", capsys=capsys)
    assert result["parity"]["passed"] is True
    assert (tmp_path / "v/model.tflite").read_bytes() == (corpus / model.file).read_bytes()
