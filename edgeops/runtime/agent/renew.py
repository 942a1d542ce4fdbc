"""Goes on as the agent that a release brought, once it has shown that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.core.digest import sha256_file
from edgeops.runtime.agent import log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM = "agent.pyz"
_SECONDS = 60.0


def works(program: Path, home: Path) -> str:
    """Return why a program cannot take over, "" when it reads this home's status."""
    command = [sys.executable, str(program), "status", "--home", str(home), "--json"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"exit {done.returncode}: {said[-1] if said else ''}" if done.returncode else ""


class Renewal:
    """Remembers what is running, so that a program that does not start is tried once."""

    def __init__(self, home: Path, arguments: Sequence[str]) -> None:
        self._home = home
        self._arguments = list(arguments)
        self._running = Path(sys.argv[0]).absolute()
        self._digest = sha256_file(self._running) if self._running.suffix == ".pyz" else ""
        self._tried = ""

    def take_over(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Become the newer program, which keeps this process' id; returns where there is none.

        It would not know that this process was told to end, so nothing is become after that.
        """
        program = self._home / PROGRAM
        if not self._digest or not program.is_file():
            return
        found = sha256_file(program)
        if found in (self._digest, self._tried):
            return
        self._tried = found
        why = works(program, self._home)
        if stop():
            return
        log.write(self._home, "agent-kept" if why else "agent-renewed", why=why, digest=found)
        if not why:
            os.execv(sys.executable, [sys.executable, str(program), *self._arguments])  # noqa: S606
