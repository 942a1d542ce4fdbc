"""The convert stage's plan as literals, and what its preflight sees."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.core.events import Silence
from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.core.stage import Out, StageContext, StagePlan
from edgeops.core.variant import read_variant
from edgeops.stages.convert import Convert, ConvertStageOptions
from tests.functional import _bad_models as bad
from tests.helpers import write_tiny_data, write_tiny_model

OPTIONS = ConvertStageOptions()


def project(*, targets=None, quantize=False, given=(), options=OPTIONS, stated=()):
    stages = {"convert": StageSpec("convert", "convert", options, stated)}
    if quantize:
        stages["quantize"] = StageSpec("quantize", "quantize", None)
    return Project(
        name="p",
        version="1",
        model="build/model.onnx",
        data=Data(calibration="data/c.npz"),
        targets=targets or {"a": Target("a"), "b": Target("b", precision="fp16")},
        stages=stages,
        given=given,
    )


def test_plan_reads_model_and_calibration_and_writes_the_variant():
    made = project()
    assert Convert().plan(made, made.targets["a"], OPTIONS) == StagePlan(
        deps=("build/model.onnx", "data/c.npz"),
        outs=(Out("build/a/converted"),),
        params=("targets.a.engine", "targets.a.precision"),
    )


def test_plan_depends_on_the_keys_that_are_stated():
    given = ("stages.convert", "data.calibration", "targets.a", "targets.b")
    keys = tuple(f"targets.{name}.{key}" for name in "ab" for key in ("engine", "precision"))
    made = project(given=(*given, *keys), stated=("simplify",))
    assert Convert().plan(made, made.targets["b"], OPTIONS).params == (
        "stages.convert",
        "data.calibration",
        "targets.b.engine",
        "targets.b.precision",
    )


def test_plan_leaves_precision_to_quantize_where_there_is_one():
    keys = tuple(f"targets.{name}.{key}" for name in "ab" for key in ("engine", "precision"))
    made = project(given=keys, quantize=True)
    assert Convert().plan(made, made.targets["a"], OPTIONS).params == ("targets.a.engine",)


def test_plan_does_not_take_a_function_for_a_file():
    made = project()
    made = Project(**{**made.__dict__, "data": Data(calibration="mine:batches")})
    assert Convert().plan(made, made.targets["a"], OPTIONS).deps == ("build/model.onnx",)


def lay_down(root):
    write_tiny_data(root / "data/c.npz", write_tiny_model(root / "build/model.onnx"))


def test_preflight_is_silent_when_all_fits_or_nothing_is_there_yet(tmp_path):
    made = project()
    assert Convert().preflight(tmp_path, made, made.targets["a"], OPTIONS) == []
    lay_down(tmp_path)
    assert Convert().preflight(tmp_path, made, made.targets["a"], OPTIONS) == []


def test_preflight_names_operators_and_data_that_do_not_fit(tmp_path):
    made = project()
    lay_down(tmp_path)
    np.savez(tmp_path / "data/c.npz", x=np.zeros((2, 5), "float32"))
    (finding,) = Convert().preflight(tmp_path, made, made.targets["a"], OPTIONS)
    assert finding.code == "data-shape"
    (tmp_path / "data/c.npz").unlink()
    bad.custom_operator(tmp_path / "build/model.onnx")
    (finding,) = Convert().preflight(tmp_path, made, made.targets["a"], OPTIONS)
    assert finding.code == "operator-unsupported"


def test_preflight_names_a_form_that_no_engine_has_and_a_route_that_is_none(tmp_path):
    made = project()
    lay_down(tmp_path)
    options = ConvertStageOptions(form="flat")
    (finding,) = Convert().preflight(tmp_path, made, made.targets["a"], options)
    assert finding.code == "form-unknown"
    assert "ort" in finding.fix
    options = ConvertStageOptions(via={"onnxruntime": "by-hand"})
    (finding,) = Convert().preflight(tmp_path, made, made.targets["a"], options)
    assert finding.code == "route-unknown"


def test_form_of_one_engine_is_no_matter_for_another(tmp_path):
    made = project(targets={"a": Target("a"), "b": Target("b", engine="openvino")})
    lay_down(tmp_path)
    options = ConvertStageOptions(form="ort", via={"litert": "onnx2tf"})
    assert Convert().preflight(tmp_path, made, made.targets["a"], options) == []
    context = StageContext(tmp_path, made, "convert", made.targets["a"], Silence())
    Convert().run(context, options)
    assert read_variant(tmp_path / "build/a/converted").model_file == "model.ort"


def test_preflight_refuses_int8_without_quantize(tmp_path):
    made = project(targets={"a": Target("a", precision="int8")})
    lay_down(tmp_path)
    (finding,) = Convert().preflight(tmp_path, made, made.targets["a"], OPTIONS)
    assert finding.code == "precision-unsupported"


@pytest.mark.parametrize(("quantize", "precision"), [(False, "fp16"), (True, "fp32")])
def test_run_makes_what_the_plan_says(tmp_path, quantize, precision):
    lay_down(tmp_path)
    made = project(quantize=quantize)
    context = StageContext(tmp_path, made, "convert", made.targets["b"], Silence())
    result = Convert().run(context, OPTIONS)
    variant = read_variant(tmp_path / "build/b/converted")
    assert variant.precision == precision
    assert variant.parity.data == "data/c.npz"
    assert result.figures["model_mb"] == variant.bytes / 1e6
