"""A project to the ordered steps of its pipeline: pure, so that tests compare literals.

Each stage is planned once a target (or once, for stages of the whole project), and once more with
a stand-in for the target's name. The second plan is the shape that all targets share; it becomes
one DVC matrix stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgeops.core import registry
from edgeops.core.project import FILE, Project, StageSpec, Target
from edgeops.core.stage import Out, StagePlan
from edgeops.errors import Finding, from_findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeops.core.stage import Stage

    Lookup = Callable[[str], Stage]
    Where = Callable[[str], str]

# A character that no name may have, so that what a plan builds from it can be told apart.
PLACEHOLDER = "\ue000"


@dataclass(frozen=True)
class Step:
    """One stage for one target, or for the whole project where ``target`` is None.

    ``template`` is ``plan`` with PLACEHOLDER wherever the target's name stands.
    """

    stage: str
    target: str | None
    uses: str
    plan: StagePlan
    template: StagePlan
    summary: str = ""

    @property
    def address(self) -> str:
        """The name that DVC gives it: ``convert@gateway`` or ``pack``."""
        return f"{self.stage}@{self.target}" if self.target else self.stage

    @property
    def writes(self) -> tuple[str, ...]:
        """Every path that it makes."""
        return written(self.plan)


def written(plan: StagePlan) -> tuple[str, ...]:
    """Return every path that a plan makes, each once."""
    outs = [out.path for out in plan.outs]
    return tuple(dict.fromkeys([*outs, *plan.metrics, *(plot.path for plot in plan.plots)]))


def plan(
    project: Project, lookup: Lookup | None = None, where: Where | None = None
) -> tuple[Step, ...]:
    """Return the steps of a project, each after those whose outputs it reads.

    ``lookup`` finds a stage plugin by name (default: the registry), ``where`` says where a stage
    stands in the file. Raises InputError with every problem: ``path-outside``, ``plan-shape``,
    ``targets-missing``, ``out-taken``, ``stage-cycle``.
    """
    lookup = lookup or partial(registry.get, "stages")
    where = where or (lambda _stage: FILE)
    findings: list[Finding] = []
    steps: list[Step] = []
    for spec in project.stages.values():
        stage = lookup(spec.uses)
        if stage.info.scope == "project":
            steps.append(_project_step(project, spec, stage))
        else:
            steps += _target_steps(project, spec, stage, findings, where)
    findings += _bad_paths(steps, where)
    findings += _taken(steps, where)
    ordered = _ordered(steps, findings, where)
    if findings:
        raise from_findings(findings)
    return ordered


def upstream(steps: Iterable[Step], wanted: Iterable[Step]) -> tuple[Step, ...]:
    """Return ``wanted`` and every step that they need, in the order of ``steps``."""
    steps = tuple(steps)
    needs = dependencies(steps)
    found: set[Step] = set()
    todo = list(wanted)
    while todo:
        step = todo.pop()
        if step not in found:
            found.add(step)
            todo += needs[step]
    return tuple(step for step in steps if step in found)


def dependencies(steps: Iterable[Step]) -> dict[Step, tuple[Step, ...]]:
    """Return for each step those whose outputs it reads."""
    steps = tuple(steps)
    return {
        step: tuple(
            other
            for other in steps
            if any(overlap(dep, out) for dep in step.plan.deps for out in other.writes)
        )
        for step in steps
    }


def overlap(one: str, other: str) -> bool:
    """Return whether two paths are the same or one lies in the other."""
    first, second = PurePosixPath(one).parts, PurePosixPath(other).parts
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]


def fill(template: StagePlan, target: str) -> StagePlan:
    """Return a template's plan for one target."""
    return _mapped(template, lambda text: text.replace(PLACEHOLDER, target))


def _project_step(project: Project, spec: StageSpec, stage: Stage) -> Step:
    made = _normal(stage.plan(project, None, spec.options))
    made = replace(made, params=_tracked(made.params, [frozenset(project.given)]))
    return Step(spec.name, None, spec.uses, made, made, _summary(spec, stage))


def _target_steps(
    project: Project, spec: StageSpec, stage: Stage, findings: list[Finding], where: Where
) -> list[Step]:
    if not project.targets:
        findings.append(
            Finding(
                "targets-missing",
                f"the stage {spec.name!r} runs once a target, and there is no target",
                where=where(spec.name),
                fix="add one: targets: {gateway: {engine: onnxruntime, precision: fp32}}",
            )
        )
        return []
    plans = {
        name: _normal(stage.plan(project, target, spec.options))
        for name, target in project.targets.items()
    }
    shapes = {
        name: _normal(stage.plan(*_stand_in(project, target), spec.options))
        for name, target in project.targets.items()
    }
    findings += _misshapen(spec.name, plans, shapes, where(spec.name))
    first = next(iter(shapes.values()))
    given = [frozenset(_stand_in(project, target)[0].given) for target in project.targets.values()]
    template = replace(first, params=_tracked(first.params, given))
    summary = _summary(spec, stage)
    return [
        Step(spec.name, name, spec.uses, fill(template, name), template, summary)
        for name in project.targets
    ]


