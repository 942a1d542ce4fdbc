"""Samples that the source itself answers differently from one time to the next.

Sums in another order give other last digits, and some inputs blow these up: a variance of nearly
nothing, computed as a difference of large numbers, moves by a per cent with the size of the batch.
On such a sample no engine can agree with the source, since the source does not with itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeops.convert import proof
from edgeops.errors import RefusedError
from edgeops.runtime.batch import run_batched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeops.core.contracts import Samples, Session

_SHARE = 0.1  # of the tolerance: what the source may differ from itself on a sample that counts


def unsteadiness(
    source: Session, others: Sequence[Session], samples: Samples, tolerance: str
) -> list[float]:
    """Return for each sample how much the source differs from itself, 1 being the tolerance.

    Compared with all samples at once: each alone, all with the last digit of their numbers moved,
    and ``others``, which run the same model in another way. NaN and infinity that come and go count
    as infinite.
    """
    answers = run_batched(source, samples)
    again = [run_batched(source, samples, limit=1), run_batched(source, _nudged(samples))]
    again += [run_batched(other, samples) for other in others]
    return [
        max(_difference(answers, other, row, tolerance) for other in again)
        for row in range(samples.count)
    ]


def _nudged(samples: Samples) -> Samples:
    """Return the samples with every second number moved up by one unit in the last place."""
    import numpy as np

    arrays = {}
    for name, array in samples.arrays.items():
        moved = np.array(array)
        if moved.dtype.kind == "f" and moved.ndim:
            flat = moved.reshape(-1)
            flat[::2] = np.nextafter(flat[::2], np.array(np.inf, moved.dtype))
        arrays[name] = moved
    return replace(samples, arrays=arrays)


def steady(unsteady: Sequence[float]) -> list[int] | None:
    """Return the samples on which the source agrees with itself, None when that is all or none."""
    rows = [row for row, much in enumerate(unsteady) if much <= _SHARE]
    return rows if 0 < len(rows) < len(unsteady) else None


def _difference(
    one: Mapping[str, Any], other: Mapping[str, Any], row: int, tolerance: str
) -> float:
    allowed = proof.TOLERANCES[tolerance].rel
    return max((part / allowed for part in _relative(one, other, row, tolerance)), default=0.0)


def _relative(
    one: Mapping[str, Any], other: Mapping[str, Any], row: int, tolerance: str
) -> Iterator[float]:
    for name in one:
        before, after = one[name][row : row + 1], other[name][row : row + 1]
        try:
            (part,) = proof.each_output({name: before}, {name: after}, tolerance)
        except RefusedError:
            yield float("inf")
        else:
            yield part.max_rel if part.max_abs > proof.TOLERANCES[tolerance].absolute else 0.0
