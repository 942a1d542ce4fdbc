"""What a kind of remote device must be able to do; all else is built on it by ``remote``."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

from edgeops.core.files import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# With a leash, a line end is written to standard input this often: what reads it knows that the
# connection is alive, and can end what it does when nothing comes any more.
BEAT_S = 5.0


@dataclass(frozen=True)
class Done:
    """How a command on the device ended and what it wrote."""

    code: int
    out: bytes
    err: bytes


class Deadline:
    """Seconds that are left; ``pause`` stops the clock until ``go``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end: float | None = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, infinite while paused."""
        return float("inf") if self._end is None else self._end - time.monotonic()

    def pause(self) -> None:
        """Stop the clock: what is waited for is somebody else's."""
        self._end = None

    def go(self) -> None:
        """Start the clock anew when it was paused."""
        if self._end is None:
            self._end = time.monotonic() + self.seconds


def deadline(timeout_s: float | Deadline) -> Deadline:
    """Return a deadline so many seconds from now, or the one that is given."""
    return timeout_s if isinstance(timeout_s, Deadline) else Deadline(timeout_s)


@contextmanager
def leaving(source: Path, offset: int) -> Iterator[tuple[IO[bytes], int]]:
    """Yield a file to send from ``offset`` on, and how many bytes that are.

    It is unbuffered, for a program that gets it reads on from where the file itself stands.
    """
    with source.open("rb", buffering=0) as file:
        file.seek(offset)
        yield file, source.stat().st_size - offset


@contextmanager
def arriving(destination: Path) -> Iterator[IO[bytes]]:
    """Yield a file for what comes; it is removed when the block raises.

    Raises MissingError ``disk-full``.
    """
    with disk_errors(destination):
        try:
            with destination.open("wb") as file:
                yield file
        except BaseException:
            destination.unlink(missing_ok=True)
            raise


class Shell(Protocol):
    """A POSIX shell and files on a device; ``where`` names it in messages.

    A connection that is lost raises TransportError ``device-lost``, a disk that is full
    MissingError ``device-disk-full``. ``process`` has what serves shells that are a program here.
    """

    where: str

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float | Deadline,
        on_line: Callable[[str], None] | None = None,
        leash: bool = False,
    ) -> Done:
        """Run a command line of ``sh`` there.

        ``on_line`` gets each line of standard output as it comes; ``out`` is empty then. With
        ``leash`` standard input stays open after ``stdin`` was written, gets a line end every
        ``BEAT_S`` seconds, and is closed when the command is over or is to be ended: by
        ``timeout_s`` (seconds), an interrupt or an error. Raises TransportError
        ``device-timeout`` when the time is over.
        """

    def put(self, source: Path, path: str, *, offset: int = 0) -> None:
        """Write the bytes of ``source`` from ``offset`` on to the end of the file ``path`` there.

        ``offset`` 0 writes the file anew. When it raises, the bytes that came over stay there.
        """

    def get(self, path: str, destination: Path) -> None:
        """Copy a file from there."""
