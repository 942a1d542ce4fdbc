"""Compare two variants in trials of interleaved calls, and stop as soon as the answer is clear.

A trial loads both variants twice, the second time in the other order, for what is left of the
differences between two loads of one model is how each came to lie in memory. A coin chooses which
order comes first; whoever is loaded first is warmed up first and called first, so that equal
variants differ by nothing but the coin. ``edgeops.core.sequential`` says what follows from that.

Within a trial the variants take turns, a few milliseconds each. The first call of a turn finds the
caches full of the other variant's data and is not counted: what an application sees is a model
called again and again.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from itertools import islice
from operator import truediv
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgeops.core import sequential
from edgeops.runtime import measure, pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeops.core.contracts import Session, Tell

    Load = Callable[[Path, int], Session]
    Run = Callable[[dict[str, Any]], object]

_MOST_FEEDS = 64
# Seconds that both variants are timed after each loading: what is left after that is per load.
HALF_S = 0.25
_WARM_UP_SHARE = 0.25
# Share of the whole time that goes into timed calls; loading and warming up take the rest.
_TIMED_SHARE = 0.5
# A turn takes about so long, of at least two calls and at most sixteen.
_TURN_NS = 5_000_000
_MOST_CALLS = 16
# Where a call takes longer than this, refilling the caches does not show, and every call counts.
_SLOW_NS = 25_000_000
_LEAST_TURNS, _LEAST_SLOW_TURNS = 5, 3
_ESTIMATE = 5


@dataclass(frozen=True)
class Half:
    """What both variants took after one loading: the median of each turn in ns, in turn order."""

    ones: Sequence[float]
    others: Sequence[float]

    @property
    def log_ratio(self) -> float:
        """The median of the logarithms of the ratios of neighbouring turns."""
        return math.log(median(map(truediv, self.ones, self.others)))


def measure_pairs(request: Mapping[str, Any], load: Load, tell: Tell) -> dict[str, Any]:
    """Return the answer to a request ``pair``, but for ``format`` and ``engine_version``.

    Of the request: ``seconds`` for all of it, ``least`` trials that are to count although the time is
    over (up to four times ``seconds``; 0), ``trials`` at most (96), ``margin`` (0.03), ``bounds`` on
    the ratio that a verdict's interval may not hold (none), ``seed`` of the coins (none: the
    system's). ``load(folder, threads)`` returns a session of a variant whose
    engine was imported before. ``tell`` is given each trial when it is over. Raises what loading
    and running raise.
    """
    comparison = _Comparison(request, load)
    tell({"say": "step", "what": "comparing in pairs"})
    found = sequential.judge([], margin=comparison.margin)
    while comparison.time_for_another() and not comparison.clear(found):
        trial = comparison.trial()
        tell({"say": "trial", **trial})
        tell({"say": "advance", "parts": 1})
        found = comparison.judgement()
    return {**comparison.about(), **_answer(found, comparison)}


class _Comparison:
    """The trials of two variants so far, and the time they took."""

    def __init__(self, request: Mapping[str, Any], load: Load) -> None:
        self._folders = [Path(request["variant"]), Path(request["against"])]
        self._load, self._threads = load, int(request["threads"])
        self._few = request["few"]
        self._budget = float(request["seconds"])
        self._least = int(request.get("least") or 0)
        self._most = int(request.get("trials") or sequential.LAST)
        self.margin = float(request.get("margin") or sequential.MARGIN)
        self._bounds = [float(bound) for bound in request.get("bounds") or ()]
        self._coin = random.Random(request.get("seed"))  # noqa: S311 - no secret hangs on it
        self._half_s = min(HALF_S, _TIMED_SHARE * self._budget / (2 * sequential.FIRST))
        self._feeds: list[dict[str, Any]] = []
        self._calls = 0
        self._begun = time.monotonic()
        self._longest = 0.0
        self.trials: list[dict[str, Any]] = []

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    def time_for_another(self) -> bool:
        """Whether one more trial is wanted, and likely to end in time; the first one always is."""
        if not self.trials:
            return True
        if len(self.trials) >= self._most:
            return False
        counted = sum(sequential.counts(trial["lost"]) for trial in self.trials)
        # Trials that were disturbed are made up for, unless most of them are.
        few = len(self.trials) < self._least or len(self.trials) / 2 <= counted < self._least
        return self.seconds + self._longest <= self._budget * (measure.PATIENCE if few else 1)

    def judgement(self) -> sequential.Judgement:
        """Return what the trials so far say."""
        ratios = [trial["ratio"] for trial in self.trials]
        return sequential.judge(
            ratios, [trial["lost"] for trial in self.trials], margin=self.margin
        )

    def clear(self, found: sequential.Judgement) -> bool:
        """Whether there is a verdict, also on the bounds that are asked about."""
        low, high = found.interval or (0.0, math.inf)
        return found.decided and not any(low <= bound <= high for bound in self._bounds)

    def about(self) -> dict[str, Any]:
        """Return the trials and how they were made."""
        return {
            "trials": self.trials,
            "seconds": self.seconds,
            "margin": self.margin,
            "calls_in_turn": self._calls,
        }

    def trial(self) -> dict[str, Any]:
        """Measure once in either order of loading, and keep and return what came out."""
        begun = time.monotonic()
        first = self._coin.randrange(2)
        waiting = _Waiting(self._threads)
        halves = [self._half(order, waiting) for order in ((first, 1 - first), (1 - first, first))]
        logs = [half.log_ratio for half in halves]
        trial: dict[str, Any] = {
            "ratio": math.exp(sum(logs) / 2),
            "halves": [math.exp(value) for value in logs],
            "first": first,
            "pairs": sum(len(half.ones) for half in halves),
            "p50_ms": median([t for half in halves for t in half.ones]) / 1e6,
            "against_p50_ms": median([t for half in halves for t in half.others]) / 1e6,
            "lost": waiting.share(),
            "seconds": time.monotonic() - begun,
        }
        self._longest = max(self._longest, trial["seconds"])
        self.trials.append(trial)
        return trial

    def _half(self, order: tuple[int, int], waiting: _Waiting) -> Half:
        sessions = {}
        for index in order:
            with pulse.beating():
                sessions[index] = self._load(self._folders[index], self._threads)
        self._feeds = self._feeds or _feeds(self._few, sessions[0])
        runs = [sessions[index].run for index in order]
        with measure.undisturbed():
            for run in runs:
                measure.warm_up(run, self._feeds, self._half_s * _WARM_UP_SHARE)
            self._calls = self._calls or calls_in_turn(runs, self._feeds)
            waiting.begin()
            times = time_turns(runs, self._feeds, self._half_s, calls=self._calls)
            waiting.end()
        found = dict(zip(order, times))
        return Half(found[0], found[1])


def calls_in_turn(
    runs: Sequence[Run],
    feeds: Sequence[dict[str, Any]],
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> int:
    """Return how many calls a turn has: as many as fit in 5 ms, 2 to 16; 1 for slow models."""
    slowest = 0.0
    for run in runs:
        times = []
        for turn in range(_ESTIMATE):
            with pulse.beating():
                before = clock()
                run(feeds[turn % len(feeds)])
                times.append(clock() - before)
            if times[-1] > _SLOW_NS:
                break
        slowest = max(slowest, median(times))
    if slowest > _SLOW_NS:
        return 1
    return max(2, min(_MOST_CALLS, int(_TURN_NS / max(slowest, 1))))


def time_turns(
    runs: Sequence[Run],
    feeds: Sequence[dict[str, Any]],
    seconds: float,
    *,
    calls: int,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> list[list[float]]:
    """Return for each of ``runs`` the median time of a call in each of its turns, in ns.

    They take turns of ``calls`` calls on the same feeds; the first call of a turn is not counted
    unless it is the only one. Goes on for ``seconds`` and for at least five turns each, three
    where calls are slow, but no longer than four times ``seconds``, and one turn each always.
    """
    found: list[list[float]] = [[] for _ in runs]
    least = _LEAST_TURNS if calls > 1 else _LEAST_SLOW_TURNS
    beat = pulse.view()
    beat[pulse.KEPT] = 0
    try:
        after = clock()
        until = after + int(seconds * measure.NANO)
        hard = after + int(measure.PATIENCE * seconds * measure.NANO)
        turn = 0
        while not turn or not (after >= until and (turn >= least or after >= hard)):
            given = [feeds[(turn * calls + call) % len(feeds)] for call in range(calls)]
            for run, medians in zip(runs, found):
                times = []
                for feed in given:
                    beat[pulse.BEGUN] = after
                    before = clock()
                    run(feed)
                    after = clock()
                    times.append(after - before)
                medians.append(median(times[1:] or times))
            turn += 1
    finally:
        beat[pulse.BEGUN] = 0
    return found


class _Waiting:
    """How long threads of this process wanted to run and could not, while variants were timed."""

    def __init__(self, threads: int) -> None:
        self._alone = threads == 1
        self._wall, self._lost = 0, 0.0
        self._known = True
        self._before: Any = None

    def begin(self) -> None:
        """Remember the counters."""
        self._before = (time.perf_counter_ns(), time.process_time_ns(), _waited(), _steal())

    def end(self) -> None:
        """Add what happened since."""
        wall, used, waited, steal = self._before
        now = (time.perf_counter_ns() - wall, time.process_time_ns() - used, _waited(), _steal())
        self._wall += now[0]
        lost = [now[2][thread] - waited[thread] for thread in now[2].keys() & waited.keys()]
        if not lost and self._alone:
            # Work for one processor that took longer on the clock than on processors waited.
            lost = [now[0] - now[1]]
        self._known = self._known and bool(lost)
        self._lost += max([0, *lost]) + max(0.0, now[3] - steal)

    def share(self) -> float | None:
        """Return the share of the timed part, None when it cannot be known."""
        return min(1.0, self._lost / self._wall) if self._known and self._wall else None


def _waited(tasks: str = "/proc/self/task") -> dict[str, int]:
    """Return the ns that each thread has waited for a processor; empty where that is not told."""
    found = {}
    for path in Path(tasks).glob("*/schedstat"):
        try:
            # Time on a processor, time waiting for one, slices (Linux, scheduler/sched-stats.rst).
            ran, waited, _ = map(int, path.read_text().split())
        except (OSError, ValueError):
            continue
        # Kernels that do not keep the account show zeros, also of a thread that runs.
        if ran:
            found[path.parent.name] = waited
    return found


def _steal() -> float:
    """Return the ns that the host took from each of our processors, on average; 0 if not told."""
    from edgeops.runtime.probe.machine import Machine, processors
    from edgeops.runtime.probe.noise import read

    found = read(Machine()).values.get("cpu")
    return found[1] * 1e6 / len(processors()) if found else 0.0


def _answer(found: sequential.Judgement, comparison: _Comparison) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "why": found.why,
        "ratio": found.ratio,
        "ratio_ci": list(found.interval) if found.interval else None,
        "counted": found.trials,
        "disturbed": found.disturbed,
        "would_take_s": would_take(found, comparison.seconds),
    }


def would_take(found: sequential.Judgement, seconds: float) -> float | None:
    """Return the seconds that a verdict is expected to take in all, None if none is in sight.

    More trials than there are looks for are not in sight: time does not help then. ``seconds`` is what the trials so far took, those that did not count included.
    """
    if found.decided:
        return seconds
    if found.needed is None or found.needed > sequential.LAST or not found.trials:
        return None
    return seconds * max(found.needed, found.trials + 1) / found.trials


def _feeds(about: Mapping[str, Any], session: Session) -> list[dict[str, Any]]:
    """Return what single calls take, from the samples that a request names."""
    from edgeops.runtime.batch import feeds
    from edgeops.runtime.probe.arrays import read_samples

    return [feed for feed, _ in islice(feeds(read_samples(about), session.inputs, 1), _MOST_FEEDS)]
