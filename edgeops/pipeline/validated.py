"""The verb ``validate``: a project brought up to date and judged, or one variant measured ad hoc."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.core.verdicts import enforce, judge_project
from edgeops.errors import GateFailed, GateInconclusive, InputError, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.core.project import Project

_FORMS = "edgeops validate [--target T], or edgeops validate VARIANT --evaluation DATA --gate ..."


@dataclass(frozen=True)
class Request:
    """What was asked; ``adhoc`` are the options that only a single variant takes, if given."""

    root: Path
    variant: Path | None = None
    target: str | None = None
    adhoc: Mapping[str, Any] = field(default_factory=dict)


def validate_verb(request: Request, *, events: Events) -> dict[str, Any]:
    """Return metrics, gates, verdict and device; raises GateFailed or GateInconclusive with them.

    Without a variant, the project's validate stage is brought up to date through DVC and its
    evidence judged by the gates that edgeops.yaml has now. Raises UsageProblem ``validate-usage``
    for options of the one form given to the other, and what stages raise.
    """
    given = {name: value for name, value in request.adhoc.items() if value}
    if request.variant is None:
        if given:
            raise _usage(f"{', '.join(sorted(given))} given without a variant to measure")
        return _project(request, events)
    if request.target:
        raise _usage("a target and a variant are both named")
    if not given.get("evaluation"):
        raise _usage("no evaluation data is named")
    from edgeops.stages.validate import validate_variant

    return validate_variant(
        request.root / request.variant, **given, root=request.root, events=events
    )


def _project(request: Request, events: Events) -> dict[str, Any]:
    from edgeops.pipeline.run import run_pipeline
    from edgeops.project.load import load_project

    project = load_project(request.root)
    stage = _stage(project)
    # The gates of a run are the same, but what this verb answers is judged below.
    with suppress(GateFailed, GateInconclusive):
        run_pipeline(request.root, (stage,), request.target, events=events)
    targets = [request.target] if request.target else []
    return enforce(judge_project(request.root, project, targets))


def _stage(project: Project) -> str:
    spec = project.stage_using("validate")
    if spec is None:
        raise InputError(
            "validate-missing",
            "the project has no stage that validates",
            where="edgeops.yaml",
            why="what is measured, and the gates, stand in the stage validate",
            fix="add: stages: {validate: {metric: accuracy, gates: {accuracy: '>= 0.95'}}}",
        )
    return spec.name


def _usage(why: str) -> UsageProblem:
    return UsageProblem(
        "validate-usage", "validate does not take this together", why=why, fix=f"use {_FORMS}"
    )
