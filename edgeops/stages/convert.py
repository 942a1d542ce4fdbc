"""The convert stage: the project's model to a proven variant for each target."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgeops.convert.check import check_model, examine, misfits
from edgeops.convert.make import Recipe, convert_model
from edgeops.convert.routes import known_forms, own_form, route
from edgeops.core.contracts import ConvertOptions
from edgeops.core.project import converted
from edgeops.core.stage import Out, StageContext, StageInfo, StagePlan, StageResult, one_target
from edgeops.errors import EdgeopsError, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.convert.check import Examined
    from edgeops.core.project import Project, Target

__all__ = ["Convert", "ConvertStageOptions", "check_model", "convert_model", "precision_of"]


@dataclass(frozen=True)
class ConvertStageOptions:
    """How convert makes the variants of all targets."""

    simplify: bool = field(
        default=True, metadata={"help": "Simplify the graph; the proof decides whether it may."}
    )
    input_shapes: dict[str, list[int]] = field(
        default_factory=dict, metadata={"help": "Sizes by input name, for open axes."}
    )
    form: str = field(
        default="", metadata={"help": "File format, for engines that have it (onnx, ort)."}
    )
    via: dict[str, str] = field(
        default_factory=dict, metadata={"help": "Another converter, by engine (litert: onnx2tf)."}
    )
    opset: int = field(default=17, metadata={"help": "Raise the model to this opset at least."})


class Convert:
    """Makes a variant for each target and proves it equal to the project's model."""

    info = StageInfo("convert", "Convert the model for an engine and prove it equal.")
    Options = ConvertStageOptions

    def plan(
        self,
        project: Project,
        target: Target | None,
        options: ConvertStageOptions,  # noqa: ARG002 - they decide what is made, not where
    ) -> StagePlan:
        """Return the model and calibration data as deps, the variant folder as out."""
        target = one_target(target)
        deps = [project.model]
        if _is_file(project.data.calibration):
            deps.append(str(project.data.calibration))
        if project.data.features and project.data.calibration:
            deps.append(project.data.features)
        return StagePlan(
            deps=tuple(deps),
            outs=(Out(converted(target.name)),),
            params=tuple(_params(project, target)),
        )

    def preflight(
        self, root: Path, project: Project, target: Target | None, options: ConvertStageOptions
    ) -> Sequence[Finding]:
        """Return what the engine cannot take and data that does not fit, when both are there."""
        target = one_target(target)
        path = root / project.model
        if not path.exists():
            return []  # a stage before this one makes it
        asked = ConvertOptions(
            precision_of(project, target),
            {name: tuple(sizes) for name, sizes in options.input_shapes.items()},
            simplify=options.simplify,
        )
        try:
            converter = route(target.engine, options.via.get(target.engine, ""))
            absent = converter.available()
            examined = examine(path, asked, opset=options.opset)
            found = (
                [absent] if absent else misfits(converter, examined, root=root, makes_int8=False)
            )
        except EdgeopsError as error:
            return _told(error)
        found += _unknown_form(options.form)
        data, features = project.data.calibration, project.data.features or ""
        there = data and (not _is_file(data) or (root / data).exists())
        if there or features:
            found += _data_misfits(data if there else None, features, root, examined)
        return [_in_project(finding) for finding in found]

    def run(self, context: StageContext, options: ConvertStageOptions) -> StageResult:
        """Convert and prove; the out is written whole or left as it was."""
        target = one_target(context.target)
        project = context.project
        via = options.via.get(target.engine, "")
        recipe = Recipe(
            precision_of(project, target),
            options.input_shapes,
            simplify=options.simplify,
            form=own_form(route(target.engine, via), options.form),
            via=via,
            opset=options.opset,
        )
        result = convert_model(
            context.path(project.model),
            target.engine,
            context.path(converted(target.name)),
            recipe,
            data=project.data.calibration,
            features=project.data.features or "",
            root=context.root,
            events=context.events,
        )
        figures = {"model_mb": sum(file["bytes"] for file in result["files"]) / 1e6}
        if result["parity"]:
            figures["parity_max_abs"] = result["parity"]["max_abs"]
        return StageResult(figures, tuple(result["notes"]))


def precision_of(project: Project, target: Target) -> str:
    """Return what convert makes for a target: fp32 when quantize comes after it."""
    return "fp32" if project.stage_using("quantize") else target.precision


def _data_misfits(
    data: str | None, features: str, root: Path, examined: Examined
) -> Sequence[Finding]:
    """Return why data, or features where there are no data yet, do not fit the model."""
    from edgeops.project.datasets import samples_for
    from edgeops.project.documents import features_for

    try:
        if data:
            samples_for(data, root, examined.inputs, features=features, only_few=True)
        else:
            features_for(features, root, examined.inputs)
    except EdgeopsError as error:
        return _told(error)
    return []


def _unknown_form(form: str) -> list[Finding]:
    """Return a finding for a file format that no engine has; one that another has is no fault."""
    if not form or form in known_forms():
        return []
    return [
        Finding(
            "form-unknown",
            f"{form!r} is a file format of no engine",
            where="stages.convert.form",
            fix=f"use one of: {', '.join(known_forms())}; or leave it out",
        )
    ]


def _told(error: EdgeopsError) -> Sequence[Finding]:
    return error.findings or [Finding(error.code, error.what, error.where, error.why, error.fix)]


def _in_project(finding: Finding) -> Finding:
    """Return a finding whose fix is a line of edgeops.yaml where it was one to type."""
    shapes = finding.details.get("input_shapes")
    if finding.code != "dynamic-shape" or not shapes:
        return finding
    stated = ", ".join(f"{name}: [{sizes}]" for name, sizes in shapes.items())
    fix = f"fix the sizes in edgeops.yaml: stages: {{convert: {{input_shapes: {{{stated}}}}}}}"
    return replace(finding, fix=fix)


def _params(project: Project, target: Target) -> list[str]:
    """Return the keys of edgeops.yaml that decide what convert makes."""
    keys = ["engine"] if project.stage_using("quantize") else ["engine", "precision"]
    spec = project.stage_using("convert")
    shared = [f"stages.{spec.name}"] if spec and spec.given else []
    data = [key for key in ("data.calibration", "data.features") if key in project.given]
    return [*shared, *data, *(f"targets.{target.name}.{key}" for key in keys)]


def _is_file(spec: str | None) -> bool:
    return bool(spec) and ":" not in str(spec)
