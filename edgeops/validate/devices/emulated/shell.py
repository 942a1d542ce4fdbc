"""The shell of the arm64 userland: commands run in it, files lie in its home on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edgeops.core.files import inside
from edgeops.errors import InputError
from edgeops.validate.devices.emulated.enter import HOME
from edgeops.validate.devices.remote.process import run_process
from edgeops.validate.devices.remote.trouble import full

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.validate.devices.emulated.enter import Entrance
    from edgeops.validate.devices.remote.shell import Deadline, Done

WHERE = "emulated:arm64"
_FULL = (28, 122)  # ENOSPC, EDQUOT


class UserlandShell:
    """A ``Shell`` in a userland; paths are below its home."""

    where = WHERE

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._home = entrance.userland.home

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float | Deadline,
        on_line: Callable[[str], None] | None = None,
        leash: bool = False,
    ) -> Done:
        """Run a command line there, as ``Shell.run`` says; nothing that it starts outlives it."""
        return run_process(
            self._entrance.argv(command),
            where=self.where,
            timeout_s=timeout_s,
            stdin=stdin,
            on_line=on_line,
            leash=leash,
        )

    def put(self, source: Path, path: str, *, offset: int = 0) -> None:
        """Write the bytes of a file from ``offset`` on to the end of a file there.

        Raises MissingError ``device-disk-full``.
        """
        try:
            with (
                source.open("rb") as read,
                self._here(path).open("ab" if offset else "wb") as write,
            ):
                read.seek(offset)
                shutil.copyfileobj(read, write)
        except OSError as error:
            if error.errno in _FULL:
                raise full(self.where, str(self._home), str(error)) from error
            raise

    def get(self, path: str, destination: Path) -> None:
        """Copy a file from there."""
        shutil.copyfile(self._here(path), destination)

    def _here(self, path: str) -> Path:
        """Return where a file of the home lies on this machine; raises InputError ``path-outside``."""
        pure = PurePosixPath(path)
        if not pure.is_relative_to(HOME):
            raise InputError(
                "path-outside",
                f"{path!r} leads outside {HOME}",
                where=self.where,
                why="only the home can be written in the userland",
                fix="name a file below it",
            )
        return inside(self._home, pure.relative_to(HOME).as_posix())
