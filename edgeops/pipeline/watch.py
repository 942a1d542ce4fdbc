"""What is known of a run while it goes on: from DVC's lines and from the stages' own events."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from edgeops.pipeline.dvc import read_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.pipeline.dvc import Repro

TAIL = 30


class Watch:
    """Status and seconds of every stage by address, its last lines, the error it told.

    ``seconds`` are from start to end as DVC sees them, ``work`` what a stage says its own work took
    once its process had started.

    ``quiet`` are the addresses of stages that send events; the output of all others is shown.
    """

    def __init__(
        self, expected: Iterable[str], quiet: Iterable[str], file: Path, events: Events
    ) -> None:
        self.status = dict.fromkeys(expected, "")
        self.seconds: dict[str, float] = {}
        self.work: dict[str, float] = {}
        self.errors: dict[str, dict[str, Any]] = {}
        self.tails: dict[str, deque[str]] = {}
        self.restored = False
        self.failed = ""
        self.reason = ""
        self._quiet = frozenset(quiet)
        self._file = file
        self._read = 0
        self._events = events
        self._running: dict[Repro, str] = {}
        self._began: dict[str, float] = {}
        self._shown = ""

    def line(self, repro: Repro, text: str) -> None:
        """Take in one line of a DVC process."""
        repro.tail = [*repro.tail[-TAIL:], text]
        said = read_line(text)
        if said.kind == "running":
            self._finish(repro)
            self._running[repro] = said.stage
            self._began[said.stage] = time.monotonic()
            self.status[said.stage] = "running"
            self.tails[said.stage] = deque(maxlen=TAIL)
            self._say(said.stage, "running")
        elif said.kind in ("unchanged", "restored"):
            self._finish(repro)
            self.restored |= said.kind == "restored"
            if self.status.get(said.stage) not in ("ran", "running"):
                self.status[said.stage] = "cached"
                self._events.done(said.stage, "cached", 0.0)
        elif said.kind == "failed":
            self._fail(repro, said.stage, said.text)
        elif said.kind == "saved":
            self._finish(repro)
        elif repro in self._running:
            self._output(self._running[repro], text)

    def poll(self) -> None:
        """Take in the events that stages have sent since the last time."""
        if not self._file.is_file():
            return
        with self._file.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._event(json.loads(line))

    def stages(self) -> list[dict[str, Any]]:
        """Return what became of each stage; those never reached are ``skipped``."""
        rows = []
        for address, status in self.status.items():
            name, _, target = address.partition("@")
            seconds = round(self.seconds.get(address, 0.0), 3)
            rows.append(
                {
                    "name": name,
                    "target": target or None,
                    "status": status or "skipped",
                    "seconds": seconds,
                    "work_seconds": self.work.get(address, seconds),
                }
            )
        return rows

    def ended(self, repro: Repro, status: int) -> None:
        """Take in that a DVC process is over; what it was running is too."""
        if status == 0:
            self._finish(repro)
        elif repro in self._running:
            self._fail(repro, self._running[repro], "DVC itself was ended")

    def interrupted(self) -> None:
        """Count what was running as failed."""
        for repro in list(self._running):
            self._fail(repro, self._running[repro], "interrupted")

    def _finish(self, repro: Repro) -> None:
        address = self._running.pop(repro, None)
        if address is not None:
            self.status[address] = "ran"
            self._clock(address)

    def _fail(self, repro: Repro, address: str, reason: str) -> None:
        self._running.pop(repro, None)
        self.status[address] = "failed"
        self._clock(address)
        self.failed = self.failed or address
        self.reason = self.reason or reason

    def _clock(self, address: str) -> None:
        if address in self._began:
            self.seconds[address] = time.monotonic() - self._began[address]
        self._events.done(address, self.status[address], self.seconds.get(address, 0.0))

    def _output(self, address: str, text: str) -> None:
        if text.startswith("> ") and not self.tails[address]:
            return  # DVC shows the command first
        if text.strip():
            self.tails[address].append(text)
            if address not in self._quiet:
                self._say(address, text)

    def _event(self, event: dict[str, Any]) -> None:
        stage, target = event.get("stage", ""), event.get("target")
        address = f"{stage}@{target}" if target else stage
        kind = event.get("kind")
        if kind == "step":
            self._say(address, event["what"], event.get("total"))
        elif kind == "advance" and address == self._shown:
            self._events.advance(event["parts"])
        elif kind == "figure":
            if address != self._shown:
                self._say(address, "measured")
            self._events.figure(event["name"], event["value"])
        elif kind == "error":
            self.errors[address] = event
        elif kind == "done":
            self.work[address] = event["seconds"]

    def _say(self, address: str, what: str, total: int | None = None) -> None:
        self._shown = address
        self._events.step(f"{address}: {what}", total=total)
