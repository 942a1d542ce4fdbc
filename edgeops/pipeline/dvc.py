"""DVC through its command line: how it is set up, started, listened to and ended (ADR 0003)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from queue import SimpleQueue

    Lines = SimpleQueue[tuple["Repro", str | None]]

_GRACE_S = 10.0
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
_QUIET = "    analytics = false\n    check_update = false\n"
_RUNNING = re.compile(r"^Running stage '([^']+)':$")
_SKIPPED = re.compile(r"^(?:Stage )?'([^']+)' didn't change, skipping$")
_RESTORED = re.compile(r"^Stage '([^']+)' is cached - skipping run")
_FAILED = re.compile(r"^ERROR: failed to reproduce '([^']+)': (.*)$")
_SAVED = re.compile(r"^(?:Updating|Generating) lock file ")
_BUSY = ("Unable to acquire lock", "is busy, it is being blocked by")


@dataclass(frozen=True)
class Line:
    """What a line of DVC's output says: ``kind`` is running, unchanged, restored, failed, saved or text."""

    kind: str
    stage: str = ""
    text: str = ""


def read_line(line: str) -> Line:
    """Return what a line of ``dvc repro`` says."""
    if match := _RUNNING.match(line):
        return Line("running", match[1])
    if match := _SKIPPED.match(line):
        return Line("unchanged", match[1])
    if match := _RESTORED.match(line):
        return Line("restored", match[1])
    if match := _FAILED.match(line):
        return Line("failed", match[1], match[2])
    return Line("saved" if _SAVED.match(line) else "text", text=line)


def is_busy(lines: Sequence[str]) -> bool:
    """Return whether DVC gave up because another process holds its lock."""
    return any(sign in line for line in lines for sign in _BUSY)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for DVC and its stages.

    The folder of this Python comes first in PATH, so that ``edgeops`` and ``python`` in a stage's
    command are those of the environment that edgeops runs in.
    """
    own = str(Path(sys.executable).parent)
    rest = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != own]
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return {
        **kept,
        "PATH": os.pathsep.join([own, *rest]),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
        **(extra or {}),
    }


def ensure_repository(root: Path) -> str:
    """Make ``root`` a DVC repository when it lies in none; return a note on it, or "".

    Raises InputError ``dvc-init-failed``.
    """
    if _above(root, ".dvc"):
        return ""
    note = "DVC was set up in this project"
    git = _above(root, ".git")
    if git is None:
        initialise(root, "--no-scm")
        note += ", without git: there will be no experiments and no differences between revisions"
    else:
        initialise(root, *(["--subdir"] if git != root else []))
    return note


def initialise(root: Path, *options: str) -> None:
    """Make ``root`` a DVC repository that keeps to itself; raises InputError ``dvc-init-failed``."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dvc", "init", "--quiet", *options],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(
            "dvc-init-failed",
            "DVC could not be set up in this project",
            where=str(root),
            why=(done.stderr or done.stdout).strip()[-2000:],
            fix="mend what it says, or set it up yourself: dvc init",
        )
    _keep_to_itself(root / ".dvc" / "config")


def _above(folder: Path, name: str) -> Path | None:
    folder = folder.resolve()
    return next((one for one in (folder, *folder.parents) if (one / name).exists()), None)


def _keep_to_itself(config: Path) -> None:
    """Switch off DVC's analytics and update checks: no verb uses the network unless it says so."""
    text = config.read_text(encoding="utf-8")
    head = "[core]\n"
    text = text.replace(head, head + _QUIET, 1) if head in text else head + _QUIET + text
    config.write_text(text, encoding="utf-8")


class Repro:
    """One ``dvc repro`` that runs in a process group of its own.

    Every line of its output is put into ``lines`` as (self, line); (self, None) when it is over.
    """

    def __init__(
        self, root: Path, arguments: Sequence[str], env: Mapping[str, str], lines: Lines
    ) -> None:
        self.tail: list[str] = []
        read, self._leash = os.pipe()
        command = [sys.executable, "-P", "-m", "edgeops.pipeline.leash", str(read)]
        try:
            self._process = subprocess.Popen(
                [*command, "repro", *arguments],
                cwd=root,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=(read,),
                process_group=0,
            )
        finally:
            os.close(read)
        self._lines = lines
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._wait, daemon=True).start()

    def end(self) -> None:
        """End DVC and its stages: first as Ctrl-C does, then, after a grace period, for good."""
        try:
            for number, patience in ((signal.SIGINT, _GRACE_S), (signal.SIGTERM, 2.0)):
                self._signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience)
                    break
        finally:
            self._signal(signal.SIGKILL)
            self.close()

    def close(self) -> int:
        """Wait for the end, let go of the leash and return the exit status."""
        status = self._process.wait()
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1
        return status

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _listen(self) -> None:
        output = self._process.stdout
        for line in output or ():
            self._lines.put((self, line.rstrip("\r\n")))
        if output:
            output.close()
        self._lines.put((self, None))

    def _wait(self) -> None:
        """Report the end even when a program that a stage left behind still holds the pipe."""
        if self._process.wait() < 0:
            self._signal(signal.SIGKILL)
        threading.Event().wait(1.0)
        self._lines.put((self, None))
