"""What of a project cannot be validated, found before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core.gates import unknown_gates
from edgeops.core.project import FILE
from edgeops.errors import EdgeopsError, Finding, InputError
from edgeops.validate.figures import names
from edgeops.validate.metrics import figure_name, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.project import Project, Target


def findings(
    root: Path, project: Project, target: Target, metric: str, gates: Mapping[str, str]
) -> Sequence[Finding]:
    """Return gates on nothing, a metric that is not there, and data that cannot serve.

    Data and model that a stage before this one still has to make are not looked at.
    """
    spec = project.stage_using("validate")
    stage = ("stages", spec.name if spec else "validate")
    measured = names(figure_name(metric))
    found = [
        *_gates(root, gates, measured, (*stage, "gates")),
        *_gates(root, target.gates, measured, ("targets", target.name, "gates")),
    ]
    try:
        resolve(metric, root)
    except EdgeopsError as error:
        found.append(_as_finding(error, _where(root, *stage, "metric")))
    return [*found, *_data(root, project, stage)]


def no_evaluation(where: str) -> Finding:
    """Return the finding on a project that names no evaluation data."""
    return Finding(
        "evaluation-missing",
        "validate needs evaluation data, and edgeops.yaml names none",
        where=where,
        why="accuracy is measured on labelled samples that training never saw",
        fix="add: data: {evaluation: data/evaluation.npz}",
    )


def _data(root: Path, project: Project, stage: tuple[str, ...]) -> list[Finding]:
    from edgeops.model.load import load_model
    from edgeops.project.datasets import samples_for

    evaluation, model = project.data.evaluation, root / project.model
    if not evaluation:
        return [no_evaluation(_where(root, *stage))]
    if not (root / evaluation).is_file() or not model.is_file():
        return []
    try:
        samples_for(evaluation, root, load_model(model).inputs, labels=True)
    except EdgeopsError as error:
        return list(error.findings) or [_as_finding(error, error.where)]
    return []


def _as_finding(error: EdgeopsError, where: str) -> Finding:
    return Finding(error.code, error.what, where, error.why, error.fix)


def _gates(
    root: Path, gates: Mapping[str, str], known: Sequence[str], path: tuple[str, ...]
) -> list[Finding]:
    return [
        finding
        for name in gates
        if name not in known
        for finding in unknown_gates({name: ""}, known, _where(root, *path, name))
    ]


def _where(root: Path, *path: str) -> str:
    """Return ``edgeops.yaml:LINE:COL`` of a key, or of the nearest above it."""
    from edgeops.project.load import load

    try:
        return load(root).where(*path)
    except InputError:
        return FILE
