"""Another sample rate by a polyphase filter: what ``scipy.signal.resample_poly`` computes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from edgeops.runtime.features.form import BadValue

_HALF_TAPS = 10
_BETA = 5.0
_MOST_FACTOR = 5_000


def resample(samples: np.ndarray[Any, Any], rate: int, wanted: int) -> np.ndarray[Any, Any]:
    """Return float32 samples of ``rate`` Hz as ``ceil(n * wanted / rate)`` samples of ``wanted`` Hz.

    Raises BadValue where the two rates have no common ratio of small numbers.
    """
    common = math.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    if up == down:
        return samples
    if max(up, down) > _MOST_FACTOR:
        raise BadValue(
            f"{rate} Hz cannot be made {wanted} Hz",
            f"the ratio is {up} / {down}, and no filter of that length is made",
            "record at a usual rate",
        )
    filters = _filters(up, down)
    size = -(-len(samples) * up // down)
    place = np.arange(size) * down
    # The earliest sample that reaches into each result, and the filter of its phase.
    start = -((_HALF_TAPS * max(up, down) - place) // up)
    phase = place % up
    taps = filters.shape[1]
    before = max(0, -int(start[0])) if size else 0
    after = max(0, int(start[-1]) + taps - len(samples)) if size else 0
    padded = np.pad(samples.astype(np.float64), (before, after))
    start += before
    total = np.zeros(size)
    for tap in range(taps):
        total += padded[start + tap] * filters[phase, tap]
    return total.astype(np.float32)


@lru_cache(maxsize=8)
def _filters(up: int, down: int) -> np.ndarray[Any, Any]:
    """Return for each phase the weights of the samples that reach into a result, earliest first.

    The filter is a sinc cut off at the lower of both rates under a Kaiser window of beta 5, ten
    zero crossings to each side, scaled to a sum of ``up``.
    """
    half = _HALF_TAPS * max(up, down)
    places = np.arange(-half, half + 1)
    whole = np.sinc(places / max(up, down)) * np.kaiser(2 * half + 1, _BETA)
    whole *= up / whole.sum()
    taps = 2 * half // up + 1
    phase = np.arange(up)[:, None]
    start = -((half - phase) // up)
    index = half + phase - up * (start + np.arange(taps))
    inside = (index >= 0) & (index <= 2 * half)
    found: np.ndarray[Any, Any] = np.where(inside, whole[np.clip(index, 0, 2 * half)], 0.0)
    return found
