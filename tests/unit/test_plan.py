"""The plan is pure: project in, ordered steps out, compared as literals."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.core.stage import Out, StageInfo, StagePlan
from edgeops.errors import InputError
from edgeops.pipeline.plan import PLACEHOLDER, plan, upstream
from edgeops.stages.command import Command, CommandOptions


@dataclass
class Fake:
    """A stage whose plan is a function."""

    info: StageInfo
    make: object

    def plan(self, project, target, options):
        return self.make(project, target)


def project(stages, targets=("gateway", "camera"), given=()):
    return Project(
        name="digits",
        version="1.0.0",
        model="m.onnx",
        data=Data(),
        targets={
            name: Target(name, precision="int8" if name == "camera" else "fp32") for name in targets
        },
        stages={name: StageSpec(name, uses, options) for name, (uses, options) in stages.items()},
        given=given,
    )


def command(run="x", **paths):
    return ("command", CommandOptions(run, **{key: tuple(value) for key, value in paths.items()}))


def lookup(**stages):
    return {"command": Command(), **stages}.__getitem__


def each(make):
    return Fake(StageInfo("each", "For each target."), make)


CONVERT = each(
    lambda project, target: StagePlan(
        deps=(project.model,),
        outs=(Out(f"build/{target.name}/converted/"),),
        params=(f"targets.{target.name}.precision", "stages.convert"),
    )
)


def test_steps_come_after_those_whose_outputs_they_read():
    made = plan(
        project(
            {
                "pack": command(deps=["build/gateway", "build/camera/converted/model.onnx"]),
                "convert": ("convert", None),
                "train": command("python train.py", deps=["train.py"], outs=["m.onnx", "data"]),
            }
        ),
        lookup(convert=CONVERT),
    )
    assert [step.address for step in made] == ["train", "convert@gateway", "convert@camera", "pack"]


def test_step_carries_plan_and_template():
    given = ("stages", "stages.convert", "targets", "targets.gateway", "targets.gateway.precision")
    made = plan(
        project({"convert": ("convert", None)}, ["gateway"], given), lookup(convert=CONVERT)
    )[0]
    assert made.plan == StagePlan(
        deps=("m.onnx",),
        outs=(Out("build/gateway/converted"),),
        params=("targets.gateway.precision", "stages.convert"),
    )
    assert made.template.outs == (Out(f"build/{PLACEHOLDER}/converted"),)
    assert made.template.params == (f"targets.{PLACEHOLDER}.precision", "stages.convert")


def test_key_that_one_target_lacks_is_tracked_by_its_parent_for_all():
    given = ("stages.convert", "targets.gateway", "targets.camera", "targets.camera.precision")
    made = plan(project({"convert": ("convert", None)}, given=given), lookup(convert=CONVERT))
    assert made[1].plan.params == ("targets.camera", "stages.convert")


def test_key_below_one_that_is_tracked_is_left_out():
    stage = Fake(
        StageInfo("one", "Once.", scope="project"),
        lambda project, target: StagePlan(params=("stages.one.depth", "stages.one", "data.x")),
    )
    given = ("stages", "stages.one", "stages.one.depth")
    made = plan(project({"one": ("one", None)}, given=given), lookup(one=stage))
    assert made[0].plan.params == ("stages.one",)


def test_ring_of_stages_is_named_from_writer_to_reader():
    with pytest.raises(InputError) as caught:
        plan(
            project(
                {
                    "a": command(deps=["three"], outs=["one"]),
                    "b": command(deps=["one/x"], outs=["two"]),
                    "c": command(deps=["two"], outs=["three"]),
                    "d": command(deps=["two"], outs=["four"]),
                }
            )
        )
    assert caught.value.code == "stage-cycle"
    assert caught.value.what == "stages wait for each other: a -> b -> c -> a"


def test_stage_that_reads_what_it_writes_is_a_ring_of_one():
    with pytest.raises(InputError) as caught:
        plan(project({"a": command(deps=["data"], outs=["data/clean"])}))
    assert caught.value.what == "stages wait for each other: a -> a"


def test_two_stages_may_not_write_one_path_nor_one_inside_the_other():
    with pytest.raises(InputError) as caught:
        plan(project({"a": command(outs=["data"]), "b": command(outs=["data/clean.npz"])}))
    assert caught.value.code == "out-taken"
    assert caught.value.what == "a and b both write data/clean.npz"


@pytest.mark.parametrize("path", ["/data/x", "../x", "a/../../x", "."])
def test_path_outside_the_project_is_refused(path):
    with pytest.raises(InputError) as caught:
        plan(project({"a": command(deps=[path])}))
    assert caught.value.code == "path-outside"


def test_plan_that_differs_by_more_than_the_name_is_refused():
    uneven = each(
        lambda project, target: StagePlan(outs=(Out(f"build/{target.name}/{target.precision}"),))
    )
    with pytest.raises(InputError) as caught:
        plan(project({"each": ("each", None)}), lookup(each=uneven))
    assert [finding.code for finding in caught.value.findings] == ["plan-shape"]
    assert "'camera'" in caught.value.what


def test_plan_that_looks_at_the_name_itself_is_refused():
    named = each(
        lambda project, target: StagePlan(
            outs=(Out(f"build/{target.name}" + ("/big" if target.name == "camera" else "")),)
        )
    )
    with pytest.raises(InputError) as caught:
        plan(project({"each": ("each", None)}), lookup(each=named))
    assert caught.value.code == "plan-shape"


def test_target_stage_without_targets_is_refused():
    with pytest.raises(InputError) as caught:
        plan(project({"convert": ("convert", None)}, targets=()), lookup(convert=CONVERT))
    assert caught.value.code == "targets-missing"


def test_name_of_a_target_inside_another_word_is_left_alone():
    made = plan(
        project({"convert": ("convert", None)}, ["build"], ("targets.build",)),
        lookup(convert=CONVERT),
    )
    assert made[0].template.outs == (Out(f"build/{PLACEHOLDER}/converted"),)


def test_upstream_is_what_a_step_needs_and_nothing_else():
    steps = plan(
        project(
            {
                "train": command(outs=["m.onnx"]),
                "other": command(outs=["other"]),
                "convert": ("convert", None),
            }
        ),
        lookup(convert=CONVERT),
    )
    wanted = [step for step in steps if step.address == "convert@camera"]
    assert [step.address for step in upstream(steps, wanted)] == ["train", "convert@camera"]
