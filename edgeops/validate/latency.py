"""What a stream of measured times says: quantiles, their intervals, and the ratio of two variants.

Calls that follow each other are alike (the clock of a machine drifts, a neighbour wakes up), so
treating them as independent makes intervals far too narrow. They are cut into blocks of successive
calls, and whole blocks are resampled: moving from calls to blocks is Künsch's block bootstrap
(1989), here with blocks that do not overlap.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

QUANTILES = {"latency_p50_ms": 0.5, "latency_p90_ms": 0.9, "latency_p99_ms": 0.99}
MEAN = "latency_mean_ms"
BLOCKS = 18
ROUNDS = 1000
_BINS = 2000
# A quantile says nothing when fewer calls than this lie beyond it.
_BEYOND = 5
# Percentile bootstraps over a few dozen blocks cover too little; widening them by Student's t over
# the normal quantile and by sqrt(n / (n - 1)) mends that (Hesterberg 2015, section 3.3).
_NORMAL = 1.959964


def latency_figures(runs: Sequence[Any], *, seed: int = 0) -> dict[str, Figure]:
    """Return p50, p90, p99 and mean in ms with 95 % intervals.

    ``runs`` are arrays of nanoseconds, one for each process that measured, in the order of the
    calls. A quantile with too few calls beyond it is absent, with the reason.
    """
    import numpy as np

    streams = [np.asarray(run, dtype=float) / 1e6 for run in runs if len(run)]
    calls = sum(map(len, streams))
    pooled = np.concatenate(streams) if streams else np.zeros(0)
    names = [*QUANTILES, MEAN]
    if not calls:
        return {name: Figure(None, unit="ms", absent="no call was timed") for name in names}
    parts = [block for stream in streams for block in blocks(stream, BLOCKS // len(streams))]
    intervals = _intervals(parts, pooled, seed)
    method = (
        f"{calls} single calls in {len(streams)} fresh process(es) after warm-up; "
        f"95 % bootstrap over {len(parts)} blocks of successive calls"
    )
    figures = {}
    for name in names:
        share = QUANTILES.get(name)
        if (
            share is not None
            and share != QUANTILES["latency_p50_ms"]
            and (calls * (1 - share) < _BEYOND)
        ):
            need = math.ceil(_BEYOND / (1 - share))
            why = f"{calls} calls are too few: it takes {need}; give it more seconds"
            figures[name] = Figure(None, unit="ms", samples=calls, noisy=True, absent=why)
            continue
        value = float(pooled.mean() if share is None else np.quantile(pooled, share))
        figures[name] = Figure(value, intervals.get(name), "ms", method, calls, noisy=True)
    return figures


def blocks(stream: Any, count: int) -> list[Any]:
    """Return a stream of times cut into at most ``count`` runs of successive calls."""
    import numpy as np

    return np.array_split(stream, max(1, min(count, len(stream))))


def _intervals(parts: list[Any], pooled: Any, seed: int) -> dict[str, tuple[float, float]]:
    """Return the interval of each figure from whole blocks drawn with replacement.

    Quantiles are taken from histograms whose bins hold equal shares of all calls, so that a round
    is one row of a matrix product and not a sort.
    """
    import numpy as np

    if len(parts) < 2:  # noqa: PLR2004 - one block says nothing about spread
        return {}
    edges = np.unique(np.quantile(pooled, np.linspace(0, 1, _BINS + 1)))
    counts = np.stack(
        [np.bincount(np.searchsorted(edges, part), minlength=len(edges)) for part in parts]
    )
    sums = np.array([[part.sum(), len(part)] for part in parts])
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=ROUNDS)
    # As floats, for whole numbers have no fast matrix product.
    running = np.cumsum(draws.astype(float) @ counts.astype(float), axis=1)
    found = {
        name: edges[(running >= share * running[:, -1:]).argmax(axis=1)]
        for name, share in QUANTILES.items()
    }
    totals = draws @ sums
    found[MEAN] = totals[:, 0] / totals[:, 1]
    centers = {name: np.quantile(pooled, share) for name, share in QUANTILES.items()}
    centers[MEAN] = pooled.mean()
    return {
        name: _widened(values, float(centers[name]), len(parts)) for name, values in found.items()
    }


def _widened(values: Any, center: float, count: int) -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(values, [0.025, 0.975])
    factor = _student(count - 1) / _NORMAL * math.sqrt(count / (count - 1))
    return (
        max(0.0, center - factor * (center - float(low))),
        center + factor * (float(high) - center),
    )


def _student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t (Cornish and Fisher's expansion, good from 3 on)."""
    z = _NORMAL
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


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


def ratio_figure(trials: Sequence[float], pairs: int) -> Figure:
    """Return the ratio of two variants' times from the median pair ratio of each trial.

    The value is the median over trials; the interval is the sign test's: the order statistics
    between which the true median lies with at least 95 %, whatever the distribution. With nine
    trials these are the second least and the second largest (96.1 %), so a single trial that a
    neighbour spoilt moves neither end; with fewer than six there is no such interval.
    """
    ordered = sorted(trials)
    count = len(ordered)
    if not count:
        return Figure(None, noisy=True, absent="no pair was timed")
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    skip = sign_test_rank(count)
    interval = None if skip is None else (ordered[skip], ordered[count - 1 - skip])
    spread = "" if interval is None else f"; order statistics {skip or 0} from either end, >= 95 %"
    method = f"median pair ratio of {count} trials, {pairs} pairs, both loaded anew each{spread}"
    if interval is None:
        why = f"{count} trials are too few to say how sure it is: it takes 6"
        return Figure(None, noisy=True, samples=pairs, absent=why)
    return Figure(middle, interval, "", method, pairs, noisy=True)


def sign_test_rank(count: int, level: float = 0.95) -> int | None:
    """Return how many values to leave out at either end so that what is left covers ``level``.

    The interval between the order statistics covers the true median with probability
    1 - 2 P(B <= rank) for B binomial(count, 1/2). None when even the extremes cover less.
    """
    tail, rank = 0.0, None
    for candidate in range(count // 2):
        tail += math.comb(count, candidate) / 2**count
        if 1 - 2 * tail < level:
            break
        rank = candidate
    return rank


def spread_figure(values: Sequence[float], unit: str, method: str) -> Figure:
    """Return the median of one value a process, with the least and the largest as its interval."""
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    about = f"{method}; median of {len(ordered)} fresh processes, least to largest"
    return Figure(middle, (ordered[0], ordered[-1]), unit, about, len(ordered), noisy=True)
