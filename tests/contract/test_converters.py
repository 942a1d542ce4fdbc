"""What every registered converter keeps."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeops.convert.routes import engine_of, form_for, forms_of, sources_of, unproven_of
from edgeops.core import registry
from edgeops.core.contracts import ConvertOptions
from edgeops.core.variant import read_variant, write_variant
from edgeops.errors import Finding
from edgeops.model.load import load_model
from edgeops.model.prepare import prepare
from edgeops.runtime.session import load_session
from tests.functional import _bad_models as bad
from tests.helpers import write_tiny_model


@pytest.fixture(params=registry.names("converters"))
def converter(request):
    """Return each registered converter that can be used here."""
    found = registry.get("converters", request.param)
    if found.available() is not None:
        pytest.skip(found.available().what)
    return found


@pytest.fixture
def prepared(tmp_path):
    """Return the tiny classifier as converters get it, for two samples at a time."""
    loaded = load_model(write_tiny_model(tmp_path / "m.onnx"))
    return prepare(loaded.proto, input_shapes={"x": (2, 4)}).proto


def takes_onnx(converter):
    return "onnx" in sources_of(converter)


def test_converter_states_what_it_offers_in_the_forms_that_routes_read(converter):
    assert converter.precisions
    assert set(converter.precisions) <= {"fp32", "fp16", "int8"}
    assert set(sources_of(converter)) <= {"onnx", "tflite", "pt2"}
    assert engine_of(converter)
    assert all(isinstance(form, str) for form in forms_of(converter))
    if set(sources_of(converter)) != {"onnx"}:
        assert callable(converter.convert_file)


def test_converter_finds_nothing_wrong_with_a_plain_classifier(converter, prepared):
    if not takes_onnx(converter):
        pytest.skip("it does not start from ONNX")
    assert list(converter.check(prepared, ConvertOptions())) == []


def test_converter_names_the_node_and_operator_that_it_cannot_take(converter, tmp_path):
    if not takes_onnx(converter):
        pytest.skip("it does not start from ONNX")
    model = onnx.load(bad.custom_operator(tmp_path / "m.onnx"))
    findings = converter.check(model, ConvertOptions())
    (finding,) = [one for one in findings if one.code == "operator-unsupported"]
    assert isinstance(finding, Finding)
    assert finding.details["node"] == "magic"
    assert "MagicScale" in finding.details["op"]
    assert finding.fix
    assert list(tmp_path.iterdir()) == [tmp_path / "m.onnx"]


@pytest.fixture
def quiet_place(tmp_path, monkeypatch):
    """Work in an empty folder, which is also the temporary one, as converters do."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(scratch)
    monkeypatch.setenv("TMPDIR", str(scratch))


@pytest.mark.usefixtures("quiet_place")
def test_converter_makes_a_variant_that_loads_with_the_names_of_its_source(
    converter, prepared, tmp_path
):
    if not takes_onnx(converter) or unproven_of(converter):
        pytest.skip("it does not start from ONNX, or nothing here runs what it makes")
    out = tmp_path / "v"
    out.mkdir()
    variant = converter.convert(prepared, out, ConvertOptions(form=form_for(converter, "")))
    write_variant(out, variant)
    assert read_variant(out) == variant
    assert variant.engine == engine_of(converter)
    session = load_session(out)
    assert [tensor.name for tensor in session.inputs] == ["x"]
    answer = session.run({"x": np.zeros((2, 4), "float32")})
    assert answer["probabilities"].shape == (2, 3)
    assert answer["probabilities"].dtype == "float32"


@pytest.mark.usefixtures("quiet_place")
def test_converter_makes_every_precision_that_it_offers(converter, prepared, tmp_path):
    if not takes_onnx(converter):
        pytest.skip("it does not start from ONNX")
    for precision in converter.precisions:
        out = tmp_path / precision
        out.mkdir()
        made = converter.convert(prepared, out, ConvertOptions(precision))
        assert made.precision == precision
        assert made.bytes > 0
        assert (out / made.model_file).is_file()
