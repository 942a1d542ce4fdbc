"""Put the aarch64 wheels of numpy and the engines into the userland, with pip or uv from here."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.errors import MissingError, TransportError
from edgeops.validate.devices.emulated.tools import complaint, ended

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INSTALL_S = 1800.0
_OLDEST = 17  # manylinux2014: no wheel for arm64 is for an older C library
_NEVER = "no matching distribution"


def install(
    wanted: Mapping[str, str], into: Path, *, python: str, glibc: str, needed: str
) -> dict[str, str]:
    """Unpack wheels with their dependencies into a folder, and say which cannot be had and why.

    ``wanted`` are versions by distribution, ``python`` and ``glibc`` those of the userland
    (``3.11``, ``2.36``); without ``needed`` nothing works. Raises MissingError
    ``emulated-tools``, TransportError ``emulated-wheels``.
    """
    tool = _tool(python, glibc)
    requirements = [f"{name}=={version}" for name, version in wanted.items()]
    words = _install(tool, requirements, into)
    absent: dict[str, str] = {}
    if words:
        # One of them is not to be had, or none: a try without dependencies tells which.
        for requirement, name in zip(requirements, wanted, strict=True):
            alone = _install(tool, ["--no-deps", requirement], into.with_name("one"))
            if alone:
                absent[name] = _reason(alone)
        if needed in absent or not absent:
            raise _unavailable(absent.get(needed, words), into)
        kept = [each for each, name in zip(requirements, wanted, strict=True) if name not in absent]
        shutil.rmtree(into.with_name("one"), ignore_errors=True)
        shutil.rmtree(into, ignore_errors=True)
        words = _install(tool, kept, into)
        if words:
            raise _unavailable(words, into)
    return absent


def _unavailable(why: str, into: Path) -> TransportError:
    return TransportError(
        "emulated-wheels",
        "the aarch64 wheels for the arm64 userland cannot be installed",
        where=into.name,
        why=why,
        fix="see whether the package index can be reached and has wheels for aarch64, then try again",
    )


def _tool(python: str, glibc: str) -> list[str]:
    """Return the command line to which only the requirements and the folder are missing."""
    newest = int(glibc.partition(".")[2])
    if find_spec("pip"):
        platforms = [f"manylinux_2_{each}_aarch64" for each in range(newest, _OLDEST - 1, -1)]
        abis = [f"cp{python.replace('.', '')}", "abi3", "none"]
        return [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-input"),
            *("--disable-pip-version-check", "--only-binary", ":all:", "--python-version", python),
            *("--implementation", "cp", "--upgrade"),
            *(part for abi in abis for part in ("--abi", abi)),
            *(part for platform in platforms for part in ("--platform", platform)),
        ]
    beside = Path(sys.executable).with_name("uv")
    uv = shutil.which("uv") or (str(beside) if beside.is_file() else "")
    if not uv:
        raise MissingError(
            "emulated-tools",
            "the arm64 userland is made with programs that are not here: pip or uv",
            where=sys.executable,
            why="the engines in it are wheels from the package index",
            fix=f"{sys.executable} -m ensurepip",
        )
    platform = ["--python-platform", f"aarch64-manylinux_2_{min(newest, 40)}"]
    options = ["--quiet", "--only-binary", ":all:", "--python-version", python, *platform]
    return [uv, "pip", "install", *options]


def _install(tool: Sequence[str], requirements: Sequence[str], into: Path) -> str:
    """Return "" when all is there, else the installer's last words."""
    command = [*tool, "--target", str(into), *requirements]
    return complaint(ended(command, _INSTALL_S, {**os.environ, "UV_NO_PROGRESS": "1"}))


def _reason(words: str) -> str:
    """Return the line that says it: pip's list of versions is of no use to anybody."""
    lines = words.splitlines()
    short = [line for line in lines if _NEVER in line.lower()]
    return (short or lines)[-1].removeprefix("ERROR: ")
