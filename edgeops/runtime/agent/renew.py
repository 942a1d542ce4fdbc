"""Goes on as the agent that a release brought, once it has shown that it starts.

To start is not to work: one that ends whenever it is to update would be become again at each restart,
for ever. So how often it was become stands in a file until it has finished a cycle. One that goes on and
meets an error that it does not know in each cycle gives itself up, and the one before goes on.
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
# So often a program may be become in a row without finishing a cycle: the power may have gone. And so
# many cycles may end in a row by errors that it does not know.
MOST = 3
# The program that became this one, for its path is in no argument.
BEFORE = "EDGEOPS_AGENT_BEFORE"
_SECONDS = 60.0
_GIVEN_UP = (
    f"the agent of the release ({PROGRAM}) never finished a cycle, {MOST} times in a row: "
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
        self._failures = 0

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
    def cycle(self, stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Note that this program has finished a cycle, unless an error that it does not know ends it.

        After several such errors, and no cycle that was finished, it becomes the program before.
        """
        self._begun = True
        try:
            yield
        except EdgeopsError:  # a server that is away is not the program's fault
            self._finished()
            raise
        except (OSError, MemoryError):  # what the system lacks any program would meet
            raise
        except Exception as error:
            self._failed(error, stop)
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
            self._become(program)

    def _become(self, program: Path) -> None:
        if self._running != (self._home / PROGRAM).absolute():
            os.environ[BEFORE] = str(self._running)  # what lies in the home is another from now on
        os.execv(sys.executable, [sys.executable, str(program), *self._arguments])  # noqa: S606

    def _failed(self, error: Exception, stop: Callable[[], bool]) -> None:
        """Give this program up when it has failed so often and there is one to go back to.

        Once it has finished a cycle nothing counts any more, so what comes later, as a system that is
        short of memory, is not held against it.
        """
        self._failures += 1
        before = Path(os.environ.get(BEFORE, ""))
        counts = self._digest and _count(self._home)[0] == self._digest
        if self._failures < MOST or stop() or not counts or before.suffix != ".pyz":
            return
        try:
            if sha256_file(before) == self._digest:
                return
            count = {"digest": self._digest, "times": MOST}
            files.write(self._home / FILE, canonical_json(count))
            why = f"{type(error).__name__}: {error}"
            log.write(self._home, "agent-given-up", why=why, digest=self._digest)
            self._become(before)
        except OSError as problem:
            log.write(self._home, "agent-kept", why=str(problem))

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
