"""The verb ``validate``: a project brought up to date and judged, or one variant, or old evidence."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.core.project import reports
from edgeops.core.verdicts import enforce, judge_project
from edgeops.errors import GateFailed, GateInconclusive, InputError, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.core.project import Project
    from edgeops.stages.validate_verb import Adhoc

_FORMS = (
    "edgeops validate [--target T] [--jobs N], "
    "edgeops validate VARIANT --evaluation DATA --gate ..., "
    "edgeops validate [VARIANT] --baseline FILE, or edgeops validate --replay evidence.json"
)
# What a baseline is recorded or replayed by. Where and how a project's target runs stands in its
# edgeops.yaml; what is measured besides, and judged by, has no part in a baseline.
_LIMITS = {"timeout", "call_timeout", "heartbeat"}
_PLACE = {"device", "threads", "affinity"}
_RECORDED = {"samples", "accept"}
_MAKERS = ("convert", "quantize")
_WORST = ("worst.json", "worst.svg")


@dataclass(frozen=True)
class Request:
    """What was asked.

    ``adhoc`` are the options that only a single variant takes, if given. ``replay`` is a file of
    evidence to judge again, ``record`` and ``baseline`` are baseline files to write or to replay,
    ``junit`` a file that gets the verdicts as JUnit XML.
    """

    root: Path
    variant: Path | None = None
    target: str | None = None
    jobs: int | None = None
    adhoc: Mapping[str, Any] = field(default_factory=dict)
    replay: Path | None = None
    record: Path | None = None
    baseline: Path | None = None
    tolerance: float | None = None
    junit: Path | None = None


def validate_verb(request: Request, *, events: Events) -> dict[str, Any]:
    """Return metrics, gates, verdict and device; raises GateFailed or GateInconclusive with them.

    Without a variant, the project's validate stage is brought up to date through DVC and its
    evidence judged by the gates that edgeops.yaml has now. Raises UsageProblem ``validate-usage``
    for options of the one form given to the other, and what stages raise.
    """
    given = {name: value for name, value in request.adhoc.items() if value}
    _check(request, given)
    if "affinity" in given:
        from edgeops.validate.affinity import processors

        given["affinity"] = processors(given["affinity"])
    try:
        result = _answer(request, given, events)
    except (GateFailed, GateInconclusive) as verdict:
        _write_junit(request, verdict.result)
        raise
    _write_junit(request, result)
    return result


def _answer(request: Request, given: Mapping[str, Any], events: Events) -> dict[str, Any]:
    if request.replay is not None:
        from edgeops.stages.validate_replay import replay_evidence

        return replay_evidence(request.root / request.replay, given.get("gates", ()))
    if request.record is not None or request.baseline is not None:
        return _baseline(request, _adhoc(request, given), events)
    if request.variant is None:
        return _project(request, events)
    from edgeops.stages.validate_verb import validate_variant

    return validate_variant(_adhoc(request, given), events=events)


def _check(request: Request, given: Mapping[str, Any]) -> None:
    """Raise UsageProblem ``validate-usage`` for what does not go together."""
    others = [request.replay, request.record, request.baseline]
    listed = ", ".join(sorted(given))
    if sum(one is not None for one in others) > 1:
        raise _usage("--replay, --record and --baseline are asked for together")
    _check_baseline(request, given)
    numbers = [request.tolerance, *given.values()]
    if not all(math.isfinite(one) for one in numbers if isinstance(one, float)):
        raise _usage("a number of seconds or a tolerance is no finite number")
    if request.jobs and (request.variant or any(one is not None for one in others)):
        raise _usage("--jobs is for the targets of a project that are measured")
    if request.variant is not None and request.target:
        raise _usage("a target is named together with a variant")
    if request.replay is not None:
        if request.variant is not None or request.target or set(given) - {"gates"}:
            raise _usage("evidence is judged again from itself alone, with other --gate at most")
    elif request.variant is None and not (request.record or request.baseline):
        if given:
            raise _usage(f"{listed} given without a variant to measure")
    elif request.variant and request.baseline is None and not given.get("evaluation"):
        raise _usage("no evaluation data is named")


def _check_baseline(request: Request, given: Mapping[str, Any]) -> None:
    """Raise UsageProblem ``validate-usage`` for what is not done when there is a baseline, or none."""
    recorded, replayed = request.record is not None, request.baseline is not None
    if request.tolerance is not None and not (recorded or replayed):
        raise _usage("--tolerance is of --record and --baseline only")
    if recorded and request.junit is not None:
        raise _usage("nothing is judged while a baseline is recorded, so there is no JUnit")
    for file in (request.record, request.junit):
        if file is not None and (request.root / file).is_dir():
            raise _usage(f"{file} is a folder, and a file is to be written")
    if not (recorded or replayed):
        return
    counts = _LIMITS | (_RECORDED if recorded else set())
    counts |= (_PLACE | ({"evaluation"} if recorded else set())) if request.variant else set()
    if idle := sorted(set(given) - counts):
        doing = "recorded" if recorded else "replayed"
        where = "" if request.variant else " of a target, which edgeops.yaml describes"
        raise _usage(
            f"{', '.join(idle)} given, which has no part when a baseline is {doing}{where}"
        )


def _adhoc(request: Request, given: Mapping[str, Any]) -> Adhoc:
    """Return what is measured of a variant folder, or of that of a project's target."""
    from edgeops.stages.validate_verb import Adhoc

    root = request.root
    if request.variant is not None:
        return Adhoc(root / request.variant, root, **given)
    from edgeops.core.project import final_variant
    from edgeops.project.load import load_project

    project = load_project(root)
    names = list(project.targets)
    if request.target not in names and (request.target or len(names) != 1):
        raise _usage(f"say which target with --target: {', '.join(names) or 'there is none'}")
    target = project.targets[request.target or names[0]]
    return Adhoc(
        root / final_variant(project, target.name),
        root,
        evaluation=project.data.evaluation or "",
        device=target.device,
        threads=target.threads,
        affinity=target.affinity,
        **given,
    )


