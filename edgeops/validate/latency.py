"""What a stream of measured times says: quantiles, their intervals, and the ratio of two variants.

Calls that follow each other are alike (the clock of a machine drifts, a neighbour wakes up), so
treating them as independent makes intervals far too narrow. They are cut into blocks of successive
calls, and whole blocks are resampled: moving from calls to blocks is Künsch's block bootstrap
(1989), here with blocks that do not overlap.
"""

from __future__ import annotations

import itertools
import math
from statistics import fmean, median, variance
from typing import TYPE_CHECKING, Any

from edgeops.core import sequential
from edgeops.core.gates import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUANTILES = {"latency_p50_ms": 0.5, "latency_p90_ms": 0.9, "latency_p99_ms": 0.99}
MEAN = "latency_mean_ms"
BLOCKS = 18
ROUNDS = 1000
FORMAT = "edgeops.latency/1"
# A quantile says nothing when fewer calls than this lie beyond it.
_BEYOND = 5
# Percentile bootstraps over a few dozen blocks cover too little; widening them by Student's t over
# the normal quantile and by sqrt(n / (n - 1)) mends that (Hesterberg 2015, section 3.3).
_NORMAL = 1.959964
# What a sketch keeps of a distribution: shares of all calls, finer towards its slow end.
_SHARES = ((0.0, 0.85, 0.005), (0.85, 0.97, 0.001), (0.97, 1.0, 0.0005))
# MLPerf's early stopping: with 99 % at most 10 % of all queries would take longer.
_CONFIDENCE = 0.99
_BATCHES = 4


def latency_figures(runs: Sequence[Any], *, seed: int = 0) -> dict[str, Figure]:
    """Return p50, p90, p99 and mean in ms with 95 % intervals.

    ``runs`` are arrays of nanoseconds, one for each process that measured, in the order of the
    calls. A quantile with too few calls beyond it is absent, with the reason. They are the figures
    of the sketch, so that whoever keeps that comes to the same.
    """
    return figures_from_sketch(sketch(runs), seed=seed)


