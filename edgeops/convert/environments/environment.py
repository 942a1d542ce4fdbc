"""Make, list and remove the environments that plugins declare: what ``edgeops env`` does.

A device's environment has its own way of being made (``SelfMade``). All others are made with uv
when it is there, else with venv and pip, from the plugin's lock alone: every package in its exact
version, by its hash, no dependency that the lock does not name, no code of a source distribution.
Which index they come from is the machine's own setting; ``PIP_`` variables hold for uv too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.core.environment import (
    BROKEN,
    FORMAT,
    MARKER,
    READY,
    Environment,
    Made,
    SelfMade,
    lock_file,
    look,
    place,
    versions_of,
)
from edgeops.core.files import canonical_json, disk_errors, write_atomic
from edgeops.errors import EdgeopsError, MissingError, UsageProblem
from edgeops.runtime.worker import Refusal, Worker, last_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgeops.core.events import Events

_MB = 10**6
_INSTALL_S = 3600.0
_CHECK_S = 300.0
_WAIT_S = 2.0
_KINDS = ("converters", "engines", "devices")
# uv reads none of pip's settings: what a person set for pip holds for it too.
_PIP_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}


def declared() -> dict[str, Environment]:
    """Return the environments that registered converters, engines and devices declare, by name."""
    plugins = [plugin for kind in _KINDS for plugin in registry.registered(kind)]
    found = [getattr(plugin.value, "environment", None) for plugin in plugins]
    environments = {each.name: each for each in found if isinstance(each, Environment)}
    return dict(sorted(environments.items()))


def list_environments() -> dict[str, Any]:
    """Return every environment with its state, size and Python."""
    rows = [_row(environment) for environment in declared().values()]
    return {"place": str(place()), "environments": rows}


def create_environment(name: str, *, pip: bool = False, events: Events) -> dict[str, Any]:
    """Make an environment, or find that it is ready; older ones of the name are removed then.

    ``pip`` makes it with venv and pip even where uv is.
    Raises UsageProblem ``environment-unknown``; MissingError ``environment-busy``,
    ``environment-python-missing``, ``environment-disk``, ``environment-failed``. Nothing is left
    of what failed.
    """
    environment = named(name)
    with locked(environment):
        if look(environment, locked=True).state == READY:
            return {**_row(environment), "created": False}
        make = environment.make if isinstance(environment, SelfMade) else _maker(environment, pip)
        _require_space(environment, events)
        start = time.perf_counter()
        with _unfinished_removed(environment.folder), disk_errors(environment.folder):
            made = make(events.step)
            _finish(environment, made, time.perf_counter() - start)
        for old in versions_of(environment):
            if old != environment.folder:
                shutil.rmtree(old, ignore_errors=True)
    seconds = round(time.perf_counter() - start, 1)
    return {**_row(environment), "created": True, "tool": made.tool, "seconds": seconds}


def remove_environment(name: str) -> dict[str, Any]:
    """Remove all there is of an environment and return what that freed.

    ``freed_bytes`` leaves out files that uv's cache holds too. Raises as ``create_environment``.
    """
    environment = named(name)
    folders = versions_of(environment)
    size = freed = 0
    if folders:
        with locked(environment):
            for folder in folders:
                all_of_it, own = measure(folder)
                size, freed = size + all_of_it, freed + own
                with disk_errors(folder):
                    # Without its marker it is none, so that a kill in between leaves nothing
                    # that passes for one.
                    (folder / MARKER).unlink(missing_ok=True)
                    shutil.rmtree(folder)
    return {
        "name": name,
        "removed": [str(folder) for folder in folders],
        "bytes": size,
        "freed_bytes": freed,
    }


def named(name: str) -> Environment:
    """Return a declared environment; raises UsageProblem ``environment-unknown``."""
    known = declared()
    if name in known:
        return known[name]
    raise UsageProblem(
        "environment-unknown",
        f"no plugin declares an environment called {name!r}",
        where="NAME",
        why=f"declared: {', '.join(known) or 'none'}",
        fix="edgeops env list shows what each is for",
    )


@contextlib.contextmanager
def locked(environment: Environment) -> Iterator[None]:
    """Hold the environment's lock; raises MissingError ``environment-busy`` when another does."""
    with disk_errors(place()):
        place().mkdir(parents=True, exist_ok=True)
        handle = os.open(lock_file(environment), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + _WAIT_S
        while not _lock(handle):
            if time.monotonic() > deadline:
                raise MissingError(
                    "environment-busy",
                    f"another process is making or removing the environment {environment.name}",
                    where=str(lock_file(environment)),
                    why="it holds the lock",
                    fix="wait until it is done: edgeops env list tells",
                )
            time.sleep(0.05)  # somebody may only be looking
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _unfinished_removed(folder: Path) -> Iterator[None]:
    """Start with no folder, and leave none when the block raises, Ctrl-C included."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    except BaseException:
        (folder / MARKER).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _python(environment: Environment) -> str:
    """Return a Python of the version that the lock is for; none is ever downloaded."""
    version = environment.python
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return getattr(sys, "_base_executable", "") or sys.executable
    found = shutil.which(f"python{version}")
    if found:
        return found
    raise MissingError(
        "environment-python-missing",
        f"{environment.name} needs Python {version}, which is not on this machine",
        where=environment.name,
        why=f"its packages exist for Python {version}; edgeops itself runs on another",
        fix=f"install Python {version} so that python{version} is on PATH: uv python install {version}",
    )


def _tool() -> tuple[str, str]:
    """Return the name and path of what makes environments: uv, or venv and pip."""
    beside = Path(sys.executable).with_name("uv")
    uv = shutil.which("uv") or (str(beside) if beside.is_file() else "")
    return ("uv", uv) if uv else ("pip", "")


def _require_space(environment: Environment, events: Events) -> None:
    free = shutil.disk_usage(place()).free
    needed = environment.megabytes * _MB
    events.step(
        f"making {environment.name}: about {environment.megabytes:,} MB in {place()}, "
        f"where {free // _MB:,} MB are free"
    )
    if free < needed * 1.2:  # files that are being unpacked, and the installer's cache
        raise MissingError(
            "environment-disk",
            f"the environment {environment.name} does not fit on the disk",
            where=str(place()),
            why=f"it takes about {environment.megabytes:,} MB and room to unpack, "
            f"{free // _MB:,} MB are free",
            fix="free some space, or name a folder on another disk: EDGEOPS_ENVS=DIR",
        )


def _maker(environment: Environment, pip: bool) -> Callable[[Callable[[str], None]], Made]:
    """Return what makes an environment from its lock; raises ``environment-python-missing``."""
    python = _python(environment)
    tool = ("pip", "") if pip else _tool()

    def make(tell: Callable[[str], None]) -> Made:
        tell(f"installing {len(environment.versions)} packages with {tool[0]}")
        _install(environment, python, tool)
        tell(f"trying out {environment.name}")
        _try_out(environment)
        return Made(environment.versions, environment.python, tool[0])

    return make


def _install(environment: Environment, python: str, tool: tuple[str, str]) -> None:
    folder, lock = str(environment.folder), str(environment.lock)
    exact = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", lock]
    name, uv = tool
    if name == "uv":
        _run(environment, [uv, "venv", "--quiet", "--python", python, folder])
        target = ["--python", str(environment.executable)]
        options = ["--quiet", "--compile-bytecode", *target]
        _run(environment, [uv, "pip", "install", *options, *exact])
        return
    _run(environment, [python, "-m", "venv", "--symlinks", folder])
    pip = [str(environment.executable), "-m", "pip"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    _run(environment, [*pip, "install", *quiet, *exact])


def _run(environment: Environment, command: list[str]) -> None:
    variables = dict(os.environ)
    for pip, uv in _PIP_TO_UV.items():
        if pip in variables:
            separated = (
                variables[pip].replace(" ", ",") if uv == "UV_FIND_LINKS" else variables[pip]
            )
            variables.setdefault(uv, separated)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**variables, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"},
            timeout=_INSTALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(environment, f"no end after {_INSTALL_S:g} s") from error
    if done.returncode:
        words = last_words(done.stderr or done.stdout)
        raise _failed(environment, words or f"{command[0]} ended with status {done.returncode}")


def _failed(environment: Environment, why: str) -> MissingError:
    return MissingError(
        "environment-failed",
        f"the environment {environment.name} could not be made; nothing is left of it",
        where=str(environment.lock.name),
        why=why,
        fix="see whether the package index can be reached and has these files, then try again; "
        "docs/environments.md says where torch's CPU build comes from",
    )


def _try_out(environment: Environment) -> None:
    """Start the worker and let it import what it needs; raises ``environment-failed``."""
    try:
        with Worker(environment, unfinished=True) as worker:
            worker.ask("hello", timeout_s=_CHECK_S, imports=environment.imports)
    except Refusal as refusal:
        raise _failed(environment, refusal.text()) from refusal
    except EdgeopsError as error:
        raise _failed(environment, f"{error.what}: {error.why}") from error


def _finish(environment: Environment, made: Made, seconds: float) -> None:
    marker = {
        **made.about,
        "format": FORMAT,
        "name": environment.name,
        "lock": f"sha256:{environment.digest}",
        "python": made.python,
        "tool": made.tool,
        "bytes": measure(environment.folder)[0],
        "seconds": round(seconds, 1),
        "packages": dict(made.packages),
    }
    write_atomic(environment.folder / MARKER, canonical_json(marker))


def measure(folder: Path) -> tuple[int, int]:
    """Return the bytes of all files below a folder, and of those that nothing else holds."""
    size = own = 0
    for root, _, files in os.walk(folder):
        for file in files:
            about = os.lstat(os.path.join(root, file))  # noqa: PTH118 - tens of thousands of files
            size += about.st_size
            own += about.st_size if about.st_nlink == 1 else 0
    return size, own


def _row(environment: Environment) -> dict[str, Any]:
    found = look(environment)
    marker: Mapping[str, Any] = found.marker
    return {
        "name": environment.name,
        "state": found.state,
        "why": found.why,
        "python": environment.python or marker.get("python", ""),
        "bytes": marker.get("bytes"),
        "megabytes_needed": environment.megabytes,
        "path": str(environment.folder) if marker or found.state == BROKEN else "",
        "packages": len(marker.get("packages", environment.versions)),
        "about": environment.why,
    }
