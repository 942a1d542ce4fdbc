"""The bootstrap: how far a figure of a data set would move with other samples of its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeops.core.contracts import Metric

ROUNDS = 1000
# A metric without terms is scored anew for every resample, which costs milliseconds each.
SLOW_ROUNDS = 200
LEVEL = 0.95
_FEW_COLUMNS = 8
# Cells of the matrix of draws held at once (8 bytes each).
_MOST_CELLS = 4_000_000


@runtime_checkable
class HasTerms(Protocol):
    """A metric that is ``combine(mean of terms over samples)``: its bootstrap is a matrix product."""

    def terms(self, outputs: Mapping[str, Any], labels: Any) -> Any:
        """Return ``[samples, columns]``, or None when there are too many to hold."""

    def combine(self, means: Any) -> Any:
        """Return the metric, ``[..., columns] -> [...]``."""


@runtime_checkable
class HasWeights(Protocol):
    """A metric that can be computed for many weightings of the samples at once."""

    def weighted(self, outputs: Mapping[str, Any], labels: Any, weights: Any) -> Any:
        """Return the metric of each row of ``weights``, ``[rounds, samples] -> [rounds]``."""


@dataclass(frozen=True)
class Question:
    """What is resampled: ``figure([score of each side])`` over samples with labels."""

    sides: tuple[Mapping[str, Any], ...]
    labels: Any
    metric: Metric
    figure: Callable[[list[Any]], Any]


def interval(asked: Question, rounds: int, seed: int) -> tuple[float, float] | None:
    """Return the 95 % percentile interval, or None where too few resamples have a figure."""
    import numpy as np

    if not rounds or len(asked.labels) < 2:  # noqa: PLR2004 - one sample says nothing about spread
        return None
    generator = np.random.default_rng(seed)
    values = _from_terms(asked, rounds, generator)
    if values is None:
        values = _from_weights(asked, min(rounds, SLOW_ROUNDS), generator)
    if values is None:
        values = _from_scores(asked, min(rounds, SLOW_ROUNDS), generator)
    values = values[np.isfinite(values)]
    if values.size < SLOW_ROUNDS // 2:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _from_terms(asked: Question, rounds: int, generator: Any) -> Any:
    """Return the figure of every resample, ``[rounds]``, or None when the metric has no terms."""
    import numpy as np

    if not isinstance(asked.metric, HasTerms):
        return None
    terms = [asked.metric.terms(side, asked.labels) for side in asked.sides]
    if any(one is None for one in terms):
        return None
    means = _drawn_means(np.concatenate(terms, axis=1), rounds, generator)
    edges = np.cumsum([one.shape[1] for one in terms])[:-1]
    return asked.figure([asked.metric.combine(part) for part in np.split(means, edges, axis=1)])


def _drawn_means(terms: Any, rounds: int, generator: Any) -> Any:
    """Return the means of ``rounds`` resamples of the rows of ``terms``, ``[rounds, columns]``.

    Drawing samples with replacement is a multinomial draw over rows; equal rows are drawn as one,
    which for right-or-wrong terms leaves two to four cells whatever the number of samples.
    """
    import numpy as np

    count = len(terms)
    weights: Any = np.ones(count)
    if terms.shape[1] <= _FEW_COLUMNS:
        terms, weights = np.unique(terms, axis=0, return_counts=True)
    step = max(1, _MOST_CELLS // len(terms))
    parts = []
    for start in range(0, rounds, step):
        size = min(step, rounds - start)
        draws = generator.multinomial(count, weights / count, size=size)
        parts.append(draws @ terms / count)
    return np.concatenate(parts)


def _from_weights(asked: Question, rounds: int, generator: Any) -> Any:
    """Return the figure of every resample, ``[rounds]``, or None when the metric takes no weights."""
    import numpy as np

    if not isinstance(asked.metric, HasWeights):
        return None
    count = len(asked.labels)
    step = max(1, _MOST_CELLS // count)
    parts = []
    for start in range(0, rounds, step):
        size = min(step, rounds - start)
        draws = generator.multinomial(count, np.full(count, 1 / count), size=size)
        scores = [asked.metric.weighted(side, asked.labels, draws) for side in asked.sides]
        parts.append(asked.figure(scores))
    return np.concatenate(parts)


def _from_scores(asked: Question, rounds: int, generator: Any) -> Any:
    """Return the figure of every resample, scored one by one, ``[rounds or fewer]``.

    Class metrics are undefined where a class has no sample, so those resamples are left out.
    """
    import numpy as np

    labels = np.asarray(asked.labels)
    classes = len(np.unique(labels)) if labels.ndim == 1 and labels.dtype.kind in "iub" else 0
    values = []
    for _ in range(rounds):
        chosen = generator.integers(0, len(labels), len(labels))
        picked = labels[chosen]
        if classes and len(np.unique(picked)) < classes:
            continue
        resampled = [{name: array[chosen] for name, array in side.items()} for side in asked.sides]
        values.append(asked.figure([asked.metric.score(side, picked) for side in resampled]))
    return np.asarray(values, dtype=float)
