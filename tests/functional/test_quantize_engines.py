"""Quantizing for engines that do not run ONNX: int8 and half precision, judged on the engine."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.core.variant import read_variant
from edgeops.runtime.session import load_session
from tests.corpus_models import ONNX

MODELS = {model.name: model for model in ONNX}


def quantize(capsys, corpus, folder, name, *options):
    """Return the result of ``edgeops quantize`` on a model of the corpus."""
    model = MODELS[name]
    model.data(corpus, folder / "data.npz")
    argv = ["-C", str(folder), "quantize", str(corpus / model.file), "--calibration", "data.npz"]
    argv += ["--evaluation", "data.npz", "--metric", "accuracy", "-o", "q", "--json", *options]
    assert main(argv) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_mnist_in_int8_keeps_its_accuracy_on_litert(corpus, tmp_path, capsys):
    pytest.importorskip("ai_edge_litert", reason="needs edgeops[litert]")
    result = quantize(capsys, corpus, tmp_path, "mnist_cnn", "--to", "litert")
    assert result["metric"]["before"] == pytest.approx(0.9891)
    assert result["metric"]["drop"] <= 0.002
    assert result["bytes_after"] < 0.5 * result["bytes_before"]
    variant = read_variant(tmp_path / "q")
    assert (variant.engine, variant.precision) == ("litert", "int8")
    assert variant.quantization["scheme"] == "static"
    assert variant.parity.passed
    from edgeops.model.tflite import read_tflite

    (graph,) = read_tflite(tmp_path / "q" / variant.model_file).subgraphs
    kernels = [op for op in graph.operators if op.name in {"CONV_2D", "FULLY_CONNECTED"}]
    weights = [graph.tensors[op.inputs[1]].dtype for op in kernels]
    assert weights == ["int8"] * 3


@pytest.mark.slow
def test_hand_keypoint_in_half_precision_keeps_its_accuracy_on_litert(corpus, tmp_path, capsys):
    pytest.importorskip("ai_edge_litert", reason="needs edgeops[litert]")
    options = ("--to", "litert", "--precision", "fp16", "--output", "class_ids")
    result = quantize(capsys, corpus, tmp_path, "hand_keypoint", *options)
    assert result["metric"]["before"] == pytest.approx(0.9632, abs=1e-4)
    assert abs(result["metric"]["drop"]) <= 0.002
    assert read_variant(tmp_path / "q").precision == "fp16"
    session = load_session(tmp_path / "q")
    with np.load(tmp_path / "data.npz") as data:
        answer = session.run({"input": data["input"][:5]})
    assert answer["class_ids"].dtype == np.int64


def test_variant_of_another_engine_is_no_source(corpus, tmp_path, capsys):
    pytest.importorskip("ai_edge_litert", reason="needs edgeops[litert]")
    model = MODELS["mnist_cnn"]
    model.data(corpus, tmp_path / "data.npz")
    common = ["-C", str(tmp_path)]
    argv = ["convert", str(corpus / model.file), "--to", "litert", "-o", "v", "--data", "data.npz"]
    assert main([*common, *argv]) == 0
    capsys.readouterr()
    argv = ["quantize", "v", "--to", "litert", "--calibration", "data.npz", "-o", "q"]
    assert main([*common, *argv]) == 5
    assert "[format-not-quantizable]" in capsys.readouterr().err
    assert not (tmp_path / "q").exists()
