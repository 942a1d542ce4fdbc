"""What can be known to go wrong before the first slow step: all of it, at once."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.core.files import meant, trusted_links
from edgeops.core.project import FILE
from edgeops.errors import (
    EdgeopsError,
    Finding,
    InputError,
    MissingError,
    RefusedError,
    TransportError,
    from_findings,
)
from edgeops.pipeline.plan import overlap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.project import Project
    from edgeops.core.stage import Stage
    from edgeops.pipeline.plan import Step
    from edgeops.project.load import Loaded

_NAME_STAGE = "put it there, mend its name, or name the stage that makes it in that stage's outs"
_CLASSES: dict[int, type[EdgeopsError]] = {
    kind.exit_code: kind for kind in (InputError, MissingError, RefusedError, TransportError)
}


def preflight(
    root: Path,
    loaded: Loaded,
    chosen: Sequence[Step],
    every: Sequence[Step],
    by_hand: Mapping[str, Any],
    running: Sequence[Step] = (),
) -> list[Finding]:
    """Return every finding on the ``chosen`` steps; ``every`` step and stage by hand may make files.

    ``running`` are the steps that will run: what lies in a folder that another one made earlier has
    to be there. Calls each stage's own preflight; a finding without a place gets that of its stage.
    """
    will = [path for step in running for path in step.writes] + _outs(by_hand)
    made = {path: step.stage for step in every for path in step.writes}
    found: dict[tuple[str, str, str], Finding] = {}
    for gone in _missing(root, loaded, chosen, made, will):
        found[gone.code, gone.where, gone.what] = gone
    for step in chosen:
        for finding in _own(root, loaded.project, step):
            placed = replace(finding, where=_place(loaded, step, finding.where))
            found.setdefault((placed.code, placed.where, placed.what), placed)
    return list(found.values())


def lasting(
    root: Path, loaded: Loaded, at_work: Sequence[Step], every: Sequence[Step], by_hand: Any
) -> list[Finding]:
    """Return the findings on the steps that have work to do and that this work does not mend.

    A broken model whose stage is about to make it anew must not keep that stage from running. What
    a stage finds is asked twice: with the project as it is, and with all that is made anew absent.
    """
    found = preflight(root, loaded, at_work, every, by_hand, at_work)
    anew = [out.path for step in at_work for out in step.plan.outs if not out.persist]
    if not found or not any((root / path).exists() for path in anew):
        return found
    with tempfile.TemporaryDirectory(prefix="edgeops-preflight-") as name:
        view = Path(name)
        _link_all_but(root, view, {PurePosixPath(path).parts for path in anew})
        with trusted_links(view, root):
            seen = preflight(view, loaded, at_work, every, by_hand, at_work)
        still = {(finding.code, finding.where.replace(name, str(root))) for finding in seen}
    return [finding for finding in found if (finding.code, finding.where) in still]


def _link_all_but(folder: Path, view: Path, without: set[tuple[str, ...]]) -> None:
    """Make ``view`` look like ``folder`` through links, without some paths below it."""
    for entry in folder.iterdir():
        below = {parts[1:] for parts in without if parts[:1] == (entry.name,)}
        if not below:
            (view / entry.name).symlink_to(entry)
        elif () not in below and entry.is_dir():
            (view / entry.name).mkdir()
            _link_all_but(entry, view / entry.name, below)


def refusal(findings: Sequence[Finding]) -> EdgeopsError:
    """Return one error with all findings; its exit code is theirs where they agree, else 3."""
    from edgeops.pipeline.explain import texts

    known = texts()
    exits = {known.get(finding.code, {}).get("exit", 3) for finding in findings}
    kind = _CLASSES.get(exits.pop(), InputError) if len(exits) == 1 else InputError
    return from_findings(findings, kind)


def _place(loaded: Loaded, step: Step, where: str) -> str:
    """Return where a finding is: an option of the stage, or nothing, becomes a place in the file."""
    if where and where not in loaded.project.stages[step.stage].given:
        return where
    return loaded.where("stages", step.stage, *([where] if where else []))


def _own(root: Path, project: Project, step: Step) -> Sequence[Finding]:
    """Return what the stage itself finds; one that refuses outright counts as finding too."""
    spec = project.stages[step.stage]
    target = project.targets[step.target] if step.target else None
    stage: Stage = registry.get("stages", spec.uses)
    try:
        return stage.preflight(root, project, target, spec.options)
    except EdgeopsError as error:
        alone = Finding(error.code, error.what, error.where, error.why, error.fix)
        return error.findings or [alone]


def _missing(
    root: Path,
    loaded: Loaded,
    chosen: Sequence[Step],
    made: Mapping[str, str],
    will: Sequence[str],
) -> list[Finding]:
    """Return a finding for every file that is read, is not there and will be made by nobody.

    ``made`` is what stages write, with their names; ``will`` is what is written for certain.
    """
    readers: dict[str, list[str]] = {}
    for step in chosen:
        for dep in step.plan.deps:
            if step.stage not in readers.setdefault(dep, []):
                readers[dep].append(step.stage)
    found = []
    for dep, stages in readers.items():
        if (root / dep).exists() or _tracked(root, dep) or any(overlap(dep, out) for out in will):
            continue
        makers = [out for out in made if overlap(dep, out)]
        # A folder that is there was made without it; one that is not comes back whole, from a cache.
        lacking = [out for out in makers if out != dep and (root / out).is_dir()]
        if len(lacking) < len(makers):
            continue
        why, fix = f"no stage makes it either, by its outs in {FILE}", _NAME_STAGE
        if lacking:
            why = f"{made[lacking[0]]} makes {lacking[0]}, and it is not in there"
            fix = meant(root / dep, f"mend its name, or have {made[lacking[0]]} write it")
        what = f"{dep} is not there, and {' and '.join(stages)} read{'s' * (len(stages) == 1)} it"
        found.append(Finding("dep-missing", what, loaded.where("stages", stages[0]), why, fix))
    return found


def _tracked(root: Path, path: str) -> bool:
    """Return whether ``dvc add`` tracks the path or a folder above it: DVC then says more itself."""
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any((root / f"{one}.dvc").is_file() for one in above)


def _outs(by_hand: Mapping[str, Any]) -> list[str]:
    """Return what the stages of a person's write, where that is told by plain paths."""
    found = []
    for stage in by_hand.values():
        inner = stage.get("do", stage) if isinstance(stage, dict) else {}
        for key in ("outs", "metrics", "plots"):
            for out in inner.get(key) or []:
                path = next(iter(out)) if isinstance(out, dict) else out
                found.append(str(path).partition("${")[0] or ".")
    return found
