"""Real models keep the accuracy that the corpus's index states, and calibration its memory bound.

Calibration and evaluation samples never overlap.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.core.variant import read_variant
from edgeops.runtime.session import load_session
from tests.functional._quantize_memory import MEASURE

CALIBRATION_MB = 220


def quantize(folder, capsys, model, calibration, evaluation=None, *argv):
    """Quantize a model on arrays; return exit code and result."""
    np.savez(folder / "calibration.npz", **calibration)
    data = ["--calibration", "calibration.npz"]
    if evaluation:
        np.savez(folder / "evaluation.npz", **evaluation)
        data += ["--evaluation", "evaluation.npz", "--metric", "accuracy"]
    verb = ["-C", str(folder), "quantize", str(model), "--to", "onnxruntime", "-o", "out"]
    code = main([*verb, *data, *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def digits(corpus):
    folder = corpus / "mnist_cnn"
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    x = np.frombuffer(images, np.uint8).reshape(-1, 1, 28, 28).astype(np.float32)
    return x, np.frombuffer(labels, np.uint8).astype(np.int64)


def files(corpus):
    data = np.load(corpus / "magika_v3_3" / "eval_204.npz")
    return data["features"].astype(np.int32), data["expected_index"]


def faces(corpus, count):
    """Return the reference image moved and dimmed, float32 [count, 3, 240, 320]."""
    image = np.load(corpus / "ultraface_rfb320" / "reference_rfb320.npz")["input"]
    random = np.random.default_rng(0)
    moved = [
        np.roll(image, (int(down), int(right)), (2, 3)) * bright
        for down, right, bright in zip(
            random.integers(-60, 60, count),
            random.integers(-80, 80, count),
            random.uniform(0.6, 1, count),
            strict=True,
        )
    ]
    return np.concatenate(moved).astype(np.float32)


def test_mnist_keeps_its_accuracy(corpus, tmp_path, capsys):
    x, labels = digits(corpus)
    code, result = quantize(
        tmp_path,
        capsys,
        corpus / "mnist_cnn" / "mnist.onnx",
        {"Input3": x[:300]},
        {"Input3": x[300:3300], "labels": labels[300:3300]},
    )
    assert code == 0
    assert result["metric"]["before"] > 0.97
    assert result["metric"]["drop"] <= 0.01
    assert result["bytes_after"] < 0.6 * result["bytes_before"]


def test_hand_keypoint_keeps_the_published_accuracy(corpus, tmp_path, capsys):
    folder = corpus / "hand_keypoint"
    rows = np.loadtxt(folder / "keypoint.csv", delimiter=",", dtype=np.float32)
    test = np.loadtxt(folder / "keypoint_test_split.csv", delimiter=",", dtype=np.float32)
    held_out = {row.tobytes() for row in test}
    train = np.array([row for row in rows if row.tobytes() not in held_out])
    code, result = quantize(
        tmp_path,
        capsys,
        folder / "keypoint_classifier_argmax.onnx",
        {"input": train[:, 1:]},
        {"input": test[:, 1:], "labels": test[:, 0].astype(np.int64)},
    )
    assert code == 0
    assert result["metric"]["before"] == pytest.approx(0.96316, abs=1e-5)
    assert result["metric"]["after"] >= 0.953
    assert "larger than its float source" in result["notes"][0]


@pytest.mark.slow
def test_magika_is_saved_by_the_ladder(corpus, tmp_path, capsys):
    x, labels = files(corpus)
    code, result = quantize(
        tmp_path,
        capsys,
        corpus / "magika_v3_3" / "model.onnx",
        {"bytes": x[:68]},
        {"bytes": x[68:], "labels": labels[68:]},
    )
    assert code == 0
    assert result["tried"][0]["drop"] > 0.5
    assert result["tried"][0]["operators"] == "all"
    assert result["metric"]["after"] == 1.0
    assert result["tried"][-1]["operators"] == "compute"
    assert result["bytes_after"] < 0.3 * result["bytes_before"]
    assert any("LayerNorm" in node for node in result["kept_float"])


@pytest.mark.slow
def test_ultraface_still_finds_the_face(corpus, tmp_path, capsys):
    folder = corpus / "ultraface_rfb320"
    code, result = quantize(
        tmp_path, capsys, folder / "version-RFB-320.onnx", {"input": faces(corpus, 24)}
    )
    assert code == 0
    assert result["metric"] is None
    assert result["tried"][-1]["loss"] < 0.05
    reference = np.load(folder / "reference_rfb320.npz")
    answer = load_session(tmp_path / "out").run({"input": reference["input"]})
    best = answer["scores"][0, :, 1].argmax()
    assert answer["scores"][0, best, 1] > 0.9
    assert reference["scores"][0, best, 1] > 0.7
    assert np.abs(answer["boxes"][0, best] - reference["boxes"][0, best]).max() < 0.02


@pytest.mark.slow
def test_mtcnn_onet_still_tells_face_from_background(corpus, tmp_path, capsys):
    folder = corpus / "mtcnn"
    face = np.load(folder / "reference.npz")["onet_in"]
    random = np.random.default_rng(0)
    moved = [np.roll(face, shift, (1, 2)) for shift in random.integers(-6, 6, (32, 2))]
    noise = random.uniform(-1, 1, (16, *face.shape[1:])).astype(np.float32)
    crops = np.concatenate([*moved, noise]).astype(np.float32)
    code, result = quantize(tmp_path, capsys, folder / "onet.onnx", {"input_3": crops})
    assert code == 0
    assert read_variant(tmp_path / "out").precision == "int8"
    session = load_session(tmp_path / "out")
    assert session.run({"input_3": face})["softmax_2"][0, 1] > 0.8
    assert session.run({"input_3": noise[:1]})["softmax_2"][0, 1] < 0.5
    assert result["bytes_after"] < 0.5 * result["bytes_before"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["magika", "ultraface"])
def test_entropy_calibration_stays_within_its_memory(corpus, tmp_path, capsys, name):
    """ONNX Runtime's own takes 2.1 to 2.2 GB for the same (tests/bench measures both)."""
    model, arrays = {
        "magika": lambda: ("magika_v3_3/model.onnx", {"bytes": files(corpus)[0][:68]}),
        "ultraface": lambda: (
            "ultraface_rfb320/version-RFB-320.onnx",
            {"input": faces(corpus, 64)},
        ),
    }[name]()
    np.savez(tmp_path / "calibration.npz", **arrays)
    convert = ["convert", str(corpus / model), "--to", "onnxruntime", "-o", "float"]
    assert main(["-C", str(tmp_path), *convert, "--json"]) == 0
    capsys.readouterr()
    found = {}
    for count in (8, len(next(iter(arrays.values())))):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                MEASURE,
                "ours",
                "entropy",
                "float",
                "calibration.npz",
                str(count),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        found[count] = json.loads(done.stdout)
    few, many = found.values()
    assert many["peak_mb"] <= CALIBRATION_MB
    assert many["peak_mb"] - many["data_mb"] <= 1.25 * (few["peak_mb"] - few["data_mb"])