def _baseline(request: Request, adhoc: Adhoc, events: Events) -> dict[str, Any]:
    from edgeops.stages.validate_verb import record_baseline, replay_baseline

    if request.record is not None:
        return record_baseline(
            adhoc, request.root / request.record, request.tolerance, events=events
        )
    file = request.root / str(request.baseline)
    return replay_baseline(adhoc, file, request.tolerance, events=events)


def _project(request: Request, events: Events) -> dict[str, Any]:
    from edgeops.pipeline.run import How, run_pipeline
    from edgeops.project.load import load_project

    project = load_project(request.root)
    stage = _stage(project)
    jobs = request.jobs or _devices(project, request.target)
    # The gates of a run are the same, but what this verb answers is judged below.
    with suppress(GateFailed, GateInconclusive):
        if jobs > 1:
            _make(request, project, stage, events)
        run_pipeline(request.root, (stage,), request.target, How(jobs=jobs), events=events)
    targets = [request.target] if request.target else []
    judged = judge_project(request.root, project, targets)
    for name, one in judged["targets"].items():
        files = [f"{reports(name)}/{file}" for file in _WORST]
        one["worst_files"] = [file for file in files if (request.root / file).is_file()]
    return enforce(judged)


def _devices(project: Project, target: str | None) -> int:
    """Return on how many devices there is something to measure: so many can be at work at once."""
    if target:
        return 1
    return max(1, len({one.device for one in project.targets.values()}))


def _make(request: Request, project: Project, stage: str, events: Events) -> None:
    """Make what is measured first, one after the other: converting would disturb measuring."""
    from edgeops.pipeline.run import run_pipeline

    makers = [name for name, spec in project.stages.items() if spec.uses in _MAKERS]
    if makers and stage not in makers:
        run_pipeline(request.root, makers, request.target, events=events)


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


def _write_junit(request: Request, result: Mapping[str, Any]) -> None:
    if request.junit is None:
        return
    from edgeops.core.files import write_atomic
    from edgeops.report.junit import junit

    write_atomic(request.root / request.junit, junit(result))


def _usage(why: str) -> UsageProblem:
    return UsageProblem(
        "validate-usage", "validate does not take this together", why=why, fix=f"use {_FORMS}"
    )
