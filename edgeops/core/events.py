"""What long work says while it goes on; who shows it decides how.

A stage process that runs below ``edgeops run`` appends events to the file that the environment
variable EDGEOPS_EVENTS names, one JSON object a line; the parent reads them as they come.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENVIRONMENT = "EDGEOPS_EVENTS"


class Events(Protocol):
    """Where long work reports to."""

    def step(self, what: str, *, total: int | None = None) -> None:
        """Say what is being done now, and of how many parts it consists."""

    def advance(self, parts: int = 1) -> None:
        """Say that parts of the current step are done."""

    def figure(self, name: str, value: float | str) -> None:
        """Report a measured figure as soon as it is known."""

    def done(self, name: str, status: str, seconds: float) -> None:
        """Say that the stage called ``name`` ended: ran, cached or failed."""


class Silence:
    """Events that go nowhere."""

    def step(self, what: str, *, total: int | None = None) -> None:
        """Ignore it."""

    def advance(self, parts: int = 1) -> None:
        """Ignore it."""

    def figure(self, name: str, value: float | str) -> None:
        """Ignore it."""

    def done(self, name: str, status: str, seconds: float) -> None:
        """Ignore it."""


class EventFile:
    """Events appended to a file as JSON lines, for the parent process to read.

    Each line has ``kind`` (``step``, ``advance``, ``figure``, ``error``, ``done``), ``stage``,
    ``target``.
    """

    def __init__(self, path: Path, stage: str, target: str | None) -> None:
        self._path = path
        self._base = {"stage": stage, "target": target}

    def step(self, what: str, *, total: int | None = None) -> None:
        """Append a step."""
        self.send("step", what=what, total=total)

    def advance(self, parts: int = 1) -> None:
        """Append an advance."""
        self.send("advance", parts=parts)

    def figure(self, name: str, value: float | str) -> None:
        """Append a figure."""
        self.send("figure", name=name, value=value)

    def done(self, name: str, status: str, seconds: float) -> None:
        """Append nothing: the parent knows when a stage ends."""

    def send(self, kind: str, **fields: Any) -> None:
        """Append one event in a single write, so that stages running side by side do not mix."""
        line = json.dumps({"kind": kind, **self._base, **fields}) + "\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def event_file(environ: Mapping[str, str]) -> str | None:
    """Return the path of the parent's event file, or None when nobody listens."""
    return environ.get(ENVIRONMENT) or None
