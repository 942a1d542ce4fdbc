"""The convert stage: the project's model to a proven variant for each target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeops.convert.make import (
    FORMS,
    check_model,
    convert_model,
    converter_for,
    fitting_samples,
    opened,
    require_precision,
)
from edgeops.core.contracts import ConvertOptions
from edgeops.core.project import converted
from edgeops.core.stage import Out, StageContext, StageInfo, StagePlan, StageResult, one_target
from edgeops.errors import EdgeopsError, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    form: str = field(default="onnx", metadata={"help": "File format of onnxruntime: onnx or ort."})
    opset: int = field(default=17, metadata={"help": "Raise the model to this opset at least."})

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"form is {self.form!r}, it may be {' or '.join(FORMS)}")


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
        data = project.data.calibration
        there = data if data and (not _is_file(data) or (root / data).exists()) else None
        try:
            converter = converter_for(target.engine)
            model = opened(path, options.input_shapes)
            require_precision(converter, precision_of(project, target))
            findings = list(converter.check(model.proto, ConvertOptions()))
            if there:
                fitting_samples(there, root, model)
        except EdgeopsError as error:
            return error.findings or [
                Finding(error.code, error.what, error.where, error.why, error.fix)
            ]
        return findings

    def run(self, context: StageContext, options: ConvertStageOptions) -> StageResult:
        """Convert and prove; the out is written whole or left as it was."""
        target = one_target(context.target)
        project = context.project
        result = convert_model(
            context.path(project.model),
            target.engine,
            context.path(converted(target.name)),
            precision=precision_of(project, target),
            input_shapes=options.input_shapes,
            data=project.data.calibration,
            root=context.root,
            simplify=options.simplify,
            form=options.form,
            opset=options.opset,
            events=context.events,
        )
        figures = {
            "parity_max_abs": result["parity"]["max_abs"],
            "model_mb": sum(file["bytes"] for file in result["files"]) / 1e6,
        }
        return StageResult(figures, tuple(result["notes"]))


def precision_of(project: Project, target: Target) -> str:
    """Return what convert makes for a target: fp32 when quantize comes after it."""
    return "fp32" if project.stage_using("quantize") else target.precision


def _params(project: Project, target: Target) -> list[str]:
    """Return the keys of edgeops.yaml that decide what convert makes."""
    keys = ["engine"] if project.stage_using("quantize") else ["engine", "precision"]
    spec = project.stage_using("convert")
    shared = [f"stages.{spec.name}"] if spec and spec.given else []
    data = [key for key in ("data.calibration",) if key in project.given]
    return [*shared, *data, *(f"targets.{target.name}.{key}" for key in keys)]


def _is_file(spec: str | None) -> bool:
    return bool(spec) and ":" not in str(spec)
