"""Running histograms of activations and the ranges that follow from them: arithmetic only.

The range of a tensor is fixed before the histogram is filled (the first pass over the data finds
it), so that histograms of parts add up to the histogram of the whole, bin by bin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 2048
LEVELS = 256
PERCENTILE = 99.99
# Every 8th bin is tried as a threshold: 224 candidates of a 2048-bin histogram.
STRIDE = 8
_TINY = 1e-9


class Histogram:
    """How often values fell into equal bins between ``low`` and ``high``, both included.

    ``low < high`` must hold; values outside are counted in the outermost bins, which happens only
    by rounding.
    """

    def __init__(self, low: float, high: float, bins: int = BINS) -> None:
        import numpy as np

        if not low < high:
            message = f"a histogram needs low < high, not {low} and {high}"
            raise ValueError(message)
        self.low = float(low)
        self.high = float(high)
        self.counts: NDArray[np.int64] = np.zeros(bins, dtype=np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Count the values of an array of any shape."""
        import numpy as np

        bins = self.counts.size
        place = (values.astype(np.float64).ravel() - self.low) * (bins / (self.high - self.low))
        index = np.clip(place, 0, bins - 1).astype(np.int64)
        self.counts += np.bincount(index, minlength=bins)

    def merge(self, other: Histogram) -> None:
        """Add the counts of a histogram with the same bins; raises ValueError for another one."""
        same = (self.low, self.high) == (other.low, other.high)
        if not same or self.counts.size != other.counts.size:
            message = "only histograms with the same bins can be merged"
            raise ValueError(message)
        self.counts += other.counts

    @property
    def width(self) -> float:
        """The width of a bin."""
        return (self.high - self.low) / self.counts.size


def percentile_range(histogram: Histogram, percentile: float = PERCENTILE) -> tuple[float, float]:
    """Return the bounds between which ``percentile`` percent of the values lie, cut at both ends.

    Each side loses at most half of the rest, whole bins only, so that the range can but grow with
    the percentile and never leaves the observed one. Raises ValueError outside 0 < p <= 100.
    """
    import numpy as np

    if not 0 < percentile <= 100:  # noqa: PLR2004 - percent
        message = f"a percentile lies above 0 and up to 100, not at {percentile}"
        raise ValueError(message)
    total = int(histogram.counts.sum())
    allowed = total * (100.0 - percentile) / 200.0
    below = np.cumsum(histogram.counts)
    above = np.cumsum(histogram.counts[::-1])
    first = int(np.searchsorted(below, allowed, side="right"))
    last = int(np.searchsorted(above, allowed, side="right"))
    if first + last >= histogram.counts.size:
        return histogram.low, histogram.high
    low = histogram.low + first * histogram.width if first else histogram.low
    high = histogram.high - last * histogram.width if last else histogram.high
    return low, high


def entropy_range(histogram: Histogram, levels: int = LEVELS) -> tuple[float, float]:
    """Return the range that keeps most of the information when cut into ``levels`` values.

    For each candidate threshold ``t`` the values beyond ``[-t, t]`` are clipped to its ends, what
    is left is spread over ``levels`` equal steps, and the Kullback-Leibler divergence between the
    two distributions is taken; the least one wins, the wider range where two are equal. The bin
    that holds zero is levelled to its neighbours: a ReLU's zeros are exact in every range and
    would drown the rest.

    After S. Migacz, "8-bit inference with TensorRT" (GTC 2017), with the range of an unsigned
    asymmetric type in place of its magnitude only.
    """
    import numpy as np

    size = histogram.counts.size
    counts = histogram.counts.astype(np.float64)
    zero = _zero_bin(histogram)
    if zero is not None:
        near = [counts[i] for i in (zero - 1, zero + 1) if 0 <= i < size]
        counts[zero] = min(counts[zero], max(near))
    if not counts.any():
        return histogram.low, histogram.high
    best, chosen = np.inf, (0, size)
    for first, last in _candidates(histogram, min(levels, size)):
        divergence = _divergence(counts, first, last, levels)
        if divergence < best:
            best, chosen = divergence, (first, last)
    first, last = chosen
    low = histogram.low + first * histogram.width if first else histogram.low
    high = histogram.low + last * histogram.width if last < size else histogram.high
    return low, high


def _zero_bin(histogram: Histogram) -> int | None:
    if not histogram.low <= 0.0 <= histogram.high:
        return None
    return min(int(-histogram.low / histogram.width), histogram.counts.size - 1)


def _candidates(histogram: Histogram, least: int) -> list[tuple[int, int]]:
    """Return the bins that ``[-t, t]`` covers for falling ``t``, down to ``least`` bins."""
    size = histogram.counts.size
    reach = max(abs(histogram.low), abs(histogram.high))
    found: list[tuple[int, int]] = []
    threshold = reach
    while threshold > 0:
        first = max(round((-threshold - histogram.low) / histogram.width), 0)
        last = min(round((threshold - histogram.low) / histogram.width), size)
        if last - first < least:
            break
        if (first, last) not in found[-1:]:
            found.append((first, last))
        threshold -= STRIDE * histogram.width
    return found


def _divergence(counts: NDArray[Any], first: int, last: int, levels: int) -> float:
    """Return the divergence of the clipped distribution from its ``levels``-step version."""
    import numpy as np

    inner = counts[first:last]
    clipped = inner.copy()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[last:].sum()
    step = np.minimum(np.arange(inner.size) * levels // inner.size, levels - 1)
    filled = inner > 0
    mass = np.bincount(step, weights=inner, minlength=levels)
    parts = np.bincount(step, weights=filled, minlength=levels)
    spread = np.divide(mass, parts, out=np.zeros_like(mass), where=parts > 0)[step] * filled
    total = spread.sum()
    if not total:
        return float("inf")
    source = clipped / clipped.sum()
    target = np.maximum(spread / total, _TINY)
    seen = source > 0
    return float(np.sum(source[seen] * np.log(source[seen] / target[seen])))
