"""How time and memory of a loaded model are measured; standard library only.

All times are read from a clock that gives nanoseconds and never goes back. Garbage collection is
off while calls are timed, so that a pause of Python's own is not counted as the engine's.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from array import array
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Run = Callable[[dict[str, Any]], object]
    Clock = Callable[[], int]

NANO = 1_000_000_000
# Warm-up: two successive windows whose medians differ by less than this are called stationary.
WINDOW = 10
STATIONARY = 0.05
# What a latency loop keeps at most: eight bytes a call, a second of calls of five microseconds.
MOST_CALLS = 200_000
# A model too slow for the least number of calls may take this many times the budget.
PATIENCE = 4
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class WarmUp:
    """How many calls it took until times stood still, and whether they did within the budget."""

    calls: int
    stationary: bool


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector out of what is timed."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def warm_up(
    run: Run,
    feeds: Sequence[dict[str, Any]],
    seconds: float,
    *,
    clock: Clock = time.perf_counter_ns,
) -> WarmUp:
    """Call until the medians of two successive windows of ten calls differ by less than 5 %.

    Ends not stationary when that takes longer than ``seconds``.
    """
    until = clock() + int(seconds * NANO)
    turns = cycle(feeds)
    before, calls = 0.0, 0
    while True:
        window = []
        for feed in turns:
            start = clock()
            run(feed)
            end = clock()
            calls += 1
            window.append(end - start)
            if len(window) == WINDOW or end >= until:
                break
        now = median(window)
        if before and abs(now - before) < STATIONARY * before:
            return WarmUp(calls, stationary=True)
        if clock() >= until:
            return WarmUp(calls, stationary=False)
        before = now


def time_calls(
    run: Run,
    feeds: Sequence[dict[str, Any]],
    seconds: float,
    *,
    least: int,
    clock: Clock = time.perf_counter_ns,
) -> array[int]:
    """Return the time of each call in nanoseconds, one call after the other.

    Goes on for ``seconds`` and until there are ``least`` calls, but no longer than four times
    ``seconds`` and no more than 200,000 calls.
    """
    times = array("q")
    start = clock()
    until, hard = start + int(seconds * NANO), start + int(PATIENCE * seconds * NANO)
    for feed in cycle(feeds):
        before = clock()
        run(feed)
        after = clock()
        times.append(after - before)
        enough = after >= until and (len(times) >= least or after >= hard)
        if enough or len(times) >= MOST_CALLS:
            break
    return times


def time_pairs(
    one: Run,
    other: Run,
    feeds: Sequence[dict[str, Any]],
    seconds: float,
    *,
    least: int,
    clock: Clock = time.perf_counter_ns,
) -> tuple[array[int], array[int]]:
    """Return the times of ``one`` and ``other`` called in turn on the same feeds.

    Who goes first changes with every pair, for whoever goes second finds warmer caches. Bounds as
    ``time_calls``.
    """
    ones, others = array("q"), array("q")
    start = clock()
    until, hard = start + int(seconds * NANO), start + int(PATIENCE * seconds * NANO)
    for turn, feed in enumerate(cycle(feeds)):
        order = ((one, ones), (other, others))
        after = 0
        for run, times in order if turn % 2 == 0 else reversed(order):
            before = clock()
            run(feed)
            after = clock()
            times.append(after - before)
        enough = after >= until and (len(ones) >= least or after >= hard)
        if enough or len(ones) >= MOST_CALLS:
            break
    return ones, others


def reset_peak() -> bool:
    """Make the peak of resident memory start anew from what is resident now; False if it cannot."""
    try:
        # "5" resets VmHWM (Linux, Documentation/filesystems/proc.rst).
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> tuple[int, str]:
    """Return the peak of resident memory of this process in bytes, and where that was read."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024, "VmHWM"
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024), "ru_maxrss"
