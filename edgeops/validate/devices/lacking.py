"""What a device lacks for measuring, told from what the measuring program or Python there said."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from edgeops.errors import EdgeopsError, MissingError
from edgeops.validate.devices.trouble import full, last_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.validate.devices.shell import Done, Shell

_NOT_FOUND = (126, 127)
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
# What loaders of Linux, Android and macOS say of a library that was made for another machine.
_FOREIGN = (
    "wrong ELF class",
    "invalid ELF header",
    "has unexpected e_machine",
    "has bad ELF magic",
    "cannot open shared object file",
    "Exec format error",
    "incompatible architecture",
    "version `GLIBC",
    "undefined symbol",
    "SIGILL",
)
_FULL = ("No space left on device", "Disk quota exceeded")


def there(shell: Shell, command: str) -> str:
    """Return the line that runs a command on the device, for a person to type here.

    ``login`` is what a shell may have: the words that a person puts before a command.
    """
    login = str(getattr(shell, "login", ""))
    return f"{login} {command}" if login else f"on the device: {command}"


def rewritten(about: Mapping[str, str], shell: Shell, python: str) -> EdgeopsError | None:
    """Return the error for what is missing on the device; None when it is something else."""
    code = about["code"]
    why = str(about.get("why") or "")
    words = f"{about.get('what', '')} {why}"
    if "No module named 'numpy'" in words or ("numpy" in words and "ImportError" in words):
        return no_numpy(shell, python, why)
    if code == "engine-missing":
        return no_engine(shell, python, str(about.get("where") or ""), why)
    if any(sign in words for sign in _FOREIGN):
        return foreign_engine(shell, python, words)
    if code == "disk-full" or any(sign in words for sign in _FULL):
        return full(shell.where, "the work folder", why)
    return None


def unanswered(shell: Shell, python: str, done: Done) -> EdgeopsError:
    """Return why the measuring program ended without an answer; asks the device for it."""
    words = last_words(done.err)
    if done.code in _NOT_FOUND:
        return MissingError(
            "device-no-python",
            f"the device has no {python}",
            where=shell.where,
            why=words or f"its shell does not find {python}",
            fix=_install_python(shell),
        )
    found = _version(shell, python)
    if found and found < _OLDEST:
        return MissingError(
            "device-old-python",
            f"Python on the device is too old: {'.'.join(map(str, found))}",
            where=shell.where,
            why="the measuring program needs Python 3.9 or later",
            fix="install a newer one there and name it: "
            "`?python=/usr/local/bin/python3` after the device's address",
        )
    better = rewritten({"code": "", "what": "", "why": words}, shell, python)
    return better or MissingError(
        "probe-failed",
        "the measuring process failed before it could answer",
        where=shell.where,
        why=words or f"it ended with exit code {done.code}",
        fix="see what the device lacks with: edgeops targets --probe",
    )


def no_numpy(shell: Shell, python: str, why: str) -> MissingError:
    """Return the error for a device without numpy."""
    return MissingError(
        "device-no-numpy",
        "Python on the device has no numpy",
        where=shell.where,
        why=why,
        fix=f"install it there: {there(shell, f'{python} -m pip install numpy')}",
    )


def no_engine(shell: Shell, python: str, engine: str, why: str) -> MissingError:
    """Return the error for a device without an engine's wheel."""
    package = PACKAGES.get(engine, engine or "the engine")
    return MissingError(
        "device-engine-missing",
        f"the engine {engine} is not installed on the device",
        where=shell.where,
        why=why,
        fix=f"install it there: {there(shell, f'{python} -m pip install {package}')}",
    )


def foreign_engine(shell: Shell, python: str, why: str) -> MissingError:
    """Return the error for an engine whose library is not made for the device."""
    near = [name for name, package in PACKAGES.items() if package.lower() in why.lower()]
    package = PACKAGES[near[0]] if near else "PACKAGE"
    again = f"{python} -m pip install --force-reinstall --no-cache-dir {package}"
    return MissingError(
        "device-engine-foreign",
        "an engine's library on the device is not made for that device",
        where=shell.where,
        why=why.strip(),
        fix=f"install the wheel for its architecture there: {there(shell, again)}",
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
        if line.startswith("="):
            return tuple(int(part) for part in line[1:].split("."))
    return ()
