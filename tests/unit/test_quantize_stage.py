"""The quantize stage: its plan as a literal, its preflight, what it passes through."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from edgeops.convert.make import convert_model
from edgeops.core.events import Silence
from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.core.stage import Out, StageContext, StagePlan
from edgeops.core.variant import read_variant
from edgeops.stages.quantize import Quantize
from edgeops.stages.quantize_judge import relative_error
from edgeops.stages.quantize_variant import QuantizeOptions, scheme_of
from edgeops.stages.validate import ValidateOptions
from tests.helpers import write_tiny_data, write_tiny_model


def project_of(targets, *, data=None, given=(), max_drop=0.01, metric="accuracy", keys=()):
    return Project(
        "tiny",
        "1.0.0",
        "model.onnx",
        data or Data("calibration.npz", "evaluation.npz"),
        {target.name: target for target in targets},
        {
            "quantize": StageSpec("quantize", "quantize", QuantizeOptions(max_drop), keys),
            "validate": StageSpec(
                "validate", "validate", ValidateOptions(metric=metric), ("metric", "gates")
            ),
        },
        given,
    )


GATEWAY = Target("gateway", precision="int8")


def test_plan_names_deps_outs_and_the_keys_it_reads():
    project = project_of(
        [GATEWAY, Target("bench")],
        keys=("max_drop",),
        given=(
            "data.calibration",
            "data.evaluation",
            "targets.gateway.precision",
            "targets.bench.precision",
            "stages.quantize.max_drop",
            "stages.validate.metric",
            "stages.validate.gates",
        ),
    )
    assert Quantize().plan(project, GATEWAY, QuantizeOptions()) == StagePlan(
        deps=("build/gateway/converted", "model.onnx", "calibration.npz", "evaluation.npz"),
        outs=(Out("build/gateway/quantized"),),
        params=(
            "stages.quantize.max_drop",
            "stages.validate.metric",
            "data.calibration",
            "data.evaluation",
            "targets.gateway.engine",
            "targets.gateway.precision",
        ),
    )


def test_plan_has_no_file_for_a_data_function():
    project = project_of([GATEWAY], data=Data("digits:calibration", None))
    plan = Quantize().plan(project, GATEWAY, QuantizeOptions())
    assert plan.deps == ("build/gateway/converted", "model.onnx")


def test_preflight_finds_missing_calibration_and_an_engine_without_int8(tmp_path):
    target = Target("gateway", engine="mnn", precision="int8")
    project = project_of([target], data=Data(None, "evaluation.npz"))
    found = Quantize().preflight(tmp_path, project, target, QuantizeOptions())
    assert [finding.code for finding in found] == ["engine-no-int8", "calibration-missing"]


def test_preflight_asks_nothing_of_an_fp32_target(tmp_path):
    target = Target("gateway", engine="mnn")
    project = project_of([target], data=Data())
    assert Quantize().preflight(tmp_path, project, target, QuantizeOptions()) == []


def test_preflight_finds_data_that_does_not_fit(tmp_path):
    write_tiny_model(tmp_path / "model.onnx")
    np.savez(tmp_path / "calibration.npz", x=np.zeros((5, 3), dtype=np.float32))
    np.savez(tmp_path / "evaluation.npz", x=np.zeros((5, 4), dtype=np.float32))
    found = Quantize().preflight(tmp_path, project_of([GATEWAY]), GATEWAY, QuantizeOptions())
    assert [finding.code for finding in found] == ["data-shape", "labels-missing"]


def test_preflight_sees_folders_as_data_and_names_every_set_that_does_not_fit(tmp_path):
    write_tiny_model(tmp_path / "model.onnx")
    for name in ("calibration", "evaluation"):
        (tmp_path / name / "class").mkdir(parents=True)
        (tmp_path / name / "class" / "a.png").write_bytes(b"no picture")
    project = project_of([GATEWAY], data=Data("calibration", "evaluation"))
    found = Quantize().preflight(tmp_path, project, GATEWAY, QuantizeOptions())
    assert [(finding.code, finding.where) for finding in found] == [
        ("data-input-missing", "calibration"),
        ("data-input-missing", "evaluation"),
    ]
    shutil.rmtree(tmp_path / "calibration" / "class")
    (found, _) = Quantize().preflight(tmp_path, project, GATEWAY, QuantizeOptions())
    assert found.code == "data-empty"


@pytest.mark.parametrize(
    ("scheme", "precision", "expected"),
    [
        ("auto", "int8", "static"),
        ("static", "int8", "static"),
        ("dynamic", "int8", "dynamic"),
        ("fp16", "int8", "static"),
        ("auto", "fp16", "fp16"),
        ("dynamic", "fp16", "fp16"),
    ],
)
def test_scheme_follows_from_option_and_precision(scheme, precision, expected):
    assert scheme_of(scheme, precision) == expected


@pytest.fixture
def built(tmp_path):
    """Return a folder with a converted tiny variant and data."""
    model = write_tiny_model(tmp_path / "model.onnx")
    write_tiny_data(tmp_path / "calibration.npz", model)
    write_tiny_data(tmp_path / "evaluation.npz", model, count=200, seed=2)
    convert_model(
        model, "onnxruntime", tmp_path / "build/gateway/converted", root=tmp_path, events=Silence()
    )
    return tmp_path


def run(root, target, **options):
    context = StageContext(root, project_of([target]), "quantize", target, Silence())
    return Quantize().run(context, QuantizeOptions(**options))


def test_run_passes_an_fp32_target_through_unchanged(built):
    result = run(built, Target("gateway"))
    before = read_variant(built / "build/gateway/converted")
    assert read_variant(built / "build/gateway/quantized") == before
    assert "unchanged" in result.notes[0]


def test_run_makes_int8_and_carries_the_source_over(built):
    result = run(built, GATEWAY)
    before = read_variant(built / "build/gateway/converted")
    after = read_variant(built / "build/gateway/quantized")
    assert after.precision == "int8"
    assert after.source == before.source
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    assert after.parity.samples == 64
    assert after.parity.data == "calibration.npz"
    assert after.quantization["scheme"] == "static"
    assert after.quantization["calibration"] == "minmax"
    assert after.quantization["operators"] == ["Gemm", "Relu", "Softmax"]
    assert result.figures["accuracy_drop"] <= 0.01
    assert result.figures["model_mb"] == after.bytes / 1e6


def test_run_twice_gives_the_same_digest(built):
    run(built, GATEWAY)
    first = read_variant(built / "build/gateway/quantized")
    run(built, GATEWAY)
    assert read_variant(built / "build/gateway/quantized") == first


def test_run_makes_fp16(built):
    run(built, Target("gateway", precision="fp16"))
    after = read_variant(built / "build/gateway/quantized")
    assert after.precision == "fp16"
    assert after.quantization["weights"] == "float16"


def test_run_takes_only_as_many_samples_as_told(built):
    run(built, GATEWAY, samples=10, max_drop=0.1)
    assert read_variant(built / "build/gateway/quantized").parity.samples == 10


def test_relative_error_is_that_of_the_worst_output():
    before = {"a": np.array([3.0, 4.0]), "b": np.array([1.0, 0.0])}
    after = {"a": np.array([3.0, 4.5]), "b": np.array([1.0, 0.5])}
    assert relative_error(before, before) == 0.0
    assert relative_error(before, after) == pytest.approx(0.5)
    assert relative_error(before, {**after, "a": np.array([np.nan, 4.0])}) == float("inf")
    assert relative_error(before, {**after, "a": np.array([3.0])}) == float("inf")
