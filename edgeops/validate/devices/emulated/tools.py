"""Run a program of this machine to its end, when what counts is how it ended and what it said."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from edgeops.runtime.worker import last_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def ended(
    command: Sequence[str], seconds: float, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Return how a program ended; one that is not over after ``seconds`` counts as failed."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=variables,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no end after {seconds:g} s")


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return "" for a program that did what it should, else its last words."""
    if not done.returncode:
        return ""
    return last_words(done.stderr or done.stdout) or f"status {done.returncode}"
