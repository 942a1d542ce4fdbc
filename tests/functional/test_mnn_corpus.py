"""Real models on MNN: proven on their own data, with the accuracy of the source."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession
from edgeops.runtime.session import load_session
from tests.corpus_models import ONNX, TFLITE
from tests.functional._engine_corpus import convert, top1

pytest.importorskip("MNN", reason="the extra [mnn] is not installed")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("model", ONNX, ids=lambda model: model.name)
def test_model_is_proven_with_its_accuracy(model, precision, corpus, tmp_path, capsys):
    model.data(corpus, tmp_path / "data.npz")
    options = ("--data", "data.npz", "--precision", precision)
    code, result = convert(tmp_path, corpus / model.file, "mnn", capsys, *options)
    if (model.name, precision) in REFUSED:
        assert (code, result["error"]["code"]) == (5, REFUSED[model.name, precision])
        assert not (tmp_path / "v").exists()
        return
    assert code == 0, result
    assert result["parity"]["passed"] is True
    assert result["parity"]["data"] == "data.npz"
    assert result["parity"]["max_rel"] < (1e-3 if precision == "fp32" else 2e-2)
    if model.top1 is not None:
        assert top1(tmp_path, model.score) >= model.top1


# It takes the logarithm of powers near zero, which weights in float16 make nearer.
REFUSED = {("basic_pitch", "fp16"): "parity-failed"}


@pytest.mark.parametrize("model", TFLITE, ids=lambda model: model.name)
def test_tflite_file_is_proven_or_refused(model, corpus, tmp_path, capsys):
    model.data(corpus, tmp_path / "data.npz")
    code, result = convert(tmp_path, corpus / model.file, "mnn", capsys, "--data", "data.npz")
    wanted = TFLITE_REFUSED.get(model.name)
    found = None if code == 0 else (code, result["error"]["code"])
    assert found == wanted, result.get("error")
    if code == 0:
        assert result["parity"]["passed"] is True
    else:
        assert not (tmp_path / "v").exists()


# Its weights are int8: LiteRT quantizes the activations too while it runs, others do not.
TFLITE_REFUSED = {"kws_int8": (5, "dtype-unsupported"), "kws_float": (5, "dtype-unsupported")}


def test_open_axes_stay_open(corpus, tmp_path, capsys):
    code, _ = convert(tmp_path, corpus / "mtcnn/pnet.onnx", "mnn", capsys)
    assert code == 0
    session = load_session(tmp_path / "v")
    source = OnnxRuntimeSession(corpus / "mtcnn/pnet.onnx")
    assert session.inputs[0].shape == source.inputs[0].shape
    random = np.random.default_rng(3)
    for shape in ((1, 64, 48, 3), (1, 33, 57, 3), (3, 24, 24, 3), (1, 64, 48, 3)):
        x = random.random(shape, "float32")
        for name, expected in source.run({"input_1": x}).items():
            found = session.run({"input_1": x})[name]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
