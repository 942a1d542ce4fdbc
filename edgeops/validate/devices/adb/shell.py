"""A shell and files on a device through the adb client: what ``remote`` needs of a device.

Everything is one ``adb shell``. Its protocol keeps output and errors apart, closes standard input
and carries bytes as they are, but when a connection breaks, the client ends with 0 or 1 as a
command may. So each command line is wrapped: what it ended with is the last line of standard
error, and the wrapper itself ends with a number that only a whole conversation brings back.
"""

from __future__ import annotations

import re
import shlex
from typing import IO, TYPE_CHECKING, Any

from edgeops.validate.devices.adb.client import last_line
from edgeops.validate.devices.remote.process import run_process
from edgeops.validate.devices.remote.shell import Done, arriving, leaving
from edgeops.validate.devices.remote.trouble import failed, lost

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeops.errors import TransportError
    from edgeops.validate.devices.adb.client import Client
    from edgeops.validate.devices.remote.shell import Deadline

_WHOLE = 86
_ENDED = re.compile(rb"\nedgeops-exit:(\d+)\n\Z")
# A file may take a minute, and as much longer as a slow link needs.
_LEAST_S = 60.0
_SLOWEST = 100_000  # bytes a second


class AdbShell:
    """A shell on the device with a serial; ``where`` names it in messages."""

    def __init__(self, client: Client, serial: str) -> None:
        self._client = client
        self._serial = serial
        self.where = f"adb:{serial}"

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float | Deadline,
        on_line: Callable[[str], None] | None = None,
        leash: bool = False,
    ) -> Done:
        """Run a command line of ``sh`` there; as ``Shell.run``."""
        return self._run(command, timeout_s, stdin=stdin, on_line=on_line, leash=leash)

    def put(self, source: Path, path: str, *, offset: int = 0) -> None:
        """Write a file, or what of it follows ``offset``, to the end of one there.

        Raises MissingError ``device-disk-full`` or ``device-not-writable``, TransportError
        ``device-lost``.
        """
        command = f"cat {'>>' if offset else '>'} {shlex.quote(path)}"
        with leaving(source, offset) as (file, size):
            done = self._run(command, _patience(size), source=file)
        if done.code:
            raise failed(self.where, path, done)

    def get(self, path: str, destination: Path) -> None:
        """Copy a file from there; ``destination`` is left out when that fails.

        Raises TransportError ``device-lost``, MissingError ``disk-full`` or ``device-shell``.
        """
        quoted = shlex.quote(path)
        size = self._run(f"wc -c < {quoted}", _LEAST_S)
        if size.code:
            raise failed(self.where, path, size)
        with arriving(destination) as file:
            done = self._run(f"cat {quoted}", _patience(int(size.out)), sink=file)
            if done.code:
                raise failed(self.where, path, done)

    def _run(
        self,
        command: str,
        timeout_s: float | Deadline,
        *,
        source: IO[bytes] | None = None,
        sink: IO[bytes] | None = None,
        **more: Any,
    ) -> Done:
        whole = (
            f"sh -c {shlex.quote(command)}; printf '\\nedgeops-exit:%s\\n' $? >&2; exit {_WHOLE}"
        )
        argv = self._client.command("shell", "-T", whole, serial=self._serial)
        done = run_process(
            argv, where=self.where, timeout_s=timeout_s, source=source, sink=sink, **more
        )
        ended = _ENDED.search(done.err)
        if done.code == _WHOLE and ended is not None:
            return Done(int(ended[1]), done.out, done.err[: ended.start()])
        raise self._lost(done)

    def _lost(self, done: Done) -> TransportError:
        words = last_line((done.out + done.err).decode(errors="replace"))
        return lost(self.where, words or f"adb's shell ended with {done.code} before the command")


def _patience(size: int) -> float:
    return _LEAST_S + size / _SLOWEST
