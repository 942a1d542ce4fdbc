"""Files of the kernel, read with the reason when that is not possible; roots can be replaced."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Machine:
    """Where the kernel's files lie: ``/sys`` and ``/proc``, or a copy of them."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")

    def found(self, pattern: str) -> list[Path]:
        """Return the paths below ``sys`` that match a pattern, sorted."""
        try:
            return sorted(self.sys.glob(pattern))
        except OSError:
            return []


def machine(request: Mapping[str, Any]) -> Machine:
    """Return the machine of a request: ``sys`` and ``proc`` name other roots."""
    return Machine(Path(request.get("sys") or "/sys"), Path(request.get("proc") or "/proc"))


class Unreadable(Exception):
    """A figure cannot be read here, and why."""


def text(path: Path) -> str:
    """Return what a file of the kernel says; raises Unreadable."""
    try:
        return path.read_text(errors="replace").strip()
    except PermissionError as error:
        raise Unreadable(f"{path} may be read by root only") from error
    except FileNotFoundError as error:
        raise Unreadable(f"there is no {path}") from error
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}") from error


def number(path: Path) -> int:
    """Return the number in a file of the kernel; raises Unreadable."""
    found = text(path)
    try:
        return int(found, 0)
    except ValueError as error:
        raise Unreadable(f"{path} holds no number: {found[:40]!r}") from error


def numbers(paths: Iterable[Path]) -> list[int]:
    """Return the numbers of those files that can be read; raises Unreadable when none can."""
    values, reason = [], "there is no such file"
    for path in paths:
        try:
            values.append(number(path))
        except Unreadable as error:
            reason = str(error)
    if not values:
        raise Unreadable(reason)
    return values


def processors() -> list[int]:
    """Return the processors that this process may run on."""
    try:
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return list(range(os.cpu_count() or 1))
