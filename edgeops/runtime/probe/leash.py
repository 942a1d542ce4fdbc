"""What ties the measuring program to whoever asked: standard input, life signs, signals."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import time
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_REQUEST = 8 * 1024**2
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Cut(BaseException):
    """Whoever asked is gone, or has the program end: nothing more is to be told."""


class Leash:
    """Standard input and output of the supervisor.

    ``selector`` watches standard input, and a pipe that says when a signal came, so that whoever
    waits for something else too registers it there. Everything here raises Cut when standard input
    ended, was silent for longer than ``heartbeat_s``, or SIGTERM, SIGHUP or SIGINT came.
    """

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self._heartbeat_s = 0.0
        self._heard = time.monotonic()
        self._ended = False
        self.selector = selectors.DefaultSelector()
        self.selector.register(source, selectors.EVENT_READ, self)
        self._awake, write = os.pipe()
        os.set_blocking(self._awake, False)
        os.set_blocking(write, False)
        for number in (*_ENDING, signal.SIGALRM):
            signal.signal(number, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Wakes the selector: signals come between its check and its wait as well.
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self.selector.register(self._awake, selectors.EVENT_READ, self)

    def request(self) -> dict[str, Any]:
        """Return the request; raises InputError ``probe-request`` when its line is none."""
        line = b""
        while b"\n" not in line:
            self._wait_for_input()
            data = os.read(self._source, 65_536)
            if not data or len(line) > _LONGEST_REQUEST:
                raise Cut
            line += data
        try:
            request = json.loads(line.partition(b"\n")[0])
        except ValueError as error:
            raise misunderstood(f"it is no JSON: {error}") from error
        if not isinstance(request, dict):
            raise misunderstood("it is no JSON object")
        self._heartbeat_s = float(request.get("heartbeat_s") or 0)
        self._heard = time.monotonic()
        return request

    def wait(self, seconds: float | None) -> list[Any]:
        """Wait for what is registered, at most so long; return the data of those that are ready."""
        if self._heartbeat_s:
            left = max(0.0, self._heard + self._heartbeat_s - time.monotonic())
            seconds = left if seconds is None else min(seconds, left)
        ready = []
        for key, _ in self.selector.select(seconds):
            if key.fd == self._source:
                self._hear()
            elif key.fd == self._awake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._awake, 4096)
            else:
                ready.append(key.data)
        self.check()
        return ready

    def check(self) -> None:
        """Raise Cut when whoever asked is gone."""
        silent = time.monotonic() - self._heard
        if self._ended or (self._heartbeat_s and silent >= self._heartbeat_s):
            raise Cut

    def tell(self, message: Mapping[str, Any]) -> None:
        """Write a line; with ``heartbeat_s``, one that nobody takes for so long raises Cut."""
        data = json.dumps(message).encode() + b"\n"
        # A connection that is cut takes no more bytes once its buffers are full.
        signal.setitimer(signal.ITIMER_REAL, self._heartbeat_s)
        try:
            while data:
                data = data[os.write(self._sink, data) :]
                self.check()
        except OSError as error:
            raise Cut from error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _wait_for_input(self) -> None:
        while True:
            keys = [key.fd for key, _ in self.selector.select()]
            self.check()
            if self._source in keys:
                return

    def _hear(self) -> None:
        if not os.read(self._source, 65_536):
            raise Cut
        self._heard = time.monotonic()

    def _end(self, number: int, _frame: object) -> None:
        self._ended = True
        if number == signal.SIGALRM:
            raise Cut  # out of the write that blocks


def misunderstood(why: str) -> InputError:
    """Return the error for a request of another version, or none at all."""
    return InputError(
        "probe-request",
        "the measuring program does not understand the request",
        why=why,
        fix="install the same version of edgeops on the device as here",
    )
