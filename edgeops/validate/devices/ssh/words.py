"""Command lines as they go over ssh, and what comes back with words of the login shell around it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_BEGIN = "=edgeops"
# A file may take a minute, and as much longer as a slow link needs.
_LEAST_S = 60.0
_SLOWEST = 20_000  # bytes a second


def commanded(command: str) -> str:
    """Return a command line of ``sh`` as one that any login shell hands to ``sh``.

    What it writes follows a line that ``After`` looks for.
    """
    return f"exec sh -c {shlex.quote(f'echo {_BEGIN}; {command}')}"


def put_command(path: str, offset: int) -> str:
    """Return the command that writes standard input to a file, or to its end."""
    return f"umask 077; exec cat {'>>' if offset else '>'}{shlex.quote(path)}"


def get_command(path: str) -> str:
    """Return the command that writes a file to standard output."""
    return f"exec cat {shlex.quote(path)}"


def patience(size: int) -> float:
    """Return how many seconds a file of so many bytes may take."""
    return _LEAST_S + size / _SLOWEST


class After:
    """Hands on what a command writes, without what the login shell said before.

    Start files greet some people whoever asks, and that is no part of a file or an answer.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._before: bytes | None = b""

    def __call__(self, piece: bytes) -> None:
        """Take a piece of standard output."""
        if self._before is None:
            self._write(piece)
            return
        line = f"{_BEGIN}\n".encode()
        self._before += piece
        _, found, rest = self._before.partition(line)
        if found:
            self._before = None
            if rest:
                self._write(rest)
