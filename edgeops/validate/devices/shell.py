"""What a kind of remote device must be able to do; all else is built on it by ``remote``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Done:
    """How a command on the device ended and what it wrote."""

    code: int
    out: bytes
    err: bytes


class Shell(Protocol):
    """A POSIX shell and files on a device; ``where`` names it in messages.

    A connection that is lost raises TransportError ``device-lost``, a disk that is full
    MissingError ``device-disk-full``.
    """

    where: str

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float,
        on_line: Callable[[str], None] | None = None,
        leash: bool = False,
    ) -> Done:
        """Run a command line of ``sh`` there.

        ``on_line`` gets each line of standard output as it comes; ``out`` is empty then. With
        ``leash`` standard input stays open after ``stdin`` was written, and is closed when the
        command is over or is to be ended: by ``timeout_s`` (seconds), an interrupt or an error.
        Raises TransportError ``device-timeout`` when the time is over.
        """

    def put(self, source: Path, path: str, *, offset: int = 0) -> None:
        """Write the bytes of ``source`` from ``offset`` on to the end of the file ``path`` there.

        ``offset`` 0 writes the file anew.
        """

    def get(self, path: str, destination: Path) -> None:
        """Copy a file from there."""
