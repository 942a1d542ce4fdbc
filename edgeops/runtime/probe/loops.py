"""The timed loops: seconds, MLPerf's single stream, or minutes in windows to see a drift."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from edgeops.runtime import measure
from edgeops.runtime.probe.machine import Machine, Unreadable, processors
from edgeops.runtime.probe.noise import frequencies, temperature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Tell

_WARM_UP_SHARE = 0.25
_WARM_UP_MOST_S = 5.0
# MLPerf Inference rules, single stream: at least so many queries and so long.
_MLPERF_QUERIES, _MLPERF_S = 1024, 60.0
_WINDOWS = 60
_WINDOW_S = (1.0, 10.0)


@dataclass(frozen=True)
class Plan:
    """How long to time: at least ``seconds`` and ``least`` calls; in windows of ``window_s``.

    ``window_s`` 0 is one short loop, which ends after four times ``seconds`` in any case.
    """

    seconds: float
    least: int
    window_s: float
    warm_up_s: float
    sustained: bool


def plan(request: Mapping[str, Any]) -> Plan:
    """Return what a request asks for."""
    seconds, least = float(request.get("seconds") or 0), int(request.get("least") or 1)
    sustained = float(request.get("sustained_s") or 0)
    mlperf = request.get("preset") == "mlperf"
    if mlperf:
        seconds, least = max(seconds, _MLPERF_S), max(least, _MLPERF_QUERIES)
    seconds = max(seconds, sustained)
    low, high = _WINDOW_S
    window = min(high, max(low, seconds / _WINDOWS)) if mlperf or sustained else 0.0
    warm_up = min(seconds * _WARM_UP_SHARE, _WARM_UP_MOST_S) if window else seconds * _WARM_UP_SHARE
    return Plan(seconds, least, window, warm_up, bool(sustained))


def run(
    asked: Plan,
    call: measure.Run,
    feeds: Sequence[dict[str, Any]],
    machine: Machine,
    tell: Tell,
) -> dict[str, Any]:
    """Time calls as planned; return ``latency_ns``, ``calls`` and, sustained, ``sustained``.

    Of a long loop ``latency_ns`` holds every n-th call, so that 200,000 are not exceeded.
    """
    if not asked.window_s:
        times = measure.time_calls(call, feeds, asked.seconds, least=asked.least)
        return {"latency_ns": times.tolist(), "calls": len(times)}
    return _windows(asked, call, feeds, machine, tell)


def _windows(
    asked: Plan,
    call: measure.Run,
    feeds: Sequence[dict[str, Any]],
    machine: Machine,
    tell: Tell,
) -> dict[str, Any]:
    total = max(1, round(asked.seconds / asked.window_s))
    kept, windows, calls, told = array("q"), [], 0, 0
    tell({"say": "step", "what": "timing calls", "total": total})
    begun, elapsed = time.monotonic(), 0.0
    while elapsed < asked.seconds or calls < asked.least:
        times = measure.time_calls(call, feeds, asked.window_s, least=1)
        calls += len(times)
        kept.extend(_thinned(times, measure.MOST_CALLS // total))
        windows.append(
            {
                "start_s": elapsed,
                "p50_ms": median(times) / 1e6,
                "calls": len(times),
                "temperature_c": _or_none(temperature, machine),
                "frequency_mhz": _frequency(machine),
            }
        )
        elapsed = time.monotonic() - begun
        # A window of very fast calls ends before its time.
        done = min(total, int(elapsed / asked.window_s))
        if done > told:
            tell({"say": "advance", "parts": done - told})
            told = done
    found = {"latency_ns": _thinned(kept, measure.MOST_CALLS).tolist(), "calls": calls}
    return {**found, "sustained": {"windows": windows}} if asked.sustained else found


def _thinned(times: array[int], most: int) -> array[int]:
    """Return every n-th of the times, so that there are at most so many."""
    return times[:: max(1, -(-len(times) // max(1, most)))]


def _or_none(read: Any, *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except Unreadable:
        return None


def _frequency(machine: Machine) -> float | None:
    found = _or_none(frequencies, machine, processors())
    return None if found is None else min(found)
