"""Goes on as the agent that a release brought, once it has shown that it starts.

To start is not to work: one that ends whenever it is to update would be become again at each restart,
for ever. So how often it was become stands in a file until it has finished a cycle.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.core.digest import sha256_file
from edgeops.core.files import canonical_json
from edgeops.errors import EdgeopsError
from edgeops.runtime.agent import files, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROGRAM, FILE = "agent.pyz", "renewal.json"
# So often a program may be become in a row without finishing a cycle: the power may have gone.
MOST = 3
_SECONDS = 60.0
_GIVEN_UP = (
    f"the agent of the release ({PROGRAM}) was begun {MOST} times in a row and never finished a cycle: "
    "it is not begun again, the one before it goes on"
)


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


def given_up(home: Path) -> str:
    """Return why the program that lies in a home is not become any more, "" when it would be."""
    digest, times = _count(home)
    with suppress(OSError):
        if times >= MOST and sha256_file(home / PROGRAM) == digest:
            return _GIVEN_UP
    return ""


def _count(home: Path) -> tuple[str, int]:
    """Return which program was become and how often in a row; a damaged count is none."""
    try:
        document = json.loads((home / FILE).read_bytes())
        digest, times = document["digest"], document["times"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "", 0
    return (digest, times) if type(digest) is str and type(times) is int else ("", 0)


class Renewal:
    """Remembers what is running, so that a program that does not start is tried once."""

    def __init__(self, home: Path, arguments: Sequence[str]) -> None:
        self._home = home
        self._arguments = list(arguments)
        self._running = Path(sys.argv[0]).absolute()
        self._digest = sha256_file(self._running) if self._running.suffix == ".pyz" else ""
        self._tried = ""
        self._begun = False

    def take_over(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Become the newer program, which keeps this process' id; returns where there is none.

        It would not know that this process was told to end, so nothing is become after that.
        """
        try:
            self._take_over(stop)
        except OSError as error:
            # A program that cannot be read or counted is no reason to end the one that works.
            log.write(self._home, "agent-kept", why=str(error))

    @contextmanager
    def cycle(self) -> Iterator[None]:
        """Note that this program has finished a cycle, unless an error that it does not know ends it."""
        self._begun = True
        try:
            yield
        except EdgeopsError:  # a server that is away is not the program's fault
            self._finished()
            raise
        self._finished()

    def ended(self) -> None:
        """Note that this program ended as it was told: before its first cycle that is no failure."""
        if not self._begun:
            self._finished()

    def _take_over(self, stop: Callable[[], bool]) -> None:
        program = self._home / PROGRAM
        if not self._digest or not program.is_file():
            return
        found = sha256_file(program)
        if found in (self._digest, self._tried):
            return
        why = given_up(self._home) or works(program, self._home)
        if stop():
            return
        if not why and self._could_go_on():
            self._note(found)
        self._tried = found
        log.write(self._home, "agent-kept" if why else "agent-renewed", why=why, digest=found)
        if not why:
            os.execv(sys.executable, [sys.executable, str(program), *self._arguments])  # noqa: S606

    def _could_go_on(self) -> bool:
        """Return whether this program would work here.

        It would not with a policy that cannot be followed; then the newer one is not to blame for
        ending, and may even know more of what stands there.
        """
        from edgeops.runtime.agent.daemon import check_hook
        from edgeops.runtime.agent.policy import read_policy

        try:
            check_hook(read_policy(self._home))
        except EdgeopsError:
            return False
        return True

    def _note(self, found: str) -> None:
        """Count a program before it is become: afterwards it may not come to that."""
        digest, times = _count(self._home)
        count = {"digest": found, "times": times + 1 if digest == found else 1}
        files.write(self._home / FILE, canonical_json(count))

    def _finished(self) -> None:
        """End the count of this program; that of another one is not its own to end."""
        if not self._digest or _count(self._home)[0] != self._digest:
            return
        with suppress(OSError):  # the next cycle does it
            files.unlink(self._home / FILE)
            files.sync_folder(self._home)
