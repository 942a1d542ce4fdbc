"""What of a project cannot be validated, found before anything is measured."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from edgeops.core.gates import REVISION, is_measured, parse_name, unknown_gates
from edgeops.core.project import FILE
from edgeops.errors import EdgeopsError, Finding, InputError, from_findings
from edgeops.validate import relative
from edgeops.validate.devices.phone.tools import refuse_binary
from edgeops.validate.figures import names
from edgeops.validate.metrics import figure_name, resolve
from edgeops.validate.slices import figure_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgeops.core.contracts import Samples
    from edgeops.core.project import Project, Target

_COMPARE = "name what to compare with: --source MODEL, --source FP32_VARIANT, or --previous VARIANT"


class Options(Protocol):
    """What of the stage's options is looked at."""

    @property
    def metric(self) -> str:
        """The figure of merit."""

    @property
    def gates(self) -> Mapping[str, str]:
        """Bounds by the name of a figure."""

    def modes(self) -> tuple[str, ...]:
        """Return the figures that only some ways of measuring give."""


def findings(
    root: Path,
    project: Project,
    target: Target,
    options: Options,
    unknown: Callable[[Path, str], str],
) -> Sequence[Finding]:
    """Return gates on nothing, a metric that is not there, and data that cannot serve.

    Data and model that a stage before this one still has to make are not looked at.
    ``unknown(root, revision)`` says why git has no such revision, "" when it has.
    """
    spec = project.stage_using("validate")
    stage = ("stages", spec.name if spec else "validate")
    samples, wrong = _data(root, project, stage)
    published = project.stage_using("publish") is not None
    metric, own = options.metric, options.modes()
    found: list[Finding] = []
    measured = known(figure_name(metric), samples, previous=published, revisions=True, modes=own)
    places = ((options.gates, (*stage, "gates")), (target.gates, ("targets", target.name, "gates")))
    try:
        resolve(metric, root)
    except EdgeopsError as error:  # then gates on the right name of it are no fault
        found.append(_as_finding(error, _where(root, *stage, "metric")))
    else:
        found += [one for there, path in places for one in _gates(root, there, measured, path)]
    found += [one for there, path in places for one in _revisions(root, there, path, unknown)]
    return [*found, *_tool(root, target), *_device(root, target), *wrong]


def _device(root: Path, target: Target) -> list[Finding]:
    """Return why nothing can be measured on the target's device: one connection, a few seconds."""
    from edgeops.validate.devices.reachable import finding

    found = finding(target.device, target.engine, _where(root, "targets", target.name, "device"))
    return [found] if found else []


def _tool(root: Path, target: Target) -> list[Finding]:
    """Return why the benchmark tool that a target names cannot measure there."""
    if not target.binary:
        return []
    try:
        refuse_binary(target.device, root / target.binary, target.engine)
    except EdgeopsError as error:
        return [_as_finding(error, _where(root, "targets", target.name, "binary"))]
    return []


def known(
    metric: str,
    samples: Samples | None = None,
    *,
    source: bool = True,
    fp32: bool = True,
    previous: bool = False,
    revisions: bool = False,
    modes: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the names of all figures that may be gated.

    ``samples`` None says that the data cannot be read yet, so that any part of it may be there.
    ``source``, ``fp32``, ``previous`` and ``revisions`` say what there is to compare with,
    ``modes`` are figures that only the way of measuring gives.
    """
    figures = names(metric, source=source, fp32=fp32)
    if samples is None:
        parts: tuple[str, ...] = (f"{metric}[KEY=VALUE]",)
        parts += (f"{metric}_drop[KEY=VALUE]",) if source else ()
    else:
        parts = figure_names(metric, samples.slices, source=source)
    figures = (*figures, *modes)
    return (*figures, *parts, *relative.known(metric, previous=previous, revisions=revisions))


def refuse_unknown(
    gates: Mapping[str, str],
    metric: str,
    samples: Samples,
    *,
    source: bool = True,
    fp32: bool = True,
    previous: bool = False,
    revisions: bool = False,
    modes: Sequence[str] = (),
) -> None:
    """Raise InputError ``gate-unknown`` for gates on what is not measured; arguments as ``known``."""
    compared = {"source": source, "fp32": fp32, "previous": previous, "revisions": revisions}
    there = known(metric, samples, **compared, modes=modes)
    every = known(metric, samples, previous=True)
    found = []
    for name in gates:
        for finding in unknown_gates({name: ""}, there, "gates" if revisions else "--gate"):
            only = is_measured(name, every)
            found.append(replace(finding, fix=_COMPARE) if only else finding)
    if found:
        raise from_findings(found)


def no_evaluation(where: str) -> Finding:
    """Return the finding on a project that names no evaluation data."""
    return Finding(
        "evaluation-missing",
        "validate needs evaluation data, and edgeops.yaml names none",
        where=where,
        why="accuracy is measured on labelled samples that training never saw",
        fix="add: data: {evaluation: data/evaluation.npz}",
    )


def _data(
    root: Path, project: Project, stage: tuple[str, ...]
) -> tuple[Samples | None, list[Finding]]:
    """Return evaluation data with all slices, None where there is none yet, and what is wrong."""
    from edgeops.model.load import load_model
    from edgeops.project.datasets import samples_for

    evaluation, model = project.data.evaluation, root / project.model
    if not evaluation:
        return None, [no_evaluation(_where(root, *stage))]
    if not (root / evaluation).exists() or not model.is_file():
        return None, []
    try:
        inputs, features = load_model(model).inputs, project.data.features or ""
        return samples_for(
            evaluation, root, inputs, labels=True, features=features, only_few=True
        ), []
    except EdgeopsError as error:
        return None, list(error.findings) or [_as_finding(error, error.where)]


def _as_finding(error: EdgeopsError, where: str) -> Finding:
    return Finding(error.code, error.what, where, error.why, error.fix)


def _gates(
    root: Path, gates: Mapping[str, str], known: Sequence[str], path: tuple[str, ...]
) -> list[Finding]:
    return [
        finding
        for name in gates
        if not is_measured(name, known)
        for finding in unknown_gates({name: ""}, known, _where(root, *path, name))
    ]


def _revisions(
    root: Path,
    gates: Mapping[str, str],
    path: tuple[str, ...],
    unknown: Callable[[Path, str], str],
) -> list[Finding]:
    """Return a finding for every gate against a revision that git does not know."""
    found = []
    for name in gates:
        # A name that is none has its own finding from reading edgeops.yaml.
        with suppress(ValueError):
            parts = parse_name(name)
            why = unknown(root, parts.value) if parts.key == REVISION else ""
            if why:
                found.append(
                    Finding(
                        "gate-revision",
                        f"the gate {name!r} compares with a revision that git does not know",
                        where=_where(root, *path, name),
                        why=why,
                        fix="name a branch, tag or commit that is here; in a shallow clone: "
                        "git fetch --unshallow --tags",
                    )
                )
    return found


def _where(root: Path, *path: str) -> str:
    """Return ``edgeops.yaml:LINE:COL`` of a key, or of the nearest above it."""
    from edgeops.project.load import load

    try:
        return load(root).where(*path)
    except InputError:
        return FILE