def sketch(runs: Sequence[Any]) -> dict[str, Any]:
    """Return what is kept of measured times, as JSON of about 20 kB however many calls there were.

    ``edges`` are quantiles of all calls in ms, ``counts`` says for each block of successive calls
    how many fell between two edges, ``sums`` what they took together in ms. Numbers stand in
    strings, so that a file of it has few lines.
    """
    import numpy as np

    streams = [np.asarray(run, dtype=float) / 1e6 for run in runs if len(run)]
    if not streams:
        return {"format": FORMAT, "calls": 0}
    pooled = np.concatenate(streams)
    parts = [
        block for stream in streams for block in blocks(stream, max(1, BLOCKS // len(streams)))
    ]
    shares = [np.arange(low, high, step) for low, high, step in _SHARES]
    edges = np.unique(np.quantile(pooled, np.append(np.concatenate(shares), 1.0)))
    counts = [np.bincount(np.searchsorted(edges, part), minlength=len(edges)) for part in parts]
    values = {name: float(np.quantile(pooled, share)) for name, share in QUANTILES.items()}
    return {
        "format": FORMAT,
        "calls": len(pooled),
        "processes": len(streams),
        "values_ms": values | {MEAN: float(pooled.mean())},
        "mlperf_p90_ms": _mlperf(pooled),
        "edges_ms": _text(edges.tolist()),
        "counts": [_text(row.tolist()) for row in counts],
        "sums_ms": _text([float(part.sum()) for part in parts]),
    }


def figures_from_sketch(kept: Mapping[str, Any], *, seed: int = 0) -> dict[str, Figure]:
    """Return the figures that ``latency_figures`` returned of the times that a sketch was made of."""
    names = [*QUANTILES, MEAN]
    calls = int(kept["calls"])
    if not calls:
        return {
            name: Figure(None, unit="ms", noisy=True, absent="no call was timed") for name in names
        }
    intervals = _intervals(kept, seed)
    method = (
        f"{calls} single calls in {kept['processes']} fresh process(es) after warm-up; "
        f"95 % bootstrap over {len(kept['counts'])} blocks of successive calls"
    )
    figures = {}
    for name in names:
        share = QUANTILES.get(name)
        few = share is not None and name != "latency_p50_ms" and calls * (1 - share) < _BEYOND
        if share is not None and few:
            need = math.ceil(_BEYOND / (1 - share))
            why = f"{calls} calls are too few: it takes {need}; give it more seconds"
            figures[name] = Figure(None, unit="ms", samples=calls, noisy=True, absent=why)
            continue
        value = float(kept["values_ms"][name])
        figures[name] = Figure(value, intervals.get(name), "ms", method, calls, noisy=True)
    return figures


def blocks(stream: Any, count: int) -> list[Any]:
    """Return a stream of times cut into at most ``count`` runs of successive calls."""
    import numpy as np

    return np.array_split(stream, max(1, min(count, len(stream))))


def _text(numbers: Sequence[float]) -> str:
    return " ".join(map(repr, numbers))


def _numbers(text: str) -> Any:
    import numpy as np

    return np.array(text.split(), dtype=float)


def _intervals(kept: Mapping[str, Any], seed: int) -> dict[str, tuple[float, float]]:
    """Return the interval of each figure from whole blocks drawn with replacement.

    Quantiles are taken from histograms whose bins hold known shares of all calls, so that a round
    is one row of a matrix product and not a sort.
    """
    import numpy as np

    counts = np.stack([_numbers(row) for row in kept["counts"]])
    if len(counts) < 2:  # noqa: PLR2004 - one block says nothing about spread
        return {}
    sums = np.stack([_numbers(kept["sums_ms"]), counts.sum(axis=1)], axis=1)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=ROUNDS)
    # As floats, for whole numbers have no fast matrix product.
    running = np.cumsum(draws.astype(float) @ counts, axis=1)
    edges = _numbers(kept["edges_ms"])
    found = {name: _quantiles(edges, running, share) for name, share in QUANTILES.items()}
    totals = draws @ sums
    found[MEAN] = totals[:, 0] / totals[:, 1]
    return {
        name: _widened(values, float(kept["values_ms"][name]), len(counts))
        for name, values in found.items()
    }


def _quantiles(edges: Any, running: Any, share: float) -> Any:
    """Return a quantile of each row of running counts, bins being thought of as evenly filled."""
    import numpy as np

    wanted = share * running[:, -1]
    place = (running >= wanted[:, None]).argmax(axis=1)
    rows = np.arange(len(running))
    below = np.where(place > 0, running[rows, place - 1], 0.0)
    filled = running[rows, place] - below
    part = np.divide(wanted - below, filled, out=np.ones(len(rows)), where=filled > 0)
    low = edges[np.maximum(place - 1, 0)]
    return low + part * (edges[place] - low)


def _widened(values: Any, center: float, count: int) -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(values, [0.025, 0.975])
    factor = student(count - 1) / _NORMAL * math.sqrt(count / (count - 1))
    return (
        max(0.0, center - factor * max(0.0, center - float(low))),
        center + factor * max(0.0, float(high) - center),
    )


def student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t (Cornish and Fisher's expansion, good from 3 on)."""
    z = _NORMAL
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def mlperf_discard(calls: int, share: float = 0.9) -> int | None:
    """Return how many of the slowest calls MLPerf's early stopping leaves out, None if too few.

    The slowest call that is left is with 99 % not below the quantile of ``share`` (MLPerf
    Inference, LoadGen, early stopping without tolerance): one less than the largest t with
    P(B <= t) <= 1 % for B binomial(calls, 1 - share).
    """
    tail = 0.0
    for slow in range(calls + 1):
        tail += math.exp(
            math.lgamma(calls + 1)
            - math.lgamma(slow + 1)
            - math.lgamma(calls - slow + 1)
            + slow * math.log(1 - share)
            + (calls - slow) * math.log(share)
        )
        if tail > 1 - _CONFIDENCE:
            # ``slow - 1`` is the largest t, and t has to be one at least.
            return slow - 2 if slow > 1 else None
    return None


def _mlperf(pooled: Any) -> float | None:
    import numpy as np

    left_out = mlperf_discard(len(pooled))
    return None if left_out is None else float(np.sort(pooled)[-1 - left_out])


def mlperf_figure(kept: Mapping[str, Any]) -> Figure:
    """Return MLPerf's early-stopping estimate of the p90 in ms, from a sketch."""
    calls, value = int(kept["calls"]), kept.get("mlperf_p90_ms")
    if value is None:
        need = next(n for n in range(1, 1000) if mlperf_discard(n) is not None)
        absent = f"{calls} calls are too few: it takes {need}"
        return Figure(None, unit="ms", samples=calls, noisy=True, absent=absent)
    method = f"MLPerf single stream, {calls} queries: early-stopping estimate of the p90, 99 %"
    return Figure(float(value), unit="ms", method=method, samples=calls, noisy=True)


def drift_figure(windows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the time in the last third of a long run over that in its first third.

    ``windows`` are successive parts of the run with ``p50_ms``. Each third is cut into four
    batches, whose medians are near enough to independent (batch means, Law 2015, section 9.5);
    the interval is Student's of the difference of their logarithms, 95 %.
    """
    third = len(windows) // 3
    if third < _BATCHES:
        need = 3 * _BATCHES
        absent = f"{len(windows)} windows are too few: it takes {need}; sustain it longer"
        return Figure(None, noisy=True, absent=absent)
    first, last = (
        [math.log(median(each["p50_ms"] for each in batch)) for batch in blocks_of(part, _BATCHES)]
        for part in (windows[:third], windows[-third:])
    )
    between = fmean(last) - fmean(first)
    error = math.sqrt((variance(first) + variance(last)) / _BATCHES)
    reach = student(2 * (_BATCHES - 1)) * error
    method = (
        f"time in the last third of {len(windows)} windows over that in the first third; "
        f"95 % by batch means"
    )
    calls = sum(int(each["calls"]) for each in windows)
    ends = (math.exp(between - reach), math.exp(between + reach))
    return Figure(math.exp(between), ends, "", method, calls, noisy=True)


def blocks_of(values: Sequence[Any], count: int) -> list[Sequence[Any]]:
    """Return a sequence cut into ``count`` parts of about the same length, in order."""
    ends = [round(index * len(values) / count) for index in range(count + 1)]
    return [values[low:high] for low, high in itertools.pairwise(ends)]


def quantile_curve(runs: Sequence[Any]) -> list[tuple[float, float]]:
    """Return ``(percentile, ms)`` from 0 to 100, every whole one, and 99.9 where calls allow."""
    import numpy as np

    pooled = np.concatenate([np.asarray(run, dtype=float) / 1e6 for run in runs])
    shares = [float(share) for share in range(100)]
    if len(pooled) * 0.001 >= 1:
        shares.append(99.9)
    shares.append(100.0)
    return [
        (share, float(value))
        for share, value in zip(shares, np.percentile(pooled, shares), strict=True)
    ]


def ratio_figure(
    trials: Sequence[float], pairs: int, lost: Sequence[float | None] | None = None
) -> Figure:
    """Return the ratio of two variants' times from the ratio of each trial, in their order.

    Value and interval (99 %, valid wherever the comparison stopped) are those of
    ``edgeops.core.sequential``; ``lost`` is the share of each trial that waiting took.
    """
    if not trials:
        return Figure(None, noisy=True, absent="no pair was timed")
    found = sequential.judge(trials, lost)
    if found.interval is None:
        return Figure(None, noisy=True, samples=pairs, absent=found.why)
    counted = f"{found.trials} trials" + (
        f" ({found.disturbed} more were disturbed)" if found.disturbed else ""
    )
    method = (
        f"median of means of two of {counted}, {pairs} pairs, both loaded anew twice each; "
        f"99 % by the signed ranks, valid at any stop"
    )
    return Figure(found.ratio, found.interval, "", method, pairs, noisy=True)


def spread_figure(values: Sequence[float], unit: str, method: str) -> Figure:
    """Return the median of one value a process, with the least and the largest as its interval.

    One process alone says nothing about the spread, and has none.
    """
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    if len(ordered) == 1:
        return Figure(middle, None, unit, f"{method}; one fresh process", 1, noisy=True)
    about = f"{method}; median of {len(ordered)} fresh processes, least to largest"
    return Figure(middle, (ordered[0], ordered[-1]), unit, about, len(ordered), noisy=True)
