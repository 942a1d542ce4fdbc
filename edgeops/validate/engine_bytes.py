"""What an engine adds to an application: a table that was measured, by architecture and version."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "engine_mb"
TABLE = Path(__file__).with_name("engine_bytes.toml")
_MEGA = 1_000_000
# What operating systems call the architectures of the table's wheels.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def engine_figure(engine: str, version: str, machine: str, system: str = "Linux") -> Figure:
    """Return the megabytes of an engine's libraries and Python files, or why they are not known.

    ``version`` is that of the device, the one that was measured stands in ``method``; ``machine``
    and ``system`` are what a device's probe says of itself.
    """
    if "android" in system.lower():
        why = "measured are wheels for Linux: the libraries for Android are in no package index"
        return Figure(None, unit="MB", absent=why)
    if not system.startswith("Linux"):
        return Figure(None, unit="MB", absent=f"measured are wheels for Linux, not {system}")
    rows = [row for row in table() if row["engine"] == engine]
    if not rows:
        return Figure(None, unit="MB", absent=f"nobody measured what {engine} adds")
    named = _MACHINES.get(machine.lower(), machine)
    found = next((row for row in rows if row["machine"] == named), None)
    if found is None:
        known = ", ".join(sorted(row["machine"] for row in rows))
        why = f"{engine} was measured for {known}, not for {machine or 'an unknown processor'}"
        return Figure(None, unit="MB", absent=why)
    return Figure(found["bytes"] / _MEGA, unit="MB", method=_method(found, version), samples=1)


@cache
def table() -> Sequence[dict[str, Any]]:
    """Return the rows of the table: one an engine and architecture."""
    rows: list[dict[str, Any]] = tomllib.loads(TABLE.read_text())["engine"]
    return tuple(rows)


def _method(row: dict[str, Any], version: str) -> str:
    other = "" if version == row["version"] else f" (the device has {version or 'another version'})"
    return (
        f"shared libraries and Python files of the wheel {row['distribution']} {row['version']} "
        f"for {row['machine']} that a process needs{other}; without Python and numpy; deflated "
        f"{row['packed'] / _MEGA:.1f} MB; MB = 10^6 bytes"
    )
