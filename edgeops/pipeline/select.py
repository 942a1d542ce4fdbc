"""Which steps a person asked for: ``convert``, ``convert@gateway``, ``--target gateway``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from edgeops.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgeops.core.project import Project
    from edgeops.pipeline.plan import Step


def choose(
    steps: Sequence[Step],
    names: Sequence[str],
    target: str | None,
    project: Project,
    by_hand: Iterable[str] = (),
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Return the steps that ``names`` and ``target`` ask for, and the names of stages by hand.

    No names mean every stage; with a target and no names, every stage of that target. What these
    need is not added. Raises UsageProblem ``run-stage-unknown``, ``run-target-unknown``.
    """
    known_by_hand = set(by_hand)
    if target is not None:
        _check_target(target, project.targets)
    if not names:
        chosen = [step for step in steps if target in (None, step.target)]
        return tuple(chosen), () if target else tuple(known_by_hand)
    found: set[Step] = set()
    others = []
    for name in names:
        stage, _, of_target = name.partition("@")
        if stage in known_by_hand:
            others.append(name)
            continue
        if of_target:
            _check_target(of_target, project.targets)
        found |= set(_matching(steps, name, of_target or None, target))
    return tuple(step for step in steps if step in found), tuple(others)


def _matching(
    steps: Sequence[Step], name: str, of_target: str | None, target: str | None
) -> list[Step]:
    stage = name.partition("@")[0]
    same = [step for step in steps if step.stage == stage]
    if not same:
        raise _unknown_stage(name, [step.stage for step in steps])
    matching = [
        step
        for step in same
        if of_target in (None, step.target)
        and (step.target is None or target in (None, step.target))
    ]
    if not matching:
        raise _unknown_stage(name, [step.address for step in same])
    return matching


def _check_target(target: str, targets: Mapping[str, object]) -> None:
    if target not in targets:
        raise UsageProblem(
            "run-target-unknown",
            f"the project has no target {target!r}",
            why=f"it has: {', '.join(targets) or 'none'}",
            fix=_fix(target, list(targets), "target"),
        )


def _unknown_stage(name: str, known: Sequence[str]) -> UsageProblem:
    return UsageProblem(
        "run-stage-unknown",
        f"the project has no stage {name!r}",
        why=f"it has: {', '.join(dict.fromkeys(known)) or 'none'}",
        fix=_fix(name, known, "stage"),
    )


def _fix(name: str, known: Sequence[str], kind: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"name one of its {kind}s, or leave it out"
