"""Keep what native code prints off standard output, and what it said at hand for an error."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK = threading.RLock()  # file descriptor 1 is the whole process's
_STDOUT = 1


class Said:
    """What native code printed on standard output; ``text`` is there once the block has ended."""

    text: str = ""

    def last(self, lines: int = 3) -> str:
        """Return its last lines as one."""
        told = [line.strip() for line in self.text.splitlines() if line.strip()]
        return "; ".join(told[-lines:])


@contextmanager
def hushed() -> Iterator[Said]:
    """Collect what is written to file descriptor 1 while the block runs.

    Other threads that print meanwhile are collected too, so blocks should be short. A standard
    output that is closed is left alone.
    """
    said = Said()
    with _LOCK:
        _flush()
        try:
            before = os.dup(_STDOUT)
        except OSError:
            yield said
            return
        with _buffer() as file:
            os.dup2(file.fileno(), _STDOUT)
            try:
                yield said
            finally:
                _flush()
                os.dup2(before, _STDOUT)
                os.close(before)
                file.seek(0)
                said.text = file.read().decode(errors="replace")


def _buffer() -> IO[bytes]:
    """Return a file in memory: a device may have no folder to write to."""
    try:
        return os.fdopen(os.memfd_create("edgeops"), "w+b")
    except (AttributeError, OSError):
        return tempfile.TemporaryFile()


def _flush() -> None:
    # printf keeps text in a buffer of the C library, which would come out after the block.
    if sys.stdout is not None:
        sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)
