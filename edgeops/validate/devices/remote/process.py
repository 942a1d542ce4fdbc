"""Shells that are a program on this machine: the ssh binary, adb, an emulator's chroot."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from typing import IO, TYPE_CHECKING

from edgeops.errors import TransportError
from edgeops.validate.devices.remote.shell import BEAT_S, Deadline, Done, deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_PIECE = 1 << 16
_LOOK_S = 1.0
# How long a command may take to end by itself when its standard input is closed.
GRACE_S = 5.0


def run_process(
    argv: Sequence[str],
    *,
    where: str,
    timeout_s: float | Deadline,
    stdin: bytes = b"",
    on_line: Callable[[str], None] | None = None,
    leash: bool = False,
    source: IO[bytes] | None = None,
    sink: IO[bytes] | None = None,
    take: Callable[[bytes], object] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Done:
    """Run a program as ``Shell.run`` runs a command; ``where`` names the device in messages.

    ``source`` is an open file that the program reads in place of ``stdin``, ``sink`` one that it
    writes; ``cwd`` is where it runs. The program gets a session of its own, so that an interrupt
    of the terminal ends it through the leash and not at once. Raises TransportError ``device-timeout``.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv,
        stdin=source or pipe,
        stdout=sink or pipe,
        stderr=pipe,
        env=env,
        cwd=cwd,
        start_new_session=True,
    ) as process:
        try:
            lines = Lines(on_line) if on_line else None
            talk = _Talk(process, stdin, lines.feed if lines else take, leash=leash)
            done = talk.to_end(deadline(timeout_s), where)
            if lines:
                lines.end()
        except BaseException:
            end(process)
            raise
        return done


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program: close its standard input, and when that does not do, terminate and kill it."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    for stop in (process.terminate, process.kill):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
            break
        stop()
    process.wait()


def timed_out(where: str, seconds: float) -> TransportError:
    """Return the error for a command that took too long on a device."""
    return TransportError(
        "device-timeout",
        f"a command took longer than {seconds:g} s and was ended",
        where=where,
        why="the device is very slow or busy, or the connection to it hangs",
        fix="look what it does (top, df), then run it again",
    )


class _Talk:
    """One program's standard streams, served by one loop without threads."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stdin: bytes,
        take: Callable[[bytes], object] | None,
        *,
        leash: bool,
    ) -> None:
        self._process = process
        self._left = memoryview(stdin)
        self._leash = leash
        self._hand_on = take
        self._read: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
        self._selector = selectors.DefaultSelector()
        self._beaten = time.monotonic()
        for name, stream in (("out", process.stdout), ("err", process.stderr)):
            if stream is not None:
                self._selector.register(stream, selectors.EVENT_READ, name)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE, "in")

    def to_end(self, until: Deadline, where: str) -> Done:
        """Serve the streams until the program is over."""
        with self._selector:
            over = False
            while self._reading() and not over:
                # What a program left behind may hold the streams open: one last look, then no more.
                over = self._process.poll() is not None
                self._serve(0 if over else min(_LOOK_S, max(until.left(), 0)))
                if until.left() <= 0:
                    raise timed_out(where, until.seconds)
                self._beat()
            self._close_input()
        while self._process.poll() is None:
            try:
                self._process.wait(min(_LOOK_S, max(until.left(), 0)))
            except subprocess.TimeoutExpired:
                if until.left() <= 0:
                    raise timed_out(where, until.seconds) from None
        return Done(self._process.returncode, bytes(self._read["out"]), bytes(self._read["err"]))

    def _reading(self) -> bool:
        return any(key.data != "in" for key in self._selector.get_map().values())

    def _serve(self, seconds: float) -> None:
        while ready := self._selector.select(seconds):
            seconds = 0
            for key, _ in ready:
                if key.data == "in":
                    self._write()
                else:
                    self._take(key)
            if not self._reading():
                return

    def _take(self, key: selectors.SelectorKey) -> None:
        piece = os.read(key.fd, _PIECE)
        if not piece:
            self._selector.unregister(key.fileobj)
        elif key.data == "out" and self._hand_on:
            self._hand_on(piece)
        else:
            self._read[key.data] += piece

    def _write(self) -> None:
        stream = self._process.stdin
        if stream is None:
            return
        if self._left:
            try:
                self._left = self._left[os.write(stream.fileno(), self._left[:_PIECE]) :]
            except BlockingIOError:
                return
            except OSError:
                self._close_input()
                return
        if not self._left:
            if not self._leash:
                self._close_input()
            else:
                self._selector.unregister(stream)

    def _beat(self) -> None:
        stream = self._process.stdin
        if self._left or not self._leash or stream is None or stream.closed:
            return
        if time.monotonic() - self._beaten >= BEAT_S:
            self._beaten = time.monotonic()
            try:
                os.write(stream.fileno(), b"\n")
            except BlockingIOError:
                return
            except OSError:
                self._close_input()

    def _close_input(self) -> None:
        stream = self._process.stdin
        if stream is None or stream.closed:
            return
        with contextlib.suppress(KeyError, RuntimeError):
            # It may be unregistered, and the selector closed, by now.
            self._selector.unregister(stream)
        with contextlib.suppress(OSError):
            stream.close()


class Lines:
    """Cuts pieces of bytes into lines of text and hands each on."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Hand on the lines that are complete."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))

    def end(self) -> None:
        """Hand on what came after the last line end."""
        if self._rest:
            self._on_line(self._rest.decode(errors="replace"))
            self._rest = b""
