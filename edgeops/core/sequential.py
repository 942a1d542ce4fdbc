"""Decide after each trial whether one variant is slower than another; standard library only.

A trial yields one ratio of times, of two variants that were loaded anew, in an order that a coin
chose. If the variants are alike, the coin alone decides on which side of 1 a ratio falls: the
logarithms are symmetric about zero whatever the noise of the machine. That is all that Wilcoxon's
signed-rank test (1945) assumes, so its error rates hold for heavy tails, drifts and neighbours as
well. Estimate and interval are those of Hodges and Lehmann (1963): the median of all means of two
trials, and the order statistics of these means between which the test would not reject.

To look again after more trials spends more of the permitted error (Lan and DeMets 1983). ``TAILS``
holds how much of the signed-rank distribution is cut off at each look, so that over all looks at
most 0.5 % of equal variants are called slower, and 0.5 % faster. The intervals are repeated
confidence intervals (Jennison and Turnbull 1989): with 99 % all of them cover the truth at once,
hence also the one at which the comparison stopped.

How the numbers were found, and what they come to on simulated and real noise: docs/latency.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOWER, NOT_SLOWER, FASTER, INCONCLUSIVE = "slower", "not slower", "faster", "inconclusive"
# How much slower a variant must be to matter, where nobody says otherwise.
MARGIN = 0.03
LEVEL = 0.99
# A trial in which the variants were kept from a processor for more than this share of the time
# says more of the neighbour than of them.
MOST_LOST = 0.10
# Number of trials at a look -> c: the interval leaves out the c least and the c largest means of
# two. The first look spends the chance that nine coins fall alike, 2^-9; after n trials
# 2^-9 + (0.005 - 2^-9) * ln(n / 9) / ln(96 / 9) are spent. Found by scripts/latency_trials.py
# --boundary from two million runs of coins.
TAILS = {
    9: 0,
    12: 2,
    14: 4,
    16: 9,
    18: 14,
    20: 20,
    24: 39,
    28: 63,
    32: 92,
    40: 173,
    48: 273,
    56: 402,
    64: 551,
    80: 952,
    96: 1442,
}
FIRST, LAST = 9, 96
# Standard errors that an interval's end is away from the estimate, and that the estimate may be
# off, when more trials are foretold: the normal quantiles of the later looks' tails, and of 80 %.
_REACH = 3.4 + 0.84


@dataclass(frozen=True)
class Judgement:
    """What the trials so far say of the time of a variant over that of another.

    ``ratio`` and ``interval`` (99 %, valid at whatever look the comparison stops) are None until
    there are enough trials. ``trials`` counted, ``disturbed`` did not. ``needed`` is how many
    trials a verdict is expected to take in all, None when that cannot be foretold.
    """

    verdict: str
    why: str
    ratio: float | None
    interval: tuple[float, float] | None
    trials: int
    disturbed: int
    needed: int | None

    @property
    def decided(self) -> bool:
        """Whether no more trials are needed."""
        return self.verdict != INCONCLUSIVE


def judge(
    ratios: Sequence[float],
    lost: Sequence[float | None] | None = None,
    *,
    margin: float = MARGIN,
) -> Judgement:
    """Return what trials say whose times are over 1 when the variant is slower.

    ``lost`` is the share of each trial in which the variants waited for a processor, None where
    that cannot be known. Slower: the interval lies above 1 and reaches ``1 + margin``. Not slower:
    it lies below ``1 + margin``; faster: below 1. Call it after every trial and stop at the first
    verdict; what the trials after it say is not covered by the error rates.
    """
    waits = lost if lost is not None else [None] * len(ratios)
    logs = [
        math.log(ratio) for ratio, wait in zip(ratios, waits) if wait is None or wait <= MOST_LOST
    ]
    disturbed = len(ratios) - len(logs)
    if not logs:
        why = _neighbour(disturbed, len(ratios)) if disturbed else "nothing was measured yet"
        return Judgement(INCONCLUSIVE, why, None, None, 0, disturbed, None)
    estimate = median(walsh(logs))
    bounds = interval(logs)
    needed = max(FIRST, _needed(logs, estimate, math.log1p(margin)))
    verdict = _verdict(bounds, math.log1p(margin)) if bounds else INCONCLUSIVE
    outer = (math.exp(bounds[0]), math.exp(bounds[1])) if bounds else None
    if verdict == INCONCLUSIVE:
        why = _undecided(len(logs), disturbed, outer, margin)
    else:
        why = _decided(verdict, outer, margin)
    return Judgement(verdict, why, math.exp(estimate), outer, len(logs), disturbed, needed)


def counts(lost: float | None) -> bool:
    """Whether a trial counts in which so large a share of the time was lost; None is not known."""
    return lost is None or lost <= MOST_LOST


def replay(
    ratios: Sequence[float],
    lost: Sequence[float | None] | None = None,
    *,
    margin: float = MARGIN,
) -> Judgement:
    """Return the judgement at which a comparison of these trials stops, else that of all."""
    found = judge([], margin=margin)
    for count in range(1, len(ratios) + 1):
        found = judge(ratios[:count], None if lost is None else lost[:count], margin=margin)
        if found.decided:
            break
    return found


def interval(logs: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval at the last look that there were enough trials for, None before it."""
    looks = [look for look in TAILS if look <= len(logs)]
    if not looks:
        return None
    means = sorted(walsh(logs[: looks[-1]]))
    tail = TAILS[looks[-1]]
    return means[tail], means[-1 - tail]


def walsh(values: Sequence[float]) -> list[float]:
    """Return the mean of every two values, and the values themselves."""
    return [(one + other) / 2 for index, one in enumerate(values) for other in values[: index + 1]]


def _verdict(bounds: tuple[float, float], margin: float) -> str:
    low, high = bounds
    if high < 0:
        return FASTER
    if high < margin:
        return NOT_SLOWER
    return SLOWER if low > 0 else INCONCLUSIVE


def _needed(logs: Sequence[float], estimate: float, margin: float) -> int:
    """Return how many trials are likely to bring the interval off 1, or off the margin."""
    # Deviations are those from the middle, not from each other: of three values, two may be equal.
    spread = 1.4826 * median([abs(value - estimate) for value in logs])
    apart = max(abs(estimate), margin - estimate, margin / 2)
    return math.ceil((_REACH * spread / apart) ** 2)


def _decided(verdict: str, bounds: tuple[float, float] | None, margin: float) -> str:
    assert bounds is not None  # noqa: S101 - for mypy: a verdict has an interval
    between = f"its time is {bounds[0]:.3f} to {bounds[1]:.3f} times the other's (99 %)"
    if verdict == SLOWER:
        return f"{between}: above 1"
    if verdict == FASTER:
        return f"{between}: below 1"
    more = ", though above 1" if bounds[0] > 1 else ""
    return f"{between}: below {1 + margin:g}{more}"


def _undecided(
    count: int, disturbed: int, bounds: tuple[float, float] | None, margin: float
) -> str:
    if disturbed > count:
        return _neighbour(disturbed, count + disturbed)
    if bounds is None:
        return f"{count} trials are too few: it takes {FIRST}"
    return (
        f"the trials disagree too much: its time may be {bounds[0]:.3f} or {bounds[1]:.3f} times "
        f"the other's (99 %), which rules out neither 1 nor {1 + margin:g}"
    )


def _neighbour(disturbed: int, count: int) -> str:
    return (
        f"something else used the same processor in {disturbed} of {count} trials, for more than "
        f"{MOST_LOST:.0%} of their time"
    )
