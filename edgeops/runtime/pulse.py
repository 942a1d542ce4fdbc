"""The pulse of a process that measures: what it does now, in memory that another process reads.

A call that hangs cannot say so itself. So each loop writes here when its call began, outside of
what is timed, and the supervisor of the measuring program reads it (``edgeops.runtime.probe``). The
times of the loop that runs lie here too, so that they outlive a process that is killed.

Without a supervisor the memory is the process's own, and nobody reads it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Slots of eight bytes: when the call that runs began (nanoseconds of `time.perf_counter_ns`, which
# all processes share; 0 when none runs), how many times follow, the times.
BEGUN, KEPT, TIMES = 0, 1, 2
# What a loop keeps at most: eight bytes a call, a second of calls of five microseconds.
MOST_TIMES = 200_000
SIZE = 8 * (TIMES + MOST_TIMES)

_view: memoryview | None = None


def shared() -> int:
    """Return the descriptor of a file in memory that ``attach`` and ``read`` take; nothing is kept."""
    try:
        handle = os.memfd_create("edgeops-pulse")
    except (AttributeError, OSError):
        # Not Linux, or an old one.
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, SIZE)
    return handle


def read(handle: int) -> memoryview:
    """Return the slots of a shared file as integers."""
    return memoryview(mmap.mmap(handle, SIZE)).cast("q")


def attach(handle: int) -> None:
    """Have the loops of this process write into a shared file."""
    global _view  # noqa: PLW0603 - a process has one pulse
    _view = read(handle)


def view() -> memoryview:
    """Return the slots that this process writes."""
    global _view  # noqa: PLW0603 - as above
    if _view is None:
        # Pages that are never written take no memory.
        _view = memoryview(mmap.mmap(-1, SIZE)).cast("q")
    return _view


@contextmanager
def beating() -> Iterator[None]:
    """Count the block as one call: it began now, and is over at its end, also when it raises."""
    slots = view()
    slots[BEGUN] = time.perf_counter_ns()
    try:
        yield
    finally:
        slots[BEGUN] = 0
