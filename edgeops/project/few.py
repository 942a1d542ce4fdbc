"""Few samples of a data set, spread over it: what can be looked at before time is spent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeops.core.contracts import Samples

FEW = 32


def places(count: int) -> list[int]:
    """Return which of ``count`` samples are looked at: the first, the last, and evenly between."""
    if count <= FEW:
        return list(range(count))
    return [index * (count - 1) // (FEW - 1) for index in range(FEW)]


def few(samples: Samples) -> Samples:
    """Return few of the samples; slices stay whole, for gates may name any part of the data."""
    at = places(samples.count)
    if len(at) == samples.count:
        return samples
    arrays = {name: one if one.ndim == 0 else one[at] for name, one in samples.arrays.items()}
    labels = samples.labels if samples.labels is None else samples.labels[at]
    return replace(samples, arrays=arrays, labels=labels, count=len(at))
