"""Power cuts and full disks at any step of the agent, and what must hold after them."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgeops.core import lifecycle
from edgeops.runtime.agent import files, slots
from edgeops.runtime.agent.home import Home
from edgeops.runtime.agent.update import Options, update

if TYPE_CHECKING:
    from pathlib import Path

# What needs no room on a disk.
FREE = {"unlink", "rmdir", "fsync"}


class PowerCut(BaseException):
    """The device has no power from here on."""


@dataclass
class Cut:
    """Ends the power at the n-th step; what was not flushed to the disk turns into zeros."""

    at: int
    steps: int = 0
    loose: dict[Path, int] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)

    def __call__(self, name: str, path: Path) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.lose()
        if self.steps >= self.at:
            raise PowerCut
        self.trace.append(f"{name} {path.name}")
        if name in ("open", "write"):
            self.loose.setdefault(path, 0)
        elif name == "fsync":
            self.loose.pop(path, None)

    def lose(self) -> None:
        """Do to the disk what losing its cache does, at worst."""
        for path in self.loose:
            if path.is_file() and not path.is_symlink():
                size = path.stat().st_size
                os.truncate(path, size // 2)
                os.truncate(path, size)


@dataclass
class Full:
    """Has no room from the n-th step on, or at that step alone."""

    at: int
    once: bool = False
    steps: int = 0

    def __call__(self, name: str, path: Path) -> None:
        if name in FREE:
            return
        self.steps += 1
        if self.steps == self.at or (self.steps > self.at and not self.once):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))


@contextmanager
def watching(watch: Any):
    """Have the agent's steps told to ``watch``."""
    files.watch = watch
    try:
        yield watch
    finally:
        files.watch = None


class Yes:
    """A warm-up that accepts everything and takes no time."""

    accepted, why, code, fix, probation_s = True, "", "", "", 0.0

    def commit(self) -> None: ...

    def abort(self) -> None: ...


def updater(folder: Path) -> Any:
    """Return what updates ``folder/home`` from what ``_agent_repo.anchored`` made, loading nothing."""

    def run(activate: Any = lambda *_: Yes(), now: Any = None, **changes: Any) -> dict[str, Any]:
        options = Options(folder / "home", str(folder / "repo"), folder / "root.json")
        return update(replace(options, **changes), activate=activate, now=now)

    return run


def updated(options: Options, **more: Any) -> dict[str, Any]:
    """Update without loading anything."""
    return update(options, activate=lambda *_: Yes(), **more)


def served(home: Path) -> str:
    """Return the digest that ``current`` leads to, "" for none, having checked all of it."""
    place = Home(home)
    if not os.path.lexists(place.current):
        return ""
    folder = place.current.resolve(strict=True)
    assert slots.damaged(folder) == []
    return slots.read_manifest(folder).descriptor.digest


def tidy(home: Path) -> None:
    """Check that a home at rest has what its slots need, and nothing else."""
    place = Home(home)
    state = place.read()
    assert state.problem == ""
    assert state.state in lifecycle.AT_REST
    assert state.candidate is None
    kept = [slot for slot in (state.current, state.previous) if slot]
    assert {path.name for path in place.slots.iterdir()} == {slot.name for slot in kept}
    assert place.linked(place.current) == (state.current.name if state.current else "")
    assert place.linked(place.previous) == (state.previous.name if state.previous else "")
    stored = {path.name for path in place.blobs.iterdir()}
    assert stored <= slots.needed(place, kept)
    assert list(place.partial.iterdir()) == []
    assert list(home.rglob(".new-*")) == []
