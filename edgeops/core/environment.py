"""An environment of its own for a plugin whose packages cannot live beside edgeops's.

A plugin says as data what it needs; this module says where its environment lies and whether it is
there. Making and removing it is ``edgeops env``'s work (convert.environments), talking to it
``runtime.worker``'s. A Python environment cannot be moved once made, so each is made in its last
place, a folder named after the digest of its lock, and counts only when ``MARKER`` is in it, which
is written last.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import sha256_bytes
from edgeops.errors import Finding, MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MARKER = "edgeops-environment.json"
FORMAT = "edgeops.environment/1"
PLACE = "EDGEOPS_ENVS"

READY, MISSING, STALE, BROKEN, BUSY = "ready", "missing", "stale", "broken", "being made"


@dataclass(frozen=True)
class Environment:
    """What a converter or engine needs in an environment of its own: its attribute ``environment``.

    ``python`` is the version of Python (``3.11``), ``lock`` a requirements file that names every
    package with its exact version and hashes, ``worker`` the Python file that runs there (see
    docs/environments.md), ``why`` what the environment is for, in one line; ``megabytes`` what it
    takes on the disk and ``imports`` the modules that must be importable once it is made.
    """

    name: str
    python: str
    lock: Path
    worker: Path
    why: str
    megabytes: int = 0
    imports: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """The sha256 of the lock and the version of Python, in hex."""
        return sha256_bytes(self.python.encode() + b"\n" + self.lock.read_bytes())

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The locked version of each package, by its normalized name."""
        lines = self.lock.read_text().splitlines()
        pairs = (line.split()[0].split("==") for line in lines if "==" in line and line[0] != "#")
        return {pair[0]: pair[1] for pair in pairs}

    @property
    def folder(self) -> Path:
        """Where the environment lies, whether or not it is there."""
        return place() / f"{self.name}-{self.digest[:12]}"

    @property
    def executable(self) -> Path:
        """The environment's own Python."""
        return self.folder / "bin" / "python"


@dataclass(frozen=True)
class SelfMade(Environment):
    """An environment that its own code makes, not uv or pip: ``lock`` names what goes in.

    It may be a device's too, where it is no environment of Python's at all; it has no worker.
    """

    def make(self, tell: Callable[[str], None]) -> Made:
        """Make all of it in ``folder``, which is not there yet; ``tell`` is given each step.

        What raises, an interrupt included, has its folder removed by the caller.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Made:
    """What was made: the version of each package, the Python in it, and what made it."""

    packages: Mapping[str, str]
    python: str
    tool: str
    about: Mapping[str, Any] = field(default_factory=dict)


def shipped(
    name: str, python: str, why: str, megabytes: int, imports: tuple[str, ...]
) -> Environment:
    """Return an environment whose lock and worker come with edgeops itself."""
    data = Path(__file__).parent.parent / "convert" / "environments"
    return Environment(
        name,
        python,
        data / "locks" / f"{name}.txt",
        data / "workers" / f"{name.replace('-', '_')}.py",
        why,
        megabytes,
        imports,
    )


@dataclass(frozen=True)
class Found:
    """What there is of an environment; ``why`` says what is wrong with one that is not ready."""

    state: str
    why: str = ""
    marker: Mapping[str, Any] = field(default_factory=dict)


def place() -> Path:
    """Return the folder of all environments: ``EDGEOPS_ENVS``, else in the user's data folder."""
    named = os.environ.get(PLACE)
    if named:
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME")
    home = Path(data) if data and Path(data).is_absolute() else Path.home() / ".local" / "share"
    return home / "edgeops" / "envs"


def versions_of(environment: Environment) -> list[Path]:
    """Return all folders there are of an environment: of its lock, of older ones, unfinished."""
    if not place().is_dir():
        return []
    prefix, digits = f"{environment.name}-", 12
    return sorted(
        path
        for path in place().iterdir()
        if path.is_dir() and path.name.startswith(prefix) and len(path.name) == len(prefix) + digits
    )


def look(environment: Environment, *, locked: bool = False) -> Found:
    """Return the state of an environment; nothing is started or written.

    ``locked``: this process itself holds the environment's lock.
    """
    folder = environment.folder
    marker = _marker(folder)
    if marker:
        if not os.access(environment.executable, os.X_OK):
            why = f"its Python {os.path.realpath(environment.executable)} is gone"
            return Found(BROKEN, why, marker)
        return Found(READY, "", marker)
    if not locked and is_busy(environment):
        return Found(BUSY, "another process is making it")
    if folder.is_dir():
        return Found(BROKEN, "its making was interrupted")
    others = [found for path in versions_of(environment) if (found := _marker(path))]
    if others:
        return Found(STALE, "it was made from another lock", others[-1])
    return Found(MISSING)


def missing(environment: Environment) -> Finding | None:
    """Return None when an environment can be used, else what is wrong and the line that mends it.

    The codes are ``environment-missing``, ``environment-stale`` and ``environment-broken``.
    """
    found = look(environment)
    if found.state == READY:
        return None
    name = environment.name
    fix = f"edgeops env create {name}"
    if found.state == STALE:
        return Finding(
            "environment-stale",
            f"the environment {name} is not the one that this edgeops needs",
            where=str(place()),
            why=found.why,
            fix=fix,
        )
    if found.state == BROKEN:
        return Finding(
            "environment-broken",
            f"the environment {name} cannot be used",
            where=str(environment.folder),
            why=found.why,
            fix=fix,
        )
    return Finding(
        "environment-missing",
        f"{name} lives in an environment of its own, which is not there",
        where=name,
        why=found.why or f"{environment.why}; its packages cannot be installed beside edgeops's",
        fix=fix,
    )


def require(environment: Environment) -> Path:
    """Return the Python of an environment; raises MissingError with what ``missing`` finds."""
    finding = missing(environment)
    if finding is not None:
        raise MissingError(
            finding.code, finding.what, where=finding.where, why=finding.why, fix=finding.fix
        )
    return environment.executable


def lock_file(environment: Environment) -> Path:
    """Return the file that is locked while an environment is made or removed."""
    return place() / f".{environment.name}.lock"


def is_busy(environment: Environment) -> bool:
    """Return whether a process holds the environment's lock."""
    try:
        handle = os.open(lock_file(environment), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _marker(folder: Path) -> dict[str, Any]:
    try:
        marker = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(marker, dict) or marker.get("format") != FORMAT:
        return {}
    return marker
