"""Real models on ncnn: proven on their own data with the accuracy of the source, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.convert.engines.ncnn import NcnnConverter
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession
from edgeops.runtime.session import load_session
from tests.corpus_models import ONNX
from tests.functional._engine_corpus import convert, top1

pytest.importorskip("ncnn", reason="the extra [ncnn] is not installed")
if NcnnConverter().available() is not None:
    pytest.skip("pnnx is not installed", allow_module_level=True)

# Model -> the operators that pnnx does not lower to any layer of ncnn.
REFUSED = {
    "hand_keypoint": {"ArgMax"},
    "basic_pitch": {"Equal", "Where"},
    "magika": {"Equal", "Cast"},
}
# pnnx pads both sides alike, so that pads must be known, and with them the sizes.
SIZES = {"mtcnn_pnet": ["--input-shape", "input_1=1,114,106,3"]}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("model", ONNX, ids=lambda model: model.name)
def test_model_is_proven_with_its_accuracy_or_refused_before(
    model, precision, corpus, tmp_path, capsys
):
    model.data(corpus, tmp_path / "data.npz")
    options = ("--data", "data.npz", "--precision", precision, *SIZES.get(model.name, ()))
    code, result = convert(tmp_path, corpus / model.file, "ncnn", capsys, *options)
    if model.name in REFUSED:
        assert code == 5
        assert {finding["op"] for finding in result["findings"]} >= REFUSED[model.name]
        assert not (tmp_path / "v").exists()
        return
    assert code == 0, result
    assert result["parity"]["passed"] is True
    assert result["parity"]["data"] == "data.npz"
    assert result["parity"]["max_rel"] < (1e-4 if precision == "fp32" else 2e-2)
    if model.top1 is not None:
        assert top1(tmp_path, model.score) >= model.top1


def test_open_sizes_of_pnet_are_refused_with_what_to_type(corpus, tmp_path, capsys):
    code, result = convert(tmp_path, corpus / "mtcnn/pnet.onnx", "ncnn", capsys)
    assert code == 5
    assert "--input-shape" in result["error"]["fix"]


def test_batches_of_a_detector_are_answered_as_by_its_source(corpus, tmp_path, capsys):
    code, _ = convert(tmp_path, corpus / "mtcnn/rnet.onnx", "ncnn", capsys)
    assert code == 0
    faces = np.load(corpus / "mtcnn/reference.npz")["rnet_in"]
    faces = np.concatenate([faces, faces[::-1] * 0.5, faces + 0.25])
    source = OnnxRuntimeSession(corpus / "mtcnn/rnet.onnx").run({"input_2": faces})
    found = load_session(tmp_path / "v").run({"input_2": faces})
    assert list(found) == list(source)
    for name, array in source.items():
        np.testing.assert_allclose(found[name], array, atol=1e-4)
