"""The stage contract, version 1: ``plan`` is pure, ``run`` goes from files to files (ADR 0001).

A stage plugin is a class registered under the entry-point group ``edgeops.stages``; its instances
are made without arguments. All paths in a plan are relative to the project's folder, with ``/``.
Plans of one stage for different targets may differ only where the target's name stands in a path
or key: that is what lets one DVC matrix stage describe them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.core.project import Project, Target
    from edgeops.errors import Finding

API = 1


@dataclass(frozen=True)
class Out:
    """A file or folder that a stage writes; a ``persist`` one is kept before the stage runs again."""

    path: str
    persist: bool = False


@dataclass(frozen=True)
class Plot:
    """A table that ``dvc plots`` draws: ``x`` and ``y`` are column names."""

    path: str
    x: str
    y: str
    template: str = "linear"
    title: str = ""


@dataclass(frozen=True)
class StagePlan:
    """What a stage reads and writes.

    ``params`` are the keys of edgeops.yaml that its result depends on, dotted. ``command`` is a
    shell command to run instead of ``edgeops stage NAME``.
    """

    deps: tuple[str, ...] = ()
    outs: tuple[Out, ...] = ()
    metrics: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    params: tuple[str, ...] = ()
    command: str | None = None


@dataclass(frozen=True)
class StageInfo:
    """What a stage says of itself: ``scope`` is whether it runs once a target or once a project."""

    name: str
    summary: str
    scope: Literal["target", "project"] = "target"
    api: int = API


@dataclass(frozen=True)
class StageContext:
    """What a running stage is given; ``root`` is the project's folder, never the working directory."""

    root: Path
    project: Project
    stage: str
    target: Target | None
    events: Events

    def path(self, relative: str) -> Path:
        """Return a path of the plan as one that can be opened."""
        return self.root / relative


@dataclass(frozen=True)
class StageResult:
    """What a stage did: ``figures`` by name, ``notes`` for a person."""

    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def one_target(target: Target | None) -> Target:
    """Return the target of a stage with the scope ``target``, which always has one."""
    if target is None:
        raise TypeError("a stage with the scope target was called without one")
    return target


class Stage(Protocol):
    """One step of the pipeline.

    ``Options`` is a frozen dataclass whose fields are the keys that edgeops.yaml may state under
    the stage; unknown keys and wrong types are refused before ``plan`` is called.
    """

    info: StageInfo
    Options: type[Any]

    def plan(self, project: Project, target: Target | None, options: Any) -> StagePlan:
        """Return what the stage reads and writes; pure, touches no file."""

    def preflight(
        self, root: Path, project: Project, target: Target | None, options: Any
    ) -> Sequence[Finding]:
        """Return every problem that can be seen before time is spent; writes nothing."""

    def run(self, context: StageContext, options: Any) -> StageResult:
        """Make the outs of the plan from its deps, raising EdgeopsError when that is impossible."""
