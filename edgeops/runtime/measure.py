"""How time and memory of a loaded model are measured; standard library only.

All times are read from a clock that gives nanoseconds and never goes back. Garbage collection is
off while calls are timed, so that a pause of Python's own is not counted as the engine's. Between
calls, outside of what is timed, each loop says in ``edgeops.runtime.pulse`` that it goes on.
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

from edgeops.runtime import pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Run = Callable[[dict[str, Any]], object]
    Clock = Callable[[], int]

NANO = 1_000_000_000
# Warm-up: calls before times are looked at, the share of the budget that it takes at least, and by
# how much the medians of two successive parts of it may differ.
WINDOW = 40
_AT_LEAST = 0.1
STATIONARY = 0.05
MOST_CALLS = pulse.MOST_TIMES
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
    """Call until times stand still: the last quarter of the calls took as long as the one before.

    Looked at after 40 calls and a tenth of ``seconds`` at the earliest, then each time there are
    half as many calls more: of a slow decline, neighbouring calls show nothing. Ends not stationary
    when that takes longer than ``seconds``.
    """
    turns = cycle(feeds)
    times = array("q")
    with _beats(clock) as beat:
        begun = after = clock()
        least, until = begun + int(seconds * NANO * _AT_LEAST), begun + int(seconds * NANO)
        look = WINDOW
        for feed in turns:
            beat[pulse.BEGUN] = after
            start = clock()
            run(feed)
            after = clock()
            times.append(after - start)
            if len(times) >= look and after >= least:
                if settled(times):
                    return WarmUp(len(times), stationary=True)
                look = len(times) * 3 // 2
            if after >= until:
                break
    return WarmUp(len(times), stationary=False)


def settled(times: Sequence[int]) -> bool:
    """Whether the medians of the last quarter and of the one before differ by less than 5 %."""
    quarter = len(times) // 4
    last, before = median(times[-quarter:]), median(times[-2 * quarter : -quarter])
    return abs(last - before) < STATIONARY * before


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
    most, kept, count = MOST_CALLS, pulse.KEPT, 0
    with _beats(clock) as beat:
        times = beat[pulse.TIMES :]
        start = after = clock()
        until, hard = start + int(seconds * NANO), start + int(PATIENCE * seconds * NANO)
        for feed in cycle(feeds):
            beat[pulse.BEGUN] = after
            before = clock()
            run(feed)
            after = clock()
            times[count] = after - before
            count += 1
            beat[kept] = count
            if count >= most or (after >= until and (count >= least or after >= hard)):
                break
        return array("q", times[:count])


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
    order = ((one, ones), (other, others))
    with _beats(clock) as beat:
        start = after = clock()
        until, hard = start + int(seconds * NANO), start + int(PATIENCE * seconds * NANO)
        for turn, feed in enumerate(cycle(feeds)):
            for run, times in order if turn % 2 == 0 else reversed(order):
                beat[pulse.BEGUN] = after
                before = clock()
                run(feed)
                after = clock()
                times.append(after - before)
            enough = after >= until and (len(ones) >= least or after >= hard)
            if enough or len(ones) >= MOST_CALLS:
                break
    return ones, others


@contextmanager
def _beats(clock: Clock) -> Iterator[memoryview]:
    """Yield the slots of the pulse for a loop, which keeps no time yet; it is over at the end."""
    beat = pulse.view()
    beat[pulse.KEPT] = 0
    beat[pulse.BEGUN] = clock()
    try:
        yield beat
    finally:
        beat[pulse.BEGUN] = 0


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
