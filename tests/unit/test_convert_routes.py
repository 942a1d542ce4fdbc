"""Ways to an engine, and what is said of a wrong one."""

from __future__ import annotations

import pytest

from edgeops.convert import routes
from edgeops.errors import MissingError, RefusedError, UsageProblem


class Plain:
    name = "plain"
    api = 1
    precisions = ("fp32",)

    def available(self):
        return None


class Rich(Plain):
    name = "rich"
    engine = "plain"
    sources = ("onnx", "tflite")
    forms = ("big", "small")
    unproven = "no such chip here"


def test_converter_that_states_nothing_is_its_own_engine_and_takes_onnx():
    assert routes.engine_of(Plain()) == "plain"
    assert routes.sources_of(Plain()) == ("onnx",)
    assert routes.forms_of(Plain()) == ()
    assert routes.unproven_of(Plain()) == ""


def test_converter_that_states_more_is_believed():
    assert routes.engine_of(Rich()) == "plain"
    assert routes.sources_of(Rich()) == ("onnx", "tflite")
    assert routes.unproven_of(Rich()) == "no such chip here"


def test_default_route_is_the_engine_itself():
    assert routes.route("onnxruntime").name == "onnxruntime"
    assert routes.route("onnxruntime", "onnxruntime").name == "onnxruntime"
    assert routes.routes("litert")[0] == "litert"


def test_second_route_is_taken_by_name():
    assert routes.route("litert", "onnx2tf").name == "onnx2tf"
    assert routes.engine_of(routes.route("litert", "onnx2tf")) == "litert"


@pytest.mark.parametrize("via", ["mnn", "by-hand"])
def test_route_that_is_none_is_refused_with_those_there_are(via):
    with pytest.raises(UsageProblem) as caught:
        routes.route("litert", via)
    assert caught.value.code == "route-unknown"
    assert "litert, onnx2tf" in caught.value.fix


def test_engine_that_nobody_knows_is_missing():
    for via in ("", "onnxruntime"):
        with pytest.raises(MissingError) as caught:
            routes.route("toaster", via)
        assert caught.value.code == "plugin-unknown"


@pytest.mark.parametrize(
    ("converter", "asked", "form"),
    [(Plain(), "", ""), (Rich(), "", "big"), (Rich(), "small", "small")],
)
def test_form_is_one_of_the_engines_own(converter, asked, form):
    assert routes.form_for(converter, asked) == form


@pytest.mark.parametrize(("converter", "fix"), [(Plain(), "leave it out"), (Rich(), "big, small")])
def test_other_forms_are_refused(converter, fix):
    with pytest.raises(UsageProblem) as caught:
        routes.form_for(converter, "flat")
    assert caught.value.code == "form-unknown"
    assert fix in caught.value.fix


def test_kind_of_file_that_an_engine_is_not_made_from_names_who_takes_it(tmp_path):
    error = routes.wrong_kind(routes.route("onnxruntime"), "tflite", tmp_path / "m.tflite")
    assert isinstance(error, RefusedError)
    assert "openvino" in error.fix


def test_kind_of_file_whose_takers_are_all_missing_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEOPS_ENVS", str(tmp_path / "envs"))
    error = routes.wrong_kind(routes.route("onnxruntime"), "pt2", tmp_path / "m.pt2")
    assert isinstance(error, MissingError)
    assert error.fix.startswith("edgeops env create ")
