"""The verb ``report``: evidence and dvc.lock to one value, rendered and handed to where it is read.

The report as a value (what ``--json`` prints): ``project``, ``version``, ``verdict``, ``against``
(None or name and commit), ``targets`` (a list; each has ``name``, ``verdict``, ``figures``,
``gates``, ``notes``, ``missing``), ``gates`` (of all targets) and ``rebuilt``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.evidence import Evidence, read_evidence
from edgeops.core.files import canonical_json, write_atomic
from edgeops.core.project import evidence_file
from edgeops.core.verdicts import enforce, gates_of, summary
from edgeops.errors import InputError
from edgeops.report.compare import comparable, figure_changes, rebuilt
from edgeops.report.github import append_summary, workflow_commands
from edgeops.report.junit import junit
from edgeops.report.markdown import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.events import Events
    from edgeops.core.project import Project, Target
    from edgeops.report.revision import Revision

SUMMARY = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True)
class Request:
    """What was asked: ``form`` is md, json or junit, ``out`` a file relative to ``root``."""

    root: Path
    form: str = "md"
    out: Path | None = None
    against: str = ""
    check: bool = False


def report_verb(
    request: Request, *, events: Events, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the report, having written it where it was asked for and where a CI job reads it.

    Raises InputError ``evidence-missing`` when no target was ever measured, ``against-no-git`` or
    ``against-unknown``; with ``check``, GateFailed or GateInconclusive that carry the report.
    """
    from edgeops.project.load import load_project

    environ = os.environ if environ is None else environ
    project = load_project(request.root)
    events.step("reading what was measured")
    now = _evidence(request.root, project)
    before = _before(request, project, events)
    report = build(project, now, before, _lock(request.root))
    markdown = render(report)
    shown = _written(report, "junit", "").decode() if request.form == "junit" else markdown
    result = {**report, "markdown": shown, "annotations": [], "output": None}
    if request.out:
        write_atomic(request.root / request.out, _written(report, request.form, markdown))
        result["output"] = str(request.out)
    if environ.get(SUMMARY):
        append_summary(Path(environ[SUMMARY]), markdown)
        result["annotations"] = workflow_commands(report["gates"])
    return enforce(result) if request.check else result


def _written(report: Mapping[str, Any], form: str, markdown: str) -> bytes:
    """Return a report as it is written to a file."""
    if form == "json":
        return canonical_json(report)
    return junit(report, report["project"]) if form == "junit" else markdown.encode()


def build(
    project: Project,
    now: Mapping[str, Evidence],
    before: Revision | None,
    lock: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the report as a value; opens no file. ``now`` has the targets that were measured."""
    targets = [
        _target(target, now.get(name), gates_of(project, target), before)
        for name, target in project.targets.items()
    ]
    words = [target["verdict"] for target in targets]
    return {
        "project": project.name,
        "version": project.version,
        "verdict": next((word for word in ("fail", "inconclusive") if word in words), "pass"),
        "against": {"name": before.name, "commit": before.commit} if before else None,
        "targets": targets,
        "gates": [gate for target in targets for gate in target["gates"]],
        "rebuilt": rebuilt(lock, before.lock) if before else [],
    }


def _target(
    target: Target, now: Evidence | None, gates: Mapping[str, str], before: Revision | None
) -> dict[str, Any]:
    if now is None:
        return {
            "name": target.name,
            "verdict": "inconclusive",
            "missing": "it was not measured yet: edgeops run validate",
            "engine": target.engine,
            "precision": target.precision,
            "figures": {},
            "gates": [],
            "notes": [],
            "no_before": "",
            "incomparable": "",
        }
    then = before.evidence.get(target.name) if before else None
    lacking = before.missing.get(target.name, "") if before else ""
    found = summary(now, gates)
    return {
        "name": target.name,
        "verdict": found["verdict"],
        "missing": "",
        "engine": now.engine,
        "engine_version": now.engine_version,
        "precision": now.precision,
        "threads": now.threads,
        "date": found["date"],
        "evidence": found["evidence"],
        "device": found["device"],
        "figures": figure_changes(now, then),
        "gates": found["gates"],
        "notes": found["notes"],
        "no_before": f"`{before.name}` has nothing to compare with: {lacking}"
        if before and lacking
        else "",
        "incomparable": comparable(now, then) if then else "",
    }


def _evidence(root: Path, project: Project) -> dict[str, Evidence]:
    """Return the evidence of the targets that have any; InputError when none has."""
    files = {name: root / evidence_file(name) for name in project.targets}
    found = {name: read_evidence(path) for name, path in files.items() if path.is_file()}
    if not found:
        raise InputError(
            "report-empty",
            "there is nothing to report: no target was measured yet",
            where=str(root),
            why=f"none of {', '.join(evidence_file(name) for name in project.targets)} is there",
            fix="measure first: edgeops run validate",
        )
    return found


def _before(request: Request, project: Project, events: Events) -> Revision | None:
    if not request.against:
        return None
    from edgeops.report.revision import read_revision

    events.step(f"reading what {request.against} measured")
    return read_revision(request.root, request.against, project.targets)


def _lock(root: Path) -> dict[str, Any]:
    from edgeops.report.revision import LOCK, read_lock

    path = root / LOCK
    return read_lock(path.read_bytes()) if path.is_file() else {}
