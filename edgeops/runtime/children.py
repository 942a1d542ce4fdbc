"""Child processes that end with this one: started by one thread, ended with all they started."""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess


@cache
def spawner() -> ThreadPoolExecutor:
    """Return the thread that starts children.

    Linux ends a child when the thread that started it ends, and models are loaded in threads that
    come and go: all children are started by one thread that stays.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="edgeops-worker")


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that leads a process group, and what it started, and wait for it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
