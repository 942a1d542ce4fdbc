"""One suite for every registered stage: the contract of ADR 0001."""

from __future__ import annotations

import builtins
import dataclasses
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeops.core import registry
from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.pipeline.plan import plan
from edgeops.project.schema import options_model

if TYPE_CHECKING:
    from edgeops.core.stage import StagePlan

NAMES = [one.name for one in registry.registered("stages") if not one.broken]
# What a stage cannot do without; all else has a default.
NEEDED = {"command": {"run": "true"}}


def test_built_in_stages_are_registered():
    assert set(NAMES) >= {"command", "convert", "quantize", "validate", "pack", "publish"}


@pytest.fixture(params=NAMES)
def stage(request):
    return registry.get("stages", request.param)


def project_with(stage) -> Project:
    """Return a project of two targets with all stages that every other may ask for."""
    stages = {}
    for name in NAMES:
        other = registry.get("stages", name)
        stages[name] = StageSpec(name, name, other.Options(**NEEDED.get(name, {})))
    assert stage.info.name in stages
    return Project(
        name="digits",
        version="1.0.0",
        model="build/model.onnx",
        data=Data("data/calibration.npz", "data/evaluation.npz"),
        targets={
            "gateway": Target("gateway", precision="int8", gates={"model_mb": "<= 1"}),
            "camera": Target("camera", threads=2),
        },
        stages=stages,
        given=("project", "version", "model", "data", "targets", "stages"),
    )


def planned(stage, project) -> list[StagePlan]:
    options = project.stages[stage.info.name].options
    if stage.info.scope == "project":
        return [stage.plan(project, None, options)]
    return [stage.plan(project, target, options) for target in project.targets.values()]


def test_info_says_what_it_must(stage):
    assert stage.info.api == 1
    assert stage.info.scope in ("target", "project")
    assert stage.info.summary
    assert stage.info.summary.endswith(".")


def test_options_are_a_frozen_dataclass_that_can_be_checked_and_described(stage):
    assert dataclasses.is_dataclass(stage.Options)
    assert stage.Options.__dataclass_params__.frozen
    model = options_model(stage.Options)
    assert set(model.model_fields) == {item.name for item in dataclasses.fields(stage.Options)}
    assert all(item.metadata.get("help") for item in dataclasses.fields(stage.Options))


def test_plan_is_pure(stage, tmp_path, monkeypatch):
    project = project_with(stage)
    planned(stage, project)  # whatever it imports is imported now

    def refuse(*_args, **_kwargs):
        pytest.fail("a plan opened, listed or looked for a file")

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        for owner, name in [
            (builtins, "open"),
            (io, "open"),
            (os, "stat"),
            (os, "scandir"),
            (os, "listdir"),
            (Path, "open"),
            (Path, "stat"),
            (Path, "exists"),
        ]:
            patch.setattr(owner, name, refuse)
        first, second = planned(stage, project), planned(stage, project)
    assert first == second
    assert list(tmp_path.iterdir()) == []


def test_plan_names_paths_within_the_project(stage):
    for made in planned(stage, project_with(stage)):
        written = [
            *(out.path for out in made.outs),
            *made.metrics,
            *(plot.path for plot in made.plots),
        ]
        for path in [*made.deps, *written]:
            assert not path.startswith("/")
            assert ".." not in path.split("/")
            assert "\\" not in path
        assert len(set(written)) == len(written)
        assert not set(made.deps) & set(written)


def test_plan_has_the_same_shape_for_all_targets(stage):
    project = project_with(stage)
    alone = dataclasses.replace(project, stages={stage.info.name: project.stages[stage.info.name]})
    targets = {step.target for step in plan(alone)}
    assert targets == ({None} if stage.info.scope == "project" else {"gateway", "camera"})


def test_preflight_of_an_empty_folder_returns_findings_and_writes_nothing(stage, tmp_path):
    from edgeops.errors import EdgeopsError

    project = project_with(stage)
    target = None if stage.info.scope == "project" else project.targets["camera"]
    try:
        findings = stage.preflight(
            tmp_path, project, target, project.stages[stage.info.name].options
        )
    except EdgeopsError as error:
        findings = error.findings or [error]
    for finding in findings:
        assert finding.code
        assert finding.what
        assert finding.fix
    assert list(tmp_path.iterdir()) == []
