"""What a device lacks for measuring, and the line that installs it there."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, ExitCode, MissingError, TransportError
from edgeops.validate.devices.remote.trouble import full, is_full, last_words, lost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.validate.devices.remote.shell import Done, Shell

_NOT_FOUND = (126, 127)
# A shell ends with this and the number of the signal that ended what it ran; ssh with 255.
_SIGNALS = 128
_OLDEST = (3, 9)
_ASK_S = 60.0
# The package that has each engine's library, as it is installed on a device.
PACKAGES = {
    "onnxruntime": "onnxruntime",
    "litert": "ai-edge-litert",
    "mnn": "MNN",
    "ncnn": "ncnn",
    "openvino": "openvino",
}
# The modules of which an engine needs one.
MODULES = {
    "onnxruntime": ("onnxruntime",),
    "litert": ("ai_edge_litert", "tflite_runtime"),
    "mnn": ("MNN",),
    "ncnn": ("ncnn",),
    "openvino": ("openvino",),
}
# Nothing that an old Python does not understand: it is to say that it is old.
_LOOK = """
import sys
try:
    from importlib.util import find_spec
except ImportError:
    find_spec = bool
say = lambda *names: "yes" if not names or any(find_spec(name) for name in names) else "no"
print("=%%d.%%d.%%d" %% sys.version_info[:3] + " " + say("numpy") + " " + say(*%r))
"""
# What the measuring program reports of an engine that is there and of no use.
_BROKEN = ("engine-wrong-machine", "engine-import-failed")


def there(shell: Shell, command: str) -> str:
    """Return the line that runs a command on the device, for a person to type here.

    ``login`` is what a shell may have: the words that a person puts before a command.
    """
    login = str(getattr(shell, "login", ""))
    return f"{login} {command}" if login else f"on the device: {command}"


def install_line(shell: Shell, python: str, package: str, *, again: bool = False) -> str:
    """Return the line that installs a Python package on the device."""
    options = "--force-reinstall --no-cache-dir " if again else ""
    return there(shell, f"{python} -m pip install {options}{package}")


def fix_of(about: Mapping[str, Any], shell: Shell, python: str) -> str:
    """Return how to mend there what the measuring program reports, in its own words if need be."""
    code, engine = about.get("code"), str(about.get("where") or "")
    package = PACKAGES.get(engine, engine)
    if code == "numpy-missing":
        return f"install it there: {install_line(shell, python, 'numpy')}"
    if code == "engine-missing":
        return f"install it there: {install_line(shell, python, package)}"
    if code in _BROKEN:
        again = install_line(shell, python, package, again=True)
        return f"install its wheel for the device's own processor there: {again}"
    return str(about.get("fix") or "")


def engines_there(engines: Mapping[str, Any], shell: Shell, python: str) -> dict[str, Any]:
    """Return what ``about`` says of engines, with lines that install there what is missing."""
    return {
        name: {**engine, "fix": install_line(shell, python, PACKAGES.get(name, name))}
        if "missing" in engine
        else engine
        for name, engine in engines.items()
    }


def unanswered(shell: Shell, python: str, done: Done) -> EdgeopsError:
    """Return why the measuring program ended without an answer; asks the device for it."""
    words = last_words(done.err)
    if is_full(words):
        return full(shell.where, "its work folder", words)
    if done.code in _NOT_FOUND:
        return MissingError(
            "device-no-python",
            f"the device has no {python}",
            where=shell.where,
            why=words or f"its shell does not find {python}",
            fix=_install_python(shell),
        )
    if done.code == ExitCode.INTERRUPTED:
        return lost(shell.where, "the measuring program there heard nothing from here for too long")
    if done.code < 0 or done.code > _SIGNALS:
        return TransportError(
            "probe-killed",
            "the measuring process was killed before it could answer",
            where=shell.where,
            why=words or "a signal ended it, as the system does when memory runs out",
            fix="free some memory or measure a smaller data set, then run it again",
        )
    found = _version(shell, python)
    if found and found < _OLDEST:
        return _too_old(shell, ".".join(map(str, found)))
    return MissingError(
        "probe-failed",
        "the measuring process failed before it could answer",
        where=shell.where,
        why=words or f"it ended with exit code {done.code}",
        fix="see what the device lacks with: edgeops targets --probe",
    )


def require(shell: Shell, python: str, engine: str) -> None:
    """Raise MissingError for what a device lacks to run an engine: one command that imports nothing.

    The code is ``device-no-python``, ``device-old-python``, ``numpy-missing`` or
    ``engine-missing``.
    """
    modules = MODULES.get(engine, ())
    done = shell.run(f"{python} -c {shlex.quote(_LOOK % (modules,))}", timeout_s=_ASK_S)
    said = [line for line in done.out.decode(errors="replace").splitlines() if line[:1] == "="]
    if done.code or not said:
        raise unanswered(shell, python, done)
    version, numpy, found = said[0][1:].split()
    if tuple(map(int, version.split("."))) < _OLDEST:
        raise _too_old(shell, version)
    for missing, code, what, package in (
        (numpy == "no", "numpy-missing", "the device has no numpy", "numpy"),
        (
            found == "no",
            "engine-missing",
            f"the engine {engine} is not installed on the device",
            PACKAGES.get(engine, engine),
        ),
    ):
        if missing:
            raise MissingError(
                code,
                what,
                where=shell.where,
                why=f"{python} there finds no package {package}",
                fix=f"install it there: {install_line(shell, python, package)}",
            )


def _too_old(shell: Shell, version: str) -> MissingError:
    return MissingError(
        "device-old-python",
        f"Python on the device is too old: {version}",
        where=shell.where,
        why="the measuring program needs Python 3.9 or later",
        fix="install a newer one there and name it: "
        "`?python=/usr/local/bin/python3` after the device's address",
    )


def _install_python(shell: Shell) -> str:
    line = there(shell, "sudo apt-get install python3 python3-numpy")
    return f"install it there (Debian: {line}), or name another: `?python=/path` after the address"


def _version(shell: Shell, python: str) -> tuple[int, ...]:
    """Return the version of Python there; empty when it does not say."""
    say = "import sys; print('=%d.%d.%d' % sys.version_info[:3])"
    try:
        done = shell.run(f"{python} -c {shlex.quote(say)}", timeout_s=_ASK_S)
    except EdgeopsError:
        return ()
    for line in done.out.decode(errors="replace").splitlines():
        if re.fullmatch(r"=\d+\.\d+\.\d+", line):
            return tuple(int(part) for part in line[1:].split("."))
    return ()
