"""Fetch Debian packages for another architecture with the machine's own apt, touching none of its state.

The archive, its keys, proxies and passwords are those that the machine's apt is set to; lists,
cache and the record of what is installed are in a scratch folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.errors import InputError, MissingError, TransportError
from edgeops.validate.devices.emulated.tools import ended

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = "EDGEOPS_ARM64_SOURCES"
TOOLS = ("apt-get", "apt-config", "dpkg-deb", "tar")
_FETCH_S = 1800.0
_UNPACK_S = 300.0
_SHOWN = 6
_ARCHITECTURE = "arm64"


def fetch(names: Sequence[str], scratch: Path) -> list[Path]:
    """Return the files of packages and of all that they depend on, fetched into ``scratch``.

    Raises MissingError ``emulated-tools``, InputError ``emulated-sources``, TransportError
    ``emulated-download``.
    """
    absent = [tool for tool in TOOLS if not shutil.which(tool)]
    if absent:
        raise MissingError(
            "emulated-tools",
            f"the arm64 userland is made with programs that are not here: {', '.join(absent)}",
            where="PATH",
            why="its files are Debian packages, which apt fetches and dpkg-deb unpacks",
            fix="make it on Debian or Ubuntu, or in a container of one",
        )
    variables = {**os.environ, "APT_CONFIG": str(_configuration(scratch)), "LC_ALL": "C"}
    # A source that is unreachable or has nothing for arm64 makes `update` fail though the archive
    # was read; whether the packages can be had is what counts.
    listed = ended(["apt-get", "-q", "update"], _FETCH_S, variables)
    options = ["-q", "--yes", "--download-only", "--no-install-recommends"]
    fetched = ended(["apt-get", *options, "install", *names], _FETCH_S, variables)
    files = sorted((scratch / "cache" / "archives").glob("*.deb"))
    if fetched.returncode or not files:
        raise TransportError(
            "emulated-download",
            "the Debian packages of the arm64 userland cannot be downloaded",
            where=os.environ.get(SOURCES) or "the apt sources of this machine",
            why=_words(fetched) + (f"; before that: {_words(listed)}" if listed.returncode else ""),
            fix=f"see whether apt-get update works; where its sources have no {_ARCHITECTURE} "
            f"(Ubuntu keeps that elsewhere), name a file with sources that do: {SOURCES}=FILE",
        )
    return files


def unpack(files: Sequence[Path], root: Path, leave_out: Sequence[str]) -> None:
    """Unpack packages into a root whose ``/bin``, ``/sbin`` and ``/lib`` are links into ``/usr``.

    Not ``dpkg -x``, which puts folders in the place of these links. Nothing of a package is run.
    Raises MissingError ``emulated-damaged``.
    """
    (root / "usr").mkdir(parents=True)
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir()
        (root / name).symlink_to(f"usr/{name}")
    skipped = [f"--exclude=./{path}" for path in leave_out]
    into = ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner", *skipped]
    for file in files:
        command = ["dpkg-deb", "--fsys-tarfile", str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as deb:
            done = subprocess.run(
                [*into, "--directory", str(root)],
                stdin=deb.stdout,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=_UNPACK_S,
                check=False,
            )
        if done.returncode or deb.returncode:
            raise MissingError(
                "emulated-damaged",
                f"a package of the arm64 userland cannot be unpacked: {file.name}",
                where=str(root),
                why=done.stderr.strip() or f"dpkg-deb ended with status {deb.returncode}",
                fix="see whether there is room on the disk, then try again",
            )


def version_in(files: Sequence[Path], package: str) -> str:
    """Return the version of a package by the name of its file, "" when it is not among them."""
    for file in files:
        name, version, *_ = file.name.split("_")
        if name == package:
            return version.replace("%3a", ":").rpartition(":")[2]
    return ""


def _configuration(scratch: Path) -> Path:
    """Write apt's configuration and return its path; it stands in for all of the machine's own."""
    for folder in ("state/lists/partial", "cache/archives/partial", "none"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "status").touch()
    none = scratch / "none"
    settings = {
        "Dir::Etc::parts": none,
        "Dir::Etc::main": none / "main",
        "Dir::Etc::preferences": none / "preferences",
        "Dir::Etc::preferencesparts": none,
        "Dir::State": scratch / "state",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "Dir::Log": scratch,
        "APT::Architecture": _ARCHITECTURE,
        "APT::Architectures::": _ARCHITECTURE,
        # Apt gives root's rights away for downloads, to somebody who may not write here.
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    sources = os.environ.get(SOURCES)
    if sources:
        if not os.access(sources, os.R_OK):
            raise InputError(
                "emulated-sources",
                f"the file of apt sources that {SOURCES} names cannot be read",
                where=sources,
                why="it takes the place of the machine's own sources",
                fix="name a .list or .sources file, or unset the variable",
            )
        settings |= {
            "Dir::Etc::sourcelist": Path(sources).absolute(),
            "Dir::Etc::sourceparts": none,
        }
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    path = scratch / "apt.conf"
    path.write_text("\n".join([*_how_to_reach(), *lines]) + "\n")
    return path


def _how_to_reach() -> list[str]:
    """Return the machine's own settings for downloads: proxies, certificates, retries."""
    done = ended(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"], _FETCH_S)
    # What an index is called and where it lies is no setting of a person's, and has $( in it.
    lines = done.stdout.splitlines()
    return [
        line for line in lines if "IndexTargets" not in line and not line.startswith("Acquire ")
    ]


def _words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
    return " ".join((lines or done.stderr.splitlines())[-_SHOWN:]) or f"status {done.returncode}"