def _summary(spec: StageSpec, stage: Stage) -> str:
    return str(getattr(spec.options, "desc", stage.info.summary))


def _stand_in(project: Project, target: Target) -> tuple[Project, Target]:
    """Return project and target with the target called PLACEHOLDER."""
    renamed = replace(target, name=PLACEHOLDER)
    targets = {
        PLACEHOLDER if name == target.name else name: renamed if name == target.name else other
        for name, other in project.targets.items()
    }
    prefix = f"targets.{target.name}"
    given = tuple(
        f"targets.{PLACEHOLDER}{key.removeprefix(prefix)}"
        if key == prefix or key.startswith(prefix + ".")
        else key
        for key in project.given
    )
    return replace(project, targets=targets, given=given), renamed


def _misshapen(
    stage: str, plans: Mapping[str, StagePlan], shapes: Mapping[str, StagePlan], where: str
) -> list[Finding]:
    first, *others = shapes
    odd = [name for name in others if shapes[name] != shapes[first]]
    odd += [name for name, made in plans.items() if fill(shapes[name], name) != made]
    return [
        Finding(
            "plan-shape",
            f"the stage {stage!r} reads or writes other things for {name!r} than for {first!r}",
            where=where,
            why="one DVC stage stands for all targets: only the target's name may differ in paths",
            fix="give such targets a stage of their own, or mend the plugin's plan",
        )
        for name in dict.fromkeys(odd)
    ]


def _tracked(keys: Iterable[str], given: list[frozenset[str]]) -> tuple[str, ...]:
    """Return the keys that every file has, or their nearest parents.

    DVC refuses a key that is not there, and does not notice one that leaves its list: taking the
    parent instead makes both adding and removing a key a change.
    """
    found = []
    for key in keys:
        parts = key.split(".")
        while parts and not all(".".join(parts) in one for one in given):
            parts.pop()
        if parts:
            found.append(".".join(parts))
    unique = tuple(dict.fromkeys(found))
    return tuple(key for key in unique if not any(key.startswith(f"{one}.") for one in unique))


def _normal(made: StagePlan) -> StagePlan:
    return _mapped(made, lambda path: path, path=lambda path: PurePosixPath(path).as_posix())


def _mapped(
    made: StagePlan, text: Callable[[str], str], path: Callable[[str], str] | None = None
) -> StagePlan:
    path = path or text
    return StagePlan(
        deps=tuple(dict.fromkeys(path(dep) for dep in made.deps)),
        outs=tuple(Out(path(out.path), out.persist) for out in made.outs),
        metrics=tuple(path(metric) for metric in made.metrics),
        plots=tuple(replace(plot, path=path(plot.path)) for plot in made.plots),
        params=tuple(text(key) for key in made.params),
        command=text(made.command) if made.command is not None else None,
    )


def _bad_paths(steps: Iterable[Step], where: Where) -> list[Finding]:
    found = {}
    for step in steps:
        for path in (*step.plan.deps, *step.writes):
            pure = PurePosixPath(path)
            if pure.is_absolute() or ".." in pure.parts or not pure.parts:
                found[step.stage, path] = Finding(
                    "path-outside",
                    f"the stage {step.stage!r} names a path that is not in the project: {path}",
                    where=where(step.stage),
                    why="a project is one folder, so that it can be moved, cloned and run by CI",
                    fix="name a file or folder below the project's own by its relative path",
                )
    return list(found.values())


def _taken(steps: list[Step], where: Where) -> list[Finding]:
    return [
        Finding(
            "out-taken",
            f"{one.address} and {other.address} both write {path}",
            where=where(other.stage),
            why="each file has one stage that makes it, or nobody could say which result it is",
            fix="let one of them write somewhere else",
        )
        for index, other in enumerate(steps)
        for one in steps[:index]
        for path in other.writes
        if any(overlap(path, taken) for taken in one.writes)
    ]


def _ordered(steps: list[Step], findings: list[Finding], where: Where) -> tuple[Step, ...]:
    needs = {step: set(others) for step, others in dependencies(steps).items()}
    done: list[Step] = []
    while len(done) < len(steps):
        ready = next((s for s in steps if s not in done and needs[s] <= set(done)), None)
        if ready is None:
            ring = _ring({step: needs[step] - set(done) for step in steps if step not in done})
            findings.append(
                Finding(
                    "stage-cycle",
                    "stages wait for each other: " + " -> ".join(step.address for step in ring),
                    where=where(ring[0].stage),
                    why="each of them reads what the one before it writes, and the first the last's",
                    fix="take one of these paths out of the deps or outs of its stage",
                )
            )
            return ()
        done.append(ready)
    return tuple(done)


def _ring(needs: Mapping[Step, set[Step]]) -> list[Step]:
    """Return a ring of steps, each written before it is read by the next, first and last alike."""
    order = list(needs)
    walked = [order[0]]
    while True:
        ahead = min(needs[walked[-1]], key=order.index)
        if ahead in walked:
            return [ahead, *reversed(walked[walked.index(ahead) :])]
        walked.append(ahead)
