"""The plan of the validate stage, as a literal, and the options it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.core.stage import Out, Plot, StagePlan
from edgeops.stages.pack import PackOptions
from edgeops.stages.validate import Validate, ValidateOptions


def project(*, quantize, metric="accuracy", evaluation="data/e.npz"):
    stages = {"convert": StageSpec("convert", "convert", None)}
    if quantize:
        stages["quantize"] = StageSpec("quantize", "quantize", None)
    options = ValidateOptions(metric=metric)
    stages["check"] = StageSpec("check", "validate", options, ("metric", "gates"))
    return Project(
        "p", "1.0.0", "m.onnx", Data(None, evaluation), {"gateway": Target("gateway")}, stages
    )


def planned(found):
    return Validate().plan(found, found.targets["gateway"], found.stages["check"].options)


def test_plan_reads_variants_model_and_data_and_writes_the_report():
    assert planned(project(quantize=True)) == StagePlan(
        deps=("build/gateway/quantized", "build/gateway/converted", "m.onnx", "data/e.npz"),
        outs=(
            Out("reports/gateway/evidence.json"),
            Out("reports/gateway/worst.json"),
            Out("reports/gateway/worst.svg"),
        ),
        metrics=("reports/gateway/metrics.json",),
        plots=(
            Plot(
                "reports/gateway/latency.csv",
                "percentile",
                "latency_ms",
                title="Latency quantiles",
            ),
        ),
        params=("stages.check.metric", "stages.check.gates", "targets.gateway", "data.evaluation"),
    )


def test_plan_names_the_converted_variant_once_without_quantize():
    assert planned(project(quantize=False)).deps == (
        "build/gateway/converted",
        "m.onnx",
        "data/e.npz",
    )


def test_plan_depends_on_the_files_of_functions():
    found = project(quantize=False, metric="tools.scores:mine", evaluation="load:rows")
    assert planned(found).deps[-2:] == ("load.py", "tools/scores.py")


def test_plan_reads_features_rules_and_the_labels_that_are_packed():
    found = project(quantize=False)
    options = ValidateOptions(rules="rules.yaml")
    stages = {
        **found.stages,
        "check": StageSpec("check", "validate", options, ("rules",)),
        "pack": StageSpec("pack", "pack", PackOptions(include=("labels.txt", "notes.md"))),
    }
    data = Data(None, "data/photos", "features.yaml")
    found = replace(found, data=data, stages=stages, given=("data.features",))
    plan = planned(found)
    assert plan.deps[2:] == ("data/photos", "features.yaml", "rules.yaml", "labels.txt")
    assert plan.params[-2:] == ("data.evaluation", "data.features")


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 0.0},
        {"timeout": -1.0},
        {"samples": -1},
        {"call_timeout": -1.0},
        {"heartbeat": -1.0},
        {"sustained": -1.0},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=r"more than 0|not negative"):
        ValidateOptions(**options)
