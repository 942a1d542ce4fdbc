"""What every registered converter keeps, and what convert makes of those that do not."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest

from edgeops.convert.contain import contained
from edgeops.core import registry
from edgeops.core.contracts import ConvertOptions
from edgeops.core.variant import read_variant, write_variant
from edgeops.errors import Finding, InputError, RefusedError
from edgeops.model.load import load_model
from edgeops.runtime.session import load_session
from tests.contract._badly_behaved import install
from tests.functional import _bad_models as bad
from tests.helpers import write_tiny_model


@pytest.fixture(params=registry.names("converters"))
def converter(request):
    """Return each registered converter that can be used here."""
    found = registry.get("converters", request.param)
    if found.available() is not None:
        pytest.skip(found.available().what)
    return found


def test_converter_finds_nothing_wrong_with_a_plain_classifier(converter, tmp_path):
    model = onnx.load(write_tiny_model(tmp_path / "m.onnx"))
    assert list(converter.check(model, ConvertOptions())) == []


def test_converter_names_the_node_and_operator_that_it_cannot_take(converter, tmp_path):
    model = onnx.load(bad.custom_operator(tmp_path / "m.onnx"))
    (finding,) = converter.check(model, ConvertOptions())
    assert isinstance(finding, Finding)
    assert finding.details["node"] == "magic"
    assert "MagicScale" in finding.details["op"]
    assert finding.fix
    assert list(tmp_path.iterdir()) == [tmp_path / "m.onnx"]


def test_converter_makes_a_variant_that_loads_with_the_names_of_its_source(converter, tmp_path):
    loaded = load_model(write_tiny_model(tmp_path / "m.onnx"))
    out = tmp_path / "v"
    out.mkdir()
    variant = converter.convert(loaded.proto, out, ConvertOptions())
    write_variant(out, variant)
    assert read_variant(out) == variant
    session = load_session(out)
    assert [tensor.name for tensor in session.inputs] == ["x"]
    answer = session.run({"x": np.zeros((2, 4), "float32")})
    assert answer["probabilities"].shape == (2, 3)


def test_converter_makes_every_precision_that_it_offers(converter, tmp_path):
    loaded = load_model(write_tiny_model(tmp_path / "m.onnx"))
    for precision in converter.precisions:
        out = tmp_path / precision
        out.mkdir()
        made = converter.convert(loaded.proto, out, ConvertOptions(precision))
        assert made.precision == precision
        assert made.bytes > 0


@pytest.fixture
def request_for(tmp_path, monkeypatch):
    """Return a function that makes the request to convert a linear model with a bad converter."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(install(plugins)), prepend=os.pathsep)
    model = load_model(bad.linear(tmp_path / "m.onnx", 2.0))
    out = tmp_path / "out"
    out.mkdir()

    def make(engine, **changes):
        return {
            "model": str(model.path),
            "digest": model.digest,
            "out": str(out),
            "engine": engine,
            "precision": "fp32",
            "input_shapes": {},
            "simplify": True,
            "form": "onnx",
            "opset": 17,
            "samples": None,
            "data": "",
        } | changes

    return make


@pytest.mark.parametrize(
    ("engine", "code", "words"),
    [
        ("crashes", "convert-crashed", "heap is on fire"),
        ("hungry", "convert-memory", "MemoryError"),
        ("raises", "convert-crashed", "no such layer"),
        ("empty", "engine-load-failed", ""),
    ],
)
def test_converter_that_dies_is_refused_with_its_last_words(engine, code, words, request_for):
    with pytest.raises(RefusedError) as caught:
        contained(request_for(engine), model_bytes=1000)
    assert caught.value.code == code
    assert words in caught.value.why


def test_converter_that_hangs_is_ended(request_for):
    with pytest.raises(RefusedError) as caught:
        contained(request_for("hangs"), model_bytes=1000, timeout_s=6)
    assert caught.value.code == "convert-timeout"
    assert "thinking" in caught.value.why


def test_converter_that_lies_is_refused_naming_output_and_node(request_for):
    with pytest.raises(RefusedError) as caught:
        contained(request_for("liar"), model_bytes=1000)
    assert caught.value.code == "parity-failed"
    assert "'y'" in caught.value.what
    assert caught.value.where == "MatMul 'scale'"
    assert caught.value.result["parity"]["norm_ratio"] == pytest.approx(200)
    assert caught.value.result["parity"]["cosine"] == pytest.approx(1)


def test_converter_that_prints_does_not_disturb_the_answer(request_for):
    answer = contained(request_for("chatty"), model_bytes=1000)
    assert answer["variant"]["parity"]["passed"] is True


def test_model_that_changes_meanwhile_is_refused(request_for):
    with pytest.raises(InputError) as caught:
        contained(request_for("onnxruntime", digest="sha256:0"), model_bytes=1000)
    assert caught.value.code == "model-changed"
