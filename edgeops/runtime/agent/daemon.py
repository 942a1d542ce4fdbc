"""The agent as a service: wait, ask whether now is a good time, update, wait again.

The loop decides nothing: when to wait how long is in ``policy`` and ``windows``. It waits by a clock
that nobody sets, so a device whose time jumps neither sleeps for years nor asks without pause.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from shutil import which
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, MissingError, TransportError
from edgeops.runtime.agent import log
from edgeops.runtime.agent.bugs import bug
from edgeops.runtime.agent.policy import (
    Policy,
    first_wait,
    next_wait,
    opened_wait,
    read_policy,
)
from edgeops.runtime.agent.windows import closes_in, is_open, opens_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Update = Callable[[Callable[[], bool]], Mapping[str, Any]]

# What goes away by itself, besides a server that cannot be reached.
SOON = frozenset({"agent-busy", "clock-wrong"})
# Windows are looked at again at least so often: wall clocks are put forward and back.
_LOOK_S = 900.0
_MOST_OUTPUT = 4096


def run(home: Path, update: Update, *, once: bool = False) -> int:
    """Update whenever the policy of ``home`` says so, until SIGTERM or SIGINT; return 0.

    ``update`` is given a function that says whether the process is to end, which it asks between
    steps. ``once`` ends after the first update, whatever came of it, or without one when now is no time
    for it. SIGHUP reads the policy again; one that cannot be followed leaves the old one in force and
    is logged. So is an error that is not known, after which it is tried again like one that goes away
    by itself. Raises, at the start only, InputError ``policy-malformed`` and MissingError ``hook-missing``.
    """
    policy = read_policy(home)
    check_hook(policy)
    with _signals() as signals:
        _Loop(home, update, policy, signals, once).go()
    return 0


def check_hook(policy: Policy) -> None:
    """Look for the program of the hook; raises MissingError ``hook-missing``."""
    if policy.hook and which(policy.hook[0]) is None:
        raise MissingError(
            "hook-missing",
            f"the hook {policy.hook[0]!r} of agent.json cannot be run",
            where=policy.hook[0],
            why="there is no such program, or it may not be executed",
            fix="install it, or take `hook` out of agent.json: then updates come at any time",
        )


def ask_hook(policy: Policy, home: Path) -> str:
    """Run the hook; return "" when it says go (exit code 0), else why not now."""
    if not policy.hook:
        return ""
    try:
        with subprocess.Popen(
            policy.hook,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "EDGEOPS_HOME": str(home)},
            start_new_session=True,
        ) as process:
            return _hear(process, policy.hook_timeout_s)
    except OSError as error:
        return f"the hook cannot be run: {error.strerror or error}"


def _hear(process: subprocess.Popen[bytes], timeout: float) -> str:
    output, ended = _read(process, time.monotonic() + timeout)
    if not ended:
        with suppress(OSError):  # its children too, which may hold on to the pipe
            os.killpg(process.pid, signal.SIGKILL)
        return f"the hook did not end within {timeout:g} s"
    if process.returncode == 0:
        return ""
    said = output.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"the hook ended with exit code {process.returncode}"


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """Return the last of what a hook writes, and whether it ended before the deadline."""
    output, pipe = b"", process.stdout
    while pipe is not None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return output, False
        piece = os.read(pipe.fileno(), _MOST_OUTPUT)
        if not piece:
            break
        output = (output + piece)[-_MOST_OUTPUT:]
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
        return output, True
    return output, False


@dataclass
class Signals:
    """What the process was told; a pipe wakes it up, for a lock could be held when a signal comes."""

    reader: int
    stop: bool = False
    reload: bool = False

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until a signal comes."""
        select.select([self.reader], [], [], max(0.0, seconds))
        with suppress(BlockingIOError):
            os.read(self.reader, 512)


@dataclass
class _Loop:
    home: Path
    update: Update
    policy: Policy
    signals: Signals
    once: bool = False
    random: Callable[[], float] = field(default=random.random)
    failures: int = 0
    shut: bool = False  # whether it waits for a window

    def go(self) -> None:
        self._log("started", poll_s=self.policy.poll_s)
        self._rest(0.0 if self.once else first_wait(self.policy, self.random()))
        while not self.signals.stop:
            try:
                if self._good_time():
                    self._try()
                elif not self.once:
                    continue
            except Exception as error:  # noqa: BLE001 - whatever else comes up is our bug
                # A device whose agent has ended is reached by no release that would mend it.
                self.failures += 1
                found = bug(error)
                self._log("failed", code=found.code, what=found.what, where=found.where)
            if self.once:
                break
            self._rest(next_wait(self.policy, self.failures, self.random()))
        self._log("stopped")

    def _good_time(self) -> bool:
        """Return whether to update now; where not, after having waited for a while."""
        local = datetime.now()  # noqa: DTZ005 - the clock on the wall is what windows are read by
        if not is_open(self.policy.windows, local):
            self.shut = True
            if self.once:
                self._log("not-now", why="no window of agent.json is open")
                return False
            self._rest(min(_LOOK_S, opens_in(self.policy.windows, local)), again=True)
            return False
        if self.shut:
            self.shut = False
            left = closes_in(self.policy.windows, local)
            self._rest(opened_wait(self.policy, left, self.random()), again=True)
            return False
        refused = ask_hook(self.policy, self.home)
        if refused:
            self._log("not-now", why=refused)
            if not self.once:
                self._rest(next_wait(self.policy, 1, self.random()), again=True)
        return not refused

    def _try(self) -> None:
        try:
            result = self.update(lambda: self.signals.stop)
        except EdgeopsError as error:
            soon = isinstance(error, TransportError) or error.code in SOON
            self.failures = self.failures + 1 if soon else 0
            self._log("failed", code=error.code, what=error.what, why=error.why)
        else:
            self.failures = 0
            kept = ("outcome", "why", "state", "current", "bytes_downloaded", "requests")
            self._log("checked", **{name: result[name] for name in kept if name in result})

    def _rest(self, seconds: float, *, again: bool = False) -> None:
        """Wait, unless told to end; a new policy shortens the wait, or ends it with ``again``."""
        until = time.monotonic() + seconds
        while not self.signals.stop and time.monotonic() < until:
            self.signals.wait(until - time.monotonic())
            if self.signals.reload:
                self._reload()
                due = next_wait(self.policy, self.failures, self.random())
                until = 0.0 if again else min(until, time.monotonic() + due)

    def _reload(self) -> None:
        self.signals.reload = False
        try:
            policy = read_policy(self.home)
            check_hook(policy)
        except EdgeopsError as error:
            self._log("policy-kept", code=error.code, why=error.why)
        else:
            self.policy = policy
            self._log("policy-read", poll_s=policy.poll_s)

    def _log(self, event: str, **fields: Any) -> None:
        # A service on a disk that takes no log would fail for ever, and nobody would see why.
        sys.stderr.write(log.write(self.home, event, **fields))


@contextmanager
def _signals() -> Iterator[Signals]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signals = Signals(reader)

    def stop(*_: Any) -> None:
        signals.stop = True
        wake()

    def reload(*_: Any) -> None:
        signals.reload = True
        wake()

    def wake() -> None:
        with suppress(OSError):
            os.write(writer, b"!")

    wanted = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
