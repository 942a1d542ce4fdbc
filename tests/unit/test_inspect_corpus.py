"""inspect on every model file of the corpus: one detector in four formats has one size."""

from __future__ import annotations

import json

import pytest

from edgeops.cli import main
from edgeops.model.inspect import inspect_model

ULTRAFACE = "ultraface_rfb320"


def _files(corpus):
    endings = {".onnx", ".tflite", ".mnn", ".param"}
    return sorted(path for path in corpus.rglob("*") if path.suffix in endings)


def test_every_file_is_told_whole(corpus, capsys):
    files = _files(corpus)
    assert len(files) >= 20
    for path in files:
        assert main(["inspect", str(path), "--json"]) == 0
        about = json.loads(capsys.readouterr().out)
        assert about["inputs"], path
        assert about["outputs"], path
        assert about["ops"], path
        assert about["parameters"] > 1000, path
        assert about["macs"] is not None or about["macs_reason"], path


def test_one_network_has_the_same_weights_in_two_formats(corpus):
    ncnn = inspect_model(corpus / ULTRAFACE / "RFB-320.param")
    mnn = inspect_model(corpus / ULTRAFACE / "RFB-320.mnn")
    assert ncnn["parameters"] == mnn["parameters"] == 273_888
    assert {one["name"] for one in mnn["outputs"]} == {"boxes", "scores"}
    assert {one["name"] for one in ncnn["outputs"]} == {"boxes", "scores"}


def test_quantized_files_say_so(corpus):
    mnn = inspect_model(corpus / ULTRAFACE / "RFB-320-quant-KL-5792.mnn")
    assert mnn["quantized"] == {"ConvInt8": 34, "DepthwiseConvInt8": 18}
    assert mnn["notes"] == ["the file names no outputs: shown is what nothing reads"]
    kws = inspect_model(corpus / "kws_dscnn/kws_ref_model_int8.tflite")
    assert kws["quantized"]["int8_tensors"] == 24
    assert kws["inputs"][0]["dtype"] == "int8"


@pytest.mark.parametrize(
    ("tflite", "macs"),
    [
        ("kws_dscnn/kws_ref_model_int8.tflite", 2_656_768),
        ("ic_resnet8/resnet8_float.tflite", 12_501_632),
        ("ad_toycar/ad01_fp32.tflite", 264_192),
    ],
)
def test_macs_of_published_models(corpus, tflite, macs):
    assert inspect_model(corpus / tflite)["macs"] == macs


def test_basic_pitch_has_the_same_macs_in_two_formats(corpus):
    files = [corpus / "basic_pitch" / f"nmp.{end}" for end in ("onnx", "tflite")]
    about = [inspect_model(file) for file in files]
    assert about[0]["macs"] == about[1]["macs"] == 524_079_648
    assert about[0]["parameters"] == about[1]["parameters"] == 35_740
