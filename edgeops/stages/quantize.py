"""The quantize stage and the verb of the same name: a smaller variant within an accuracy budget.

How a variant is judged, with a metric or without one: ``edgeops.stages.quantize_judge``.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from edgeops.core.files import folder_atomic
from edgeops.core.project import converted, quantized
from edgeops.core.stage import Out, StageContext, StageInfo, StagePlan, StageResult, one_target
from edgeops.errors import EdgeopsError, Finding
from edgeops.stages.quantize_engine import FloatSource, makes, no_engine
from edgeops.stages.quantize_variant import (
    QuantizeOptions,
    no_calibration,
    quantize_variant,
    scheme_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.project import Project, Target

_JUDGED_BY = ("metric", "output")


class Quantize:
    """Makes the int8 or fp16 variant of a target from its converted one."""

    info = StageInfo("quantize", "Make a smaller variant within an accuracy budget.")
    Options = QuantizeOptions

    def plan(
        self,
        project: Project,
        target: Target | None,
        options: QuantizeOptions,  # noqa: ARG002 - the plan is the same for all of them
    ) -> StagePlan:
        """Return the converted variant and the data sets as deps, the quantized variant as out."""
        target = one_target(target)
        sets = (project.data.calibration, project.data.evaluation, project.data.features)
        # Engines that do not run ONNX are quantized from the model itself.
        deps = [
            converted(target.name),
            project.model,
            *(path for path in sets if path and ":" not in path),
        ]
        return StagePlan(
            deps=tuple(dict.fromkeys(deps)),
            outs=(Out(quantized(target.name)),),
            params=tuple(_params(project, target)),
        )

    def preflight(
        self, root: Path, project: Project, target: Target | None, options: QuantizeOptions
    ) -> Sequence[Finding]:
        """Return what is missing or does not fit: data sets, a scheme or engine that cannot be."""
        target = one_target(target)
        if target.precision == "fp32":
            return []
        findings = []
        if not makes(target.engine, target.precision):
            findings.append(no_engine(target.engine, target.precision))
        if scheme_of(options.scheme, target.precision) == "static" and not project.data.calibration:
            findings.append(no_calibration())
        return findings + _misfits(root, project)

    def run(self, context: StageContext, options: QuantizeOptions) -> StageResult:
        """Make the variant, or pass an fp32 one through.

        Raises what ``quantize_variant`` does.
        """
        target = one_target(context.target)
        source, out = context.path(converted(target.name)), context.path(quantized(target.name))
        if target.precision == "fp32":
            _pass_through(source, out)
            return StageResult(notes=("fp32 target: passed through unchanged",))
        metric, output = _metric_of(context.project)
        result = quantize_variant(
            source,
            out,
            root=context.root,
            precision=target.precision,
            options=options,
            data=context.project.data,
            metric=metric,
            output=output,
            events=context.events,
            model=_float_source(context.path(context.project.model), context.project, target),
        )
        return StageResult(figures=_figures(result), notes=tuple(result["notes"]))


def _float_source(model: Path, project: Project, target: Target) -> FloatSource:
    """Return the model and the recipe that convert made the target's float variant by."""
    from edgeops.convert.make import Recipe

    spec = project.stage_using("convert")
    given = spec.options if spec else None
    recipe = Recipe(
        input_shapes=getattr(given, "input_shapes", None) or {},
        simplify=getattr(given, "simplify", True),
        via=(getattr(given, "via", None) or {}).get(target.engine, ""),
        opset=getattr(given, "opset", Recipe.opset),
    )
    return FloatSource(model, recipe)


def _pass_through(source: Path, out: Path) -> None:
    """Copy a variant file by file, so that its digests stay what they are."""
    with folder_atomic(out) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)


def _figures(result: Mapping[str, Any]) -> dict[str, float]:
    figures = {"model_mb": result["bytes_after"] / 1e6, "tries": float(len(result["tried"]))}
    if result["metric"]:
        name = result["metric"]["name"]
        figures |= {name: result["metric"]["after"], f"{name}_drop": result["metric"]["drop"]}
    if result["agreement"] is not None:
        figures["agreement"] = result["agreement"]
    return figures


def _metric_of(project: Project) -> tuple[str, str]:
    """Return the metric that validate judges by and the output it looks at, empty where unstated.

    With rules validate looks at an answer of theirs; here there is the model alone.
    """
    spec = project.stage_using("validate")
    options = spec.options if spec else None
    output = "" if getattr(options, "rules", "") else getattr(options, "output", "")
    return getattr(options, "metric", "") or "", output or ""


def _params(project: Project, target: Target) -> list[str]:
    """Return the keys of edgeops.yaml that decide what quantize makes."""
    spec, judge = project.stage_using("quantize"), project.stage_using("validate")
    shared = [f"stages.{spec.name}.{key}" for key in spec.given] if spec else []
    if judge:
        shared += [f"stages.{judge.name}.{key}" for key in judge.given if key in _JUDGED_BY]
    stated = [*shared, "data.calibration", "data.evaluation", "data.features"]
    own = [f"targets.{target.name}.{key}" for key in ("engine", "precision")]
    return [*(key for key in stated if key in project.given), *own]


def _misfits(root: Path, project: Project) -> list[Finding]:
    """Return what of the data does not fit the model, when no stage makes either anew."""
    from edgeops.model.load import load_model
    from edgeops.project.datasets import samples_for

    features = project.data.features or ""
    metric = bool(_metric_of(project)[0])
    stated = ((project.data.calibration, False), (project.data.evaluation, metric))
    sets = [(path, labels) for path, labels in stated if path and (root / path).exists()]
    made = [out for spec in project.stages.values() for out in getattr(spec.options, "outs", ())]
    names = [project.model, *(path for path, _ in sets)]
    if any(name == out or name.startswith(f"{out}/") for name in names for out in made):
        return []
    if not (root / project.model).is_file():
        return []
    findings: list[Finding] = []
    try:
        inputs = load_model(root / project.model).inputs
    except EdgeopsError as error:
        return _as_findings(error)
    for path, labels in sets:
        try:
            samples_for(path, root, inputs, labels=labels, features=features, only_few=True)
        except EdgeopsError as error:
            findings += _as_findings(error)
    return findings


def _as_findings(error: EdgeopsError) -> list[Finding]:
    alone = Finding(error.code, error.what, error.where, error.why, error.fix)
    return list(error.findings) or [alone]
