"""Figures from what a benchmark tool told, kept and had again; the tool as a part of the project."""

from __future__ import annotations

import json

import pytest

from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.errors import InputError
from edgeops.stages.validate import Validate, ValidateOptions
from edgeops.validate import again, told
from edgeops.validate.devices.adb.device import AdbDevice
from edgeops.validate.devices.local import LocalDevice
from edgeops.validate.devices.phone import answer as phone_answer
from edgeops.validate.devices.phone.tools import Timed, refuse_binary, with_binary
from edgeops.validate.figures import cost_figures, details, latency_csv, notes
from edgeops.validate.measured import Measured


def answers(*means, **more):
    found = []
    for mean in means:
        timed = Timed(
            calls=50,
            mean_ms=mean,
            load_ms=7.0,
            absent={
                "p50_ms": "no median",
                "p90_ms": "w",
                "p99_ms": "w",
                "first_call_ms": "w",
                "latency_ns": "w",
            },
        )
        answer = phone_answer.answer("benchncnn", timed, 9_000_000)
        energy = {"absent": "no battery"}
        found.append({"tool": "benchncnn", "engine_version": "v", **answer, "energy": energy})
        found[-1] |= more
    return tuple(found)


def test_the_value_is_the_middle_of_what_processes_told():
    figures = told.cost_figures(answers(3.0, 2.0, 4.0))
    mean = figures["latency_mean_ms"]
    assert (mean.value, mean.interval, mean.noisy) == (3.0, (2.0, 4.0), True)
    assert "150 calls after warm-up, as benchncnn tells it" in mean.method
    assert figures["load_ms"].value == 7.0
    assert figures["peak_rss_mb"].value == 9.0


def test_what_is_not_told_is_absent_with_its_reason():
    figures = told.cost_figures(answers(3.0, 2.0, 4.0))
    assert (figures["latency_p50_ms"].value, figures["latency_p50_ms"].absent) == (
        None,
        "no median",
    )
    assert figures["cpu_ms"].absent == "benchncnn does not tell it"


def test_one_process_has_no_interval():
    mean = told.cost_figures(answers(3.0))["latency_mean_ms"]
    assert (mean.value, mean.interval) == (3.0, None)
    assert "how it varies is not known" in mean.method


def test_single_calls_are_taken_where_they_are_told():
    runs = answers(1.0, 1.0, 1.0, latency_ns=list(range(900_000, 1_100_000, 1_000)))
    p50 = told.cost_figures(runs)["latency_p50_ms"]
    assert p50.value == pytest.approx(1.0, rel=0.01)
    assert "600 single calls" in p50.method


def test_evidence_keeps_what_the_figures_follow_from():
    measured = Measured(answers(3.0, 2.0, 4.0), {}, no_outputs="w")
    figures = cost_figures(measured, 1000)
    kept = json.loads(json.dumps(again.kept(measured, 1000)))
    once_more = again._costs(kept)
    assert set(once_more) == set(figures)
    assert all(again.same(figures[name], once_more[name]) for name in figures)
    assert notes(measured, figures) == ()
    assert details(measured, ())["processes"][0]["calls"] == 50
    assert latency_csv(measured) == b"percentile,latency_ms\n"


def project(**targets):
    validate = StageSpec("validate", "validate", ValidateOptions())
    return Project("p", "1.0.0", "m.onnx", Data(), targets, {"validate": validate})


def test_the_tools_of_all_targets_are_read_by_each():
    made = project(
        gateway=Target("gateway"), phone=Target("phone", device="adb", binary="tools/benchncnn")
    )
    for target in made.targets.values():
        plan = Validate().plan(made, target, ValidateOptions())
        assert "tools/benchncnn" in plan.deps


def test_only_phones_take_a_tool(tmp_path):
    path = tmp_path / "benchncnn"
    path.touch()
    assert with_binary(AdbDevice(), path).binary == path
    with pytest.raises(InputError) as refused:
        with_binary(LocalDevice(), path)
    assert refused.value.code == "binary-not-taken"
    refuse_binary("adb:SERIAL", path, "ncnn")
    with pytest.raises(InputError) as refused:
        refuse_binary("adb", path, "mnn")
    assert refused.value.code == "binary-engine"
