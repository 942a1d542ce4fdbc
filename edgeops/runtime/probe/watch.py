"""Watch over the child that measures: hand on what it says, and see when it hangs or dies."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.runtime import pulse
from edgeops.runtime.children import end_group
from edgeops.runtime.probe import deaths
from edgeops.runtime.probe.energy import Account
from edgeops.runtime.probe.machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from edgeops.errors import EdgeopsError
    from edgeops.runtime.probe.leash import Leash

_READ = 65_536
_KEPT_WORDS = 16_384
# Times that an error tells of: every n-th where there are more.
_MOST_PARTIAL = 5_000
# How long a dead child's last words are waited for where something it started holds its pipes.
_LAST_WORDS_S = 0.5
# How long a child that has answered may take to end: some engines hang when they are torn down.
_LEAVING_S = 2.0
_SECOND_LOOK_S = 0.02
_NANO = 1_000_000_000


class Watch:
    """One child and what it told; ``partial`` is what it had found so far."""

    def __init__(self, request: Mapping[str, Any], leash: Leash) -> None:
        self._request, self._leash = request, leash
        self._limit_s = float(request.get("call_timeout_s") or 0)
        self._begun = time.monotonic()
        self._pulse = pulse.shared()
        self._slots = pulse.read(self._pulse)
        self._line, self._words = b"", b""
        self._energy = Account(machine(request)) if request["do"] == "measure" else None
        self._final: dict[str, Any] | None = None
        self.phase = "start"
        self.partial: dict[str, Any] = {}

    def outcome(self) -> dict[str, Any]:
        """Start the child and return the last line to tell, once it is over; raises Cut."""
        self._leash.tell({"say": "phase", "phase": self.phase})
        self._before = deaths.memory()
        child = self._start()
        try:
            error = self._until_over(child)
            if error is None and self._final is None:
                error = self._died(child)
        finally:
            end_group(child)
        if error is not None:
            return {
                **error.to_json(),
                "exit": int(error.exit_code),
                "partial": self._partial(),
            }
        assert self._final is not None  # noqa: S101 - for mypy: no error, so it answered
        if "error" in self._final:
            return {**self._final, "partial": self._partial()}
        if self._energy is not None:
            answer = self._final["answer"]
            answer["energy"] = self._energy.result(int(answer.get("calls") or 0))
        return self._final

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        child = subprocess.Popen(
            [*_itself(), "--child", str(self._pulse), str(os.getpid())],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            pass_fds=(self._pulse,),
            # Of its own, so that what an engine starts is ended with it.
            start_new_session=True,
        )
        assert child.stdin is not None  # noqa: S101 - pipes, for mypy
        with contextlib.suppress(OSError), child.stdin:
            child.stdin.write(json.dumps(self._request).encode() + b"\n")
        return child

    def _until_over(self, child: subprocess.Popen[bytes]) -> EdgeopsError | None:
        """Listen until the child has ended; returns an error when it had to be ended."""
        with _Streams(self._leash, child, self._hear, self._overhear) as streams:
            until: float | None = None
            while streams:
                if self._energy is not None:
                    self._energy.look()
                late = self._late()
                if late is not None:
                    return late
                streams.serve(self._patience(until))
                if until is None and self._final is not None:
                    until = time.monotonic() + _LEAVING_S
                elif until is None and child.poll() is not None:
                    until = time.monotonic() + _LAST_WORDS_S
                if until is not None and time.monotonic() >= until:
                    break
        return None

    def _patience(self, until: float | None) -> float | None:
        """Return how long nothing has to be looked at, in seconds; None when for ever."""
        ends = [] if until is None else [until - time.monotonic()]
        if self._limit_s:
            begun = self._slots[pulse.BEGUN]
            used = (time.perf_counter_ns() - begun) / _NANO if begun else 0.0
            ends.append(self._limit_s - used)
        total = float(self._request.get("timeout_s") or 0)
        if total:
            ends.append(self._begun + total - time.monotonic())
        look = None if self._energy is None else self._energy.patience()
        if look is not None:
            ends.append(look)
        return max(0.001, min(ends)) if ends else None

    def _late(self) -> EdgeopsError | None:
        total = float(self._request.get("timeout_s") or 0)
        if total and time.monotonic() - self._begun >= total:
            return deaths.late(total, self.phase, self._said())
        if self._limit_s and self._hangs():
            # Two looks, for eight bytes need not be written at once on every processor.
            time.sleep(_SECOND_LOOK_S)
            if self._hangs():
                return deaths.hung(self._limit_s, self.phase, self._said())
        return None

    def _hangs(self) -> bool:
        begun = self._slots[pulse.BEGUN]
        return bool(begun) and time.perf_counter_ns() - begun >= self._limit_s * _NANO

    def _hear(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "part" in message:
                self.partial.update(message["part"])
            elif "say" in message:
                if message["say"] == "phase":
                    self.phase = message["phase"]
                    if self._energy is not None:
                        self._energy.phase(self.phase)
                elif message["say"] == "trial":
                    self.partial.setdefault("trials", []).append(message)
                self._leash.tell(message)
            else:
                self._final = message

    def _overhear(self, data: bytes) -> None:
        self._words = (self._words + data)[-_KEPT_WORDS:]
        with contextlib.suppress(OSError):
            os.write(2, data)

    def _said(self) -> str:
        return deaths.last(self._words.decode(errors="replace"))

    def _partial(self) -> dict[str, Any]:
        """Return what was found so far, with the times of the loop that was not finished."""
        kept = self._slots[pulse.KEPT]
        step = max(1, -(-kept // _MOST_PARTIAL))
        times = {
            "calls": kept,
            "latency_ns": self._slots[pulse.TIMES : pulse.TIMES + kept : step].tolist(),
        }
        return {"phase": self.phase, **(times if kept else {}), **self.partial}

    def _died(self, child: subprocess.Popen[bytes]) -> EdgeopsError:
        code = child.wait()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        return deaths.died(code, self.phase, self._said(), self._before, peak)


class _Streams:
    """The pipes of a child, read as data comes; false when both have ended."""

    def __init__(
        self,
        leash: Leash,
        child: subprocess.Popen[bytes],
        hear: Callable[[bytes], None],
        overhear: Callable[[bytes], None],
    ) -> None:
        self._leash = leash
        self._open = {
            stream.fileno(): take
            for stream, take in ((child.stdout, hear), (child.stderr, overhear))
            if stream is not None
        }

    def __enter__(self) -> Self:
        for handle in self._open:
            os.set_blocking(handle, False)
            self._leash.selector.register(handle, selectors.EVENT_READ, handle)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._open:
            self._leash.selector.unregister(handle)

    def __bool__(self) -> bool:
        return bool(self._open)

    def serve(self, seconds: float | None) -> None:
        """Wait for data, at most so long, and hand it on."""
        for handle in self._leash.wait(seconds):
            data = _read(handle)
            if data:
                self._open[handle](data)
            elif data is not None:
                self._leash.selector.unregister(handle)
                del self._open[handle]


def _itself() -> list[str]:
    """Return the command that starts this program once more: from a zip, or as a module."""
    import edgeops

    home = Path(edgeops.__file__).parents[1]
    isolated = ["-I"] if sys.flags.isolated else []
    there = [str(home)] if home.is_file() else ["-m", "edgeops.runtime.probe"]
    return [sys.executable, *isolated, *there]


def _read(handle: int) -> bytes | None:
    """Return what is there to read, b"" at the end, None when nothing is there yet."""
    try:
        return os.read(handle, _READ)
    except BlockingIOError:
        return None
