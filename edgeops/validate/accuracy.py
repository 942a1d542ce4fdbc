"""A metric over a whole data set, and how much of it one variant loses against another.

Intervals are 95 % percentile bootstraps over samples, with a fixed seed. That of a drop is paired:
both variants are resampled with the same samples, which is what makes it narrow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edgeops.core.gates import Figure
from edgeops.validate.scores import named_output

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


def evaluate(
    outputs: Mapping[str, Any],
    labels: Any,
    metric: Metric,
    *,
    output: str = "",
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Figure:
    """Return the metric over all samples with its interval.

    ``outputs`` are arrays by output name, first axis = samples, as ``labels``; ``output`` names the
    one that counts, else the rule of ``edgeops.validate.scores`` finds it. ``rounds=0`` leaves the
    interval out. A value that is not finite is absent, with the reason. Raises InputError when
    outputs or labels do not fit the metric.
    """
    chosen = named_output(outputs, output)
    value = metric.score(chosen, labels)
    samples = 0 if labels is None else len(labels)
    if not math.isfinite(value):
        return _absent(metric, samples)
    interval = _interval((chosen,), labels, metric, lambda one: one[0], rounds, seed)
    return Figure(value, interval, method=_method(metric.name, interval), samples=samples)


def drop(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    labels: Any,
    metric: Metric,
    *,
    output: str = "",
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Figure:
    """Return how much worse ``after`` is than ``before``, with its paired interval.

    Positive is a loss whichever way the metric points. Arguments and errors as ``evaluate``.
    """
    pair = (named_output(before, output), named_output(after, output))
    sign = 1.0 if metric.higher_is_better else -1.0
    value = sign * (metric.score(pair[0], labels) - metric.score(pair[1], labels))
    samples = 0 if labels is None else len(labels)
    if not math.isfinite(value):
        return _absent(metric, samples)
    interval = _interval(
        pair, labels, metric, lambda both: sign * (both[0] - both[1]), rounds, seed
    )
    method = _method(f"{metric.name} before less after, paired", interval)
    return Figure(value, interval, method=method, samples=samples)


def agreement(before: Mapping[str, Any], after: Mapping[str, Any], *, output: str = "") -> Figure:
    """Return the share of samples for which both name the same class.

    Raises InputError when the outputs hold no classes.
    """
    from edgeops.validate.metrics import Accuracy
    from edgeops.validate.scores import class_ids, class_output

    _, array = class_output(named_output(before, output))
    ids = class_ids(array)
    figure = evaluate(after, ids, Accuracy(), output=output)
    method = "share of samples with the class that the source model names"
    return Figure(figure.value, figure.interval, method=method, samples=figure.samples)


def _absent(metric: Metric, samples: int) -> Figure:
    return Figure(None, absent=f"{metric.name} came out as no finite number", samples=samples)


def _method(what: str, interval: tuple[float, float] | None) -> str:
    return what if interval is None else f"{what}; 95 % bootstrap over samples"


def _interval(
    sides: tuple[Mapping[str, Any], ...],
    labels: Any,
    metric: Metric,
    figure: Callable[[list[Any]], Any],
    rounds: int,
    seed: int,
) -> tuple[float, float] | None:
    """Return the percentile interval of ``figure([score of each side])``, or None."""
    import numpy as np

    if not rounds or len(labels) < 2:  # noqa: PLR2004 - one sample says nothing about spread
        return None
    generator = np.random.default_rng(seed)
    values = _from_terms(sides, labels, metric, figure, rounds, generator)
    if values is None:
        values = _from_weights(sides, labels, metric, figure, min(rounds, SLOW_ROUNDS), generator)
    if values is None:
        values = _from_scores(sides, labels, metric, figure, min(rounds, SLOW_ROUNDS), generator)
    values = values[np.isfinite(values)]
    if values.size < SLOW_ROUNDS // 2:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _from_terms(
    sides: tuple[Mapping[str, Any], ...],
    labels: Any,
    metric: Metric,
    figure: Callable[[list[Any]], Any],
    rounds: int,
    generator: Any,
) -> Any:
    """Return the figure of every resample, ``[rounds]``, or None when the metric has no terms."""
    import numpy as np

    if not isinstance(metric, HasTerms):
        return None
    terms = [metric.terms(side, labels) for side in sides]
    if any(one is None for one in terms):
        return None
    means = _drawn_means(np.concatenate(terms, axis=1), rounds, generator)
    edges = np.cumsum([one.shape[1] for one in terms])[:-1]
    return figure([metric.combine(part) for part in np.split(means, edges, axis=1)])


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


def _from_weights(
    sides: tuple[Mapping[str, Any], ...],
    labels: Any,
    metric: Metric,
    figure: Callable[[list[Any]], Any],
    rounds: int,
    generator: Any,
) -> Any:
    """Return the figure of every resample, ``[rounds]``, or None when the metric takes no weights."""
    import numpy as np

    if not isinstance(metric, HasWeights):
        return None
    count = len(labels)
    step = max(1, _MOST_CELLS // count)
    parts = []
    for start in range(0, rounds, step):
        size = min(step, rounds - start)
        draws = generator.multinomial(count, np.full(count, 1 / count), size=size)
        parts.append(figure([metric.weighted(side, labels, draws) for side in sides]))
    return np.concatenate(parts)


def _from_scores(
    sides: tuple[Mapping[str, Any], ...],
    labels: Any,
    metric: Metric,
    figure: Callable[[list[Any]], Any],
    rounds: int,
    generator: Any,
) -> Any:
    """Return the figure of every resample, scored one by one, ``[rounds or fewer]``.

    Class metrics are undefined where a class has no sample, so those resamples are left out.
    """
    import numpy as np

    labels = np.asarray(labels)
    classes = len(np.unique(labels)) if labels.ndim == 1 and labels.dtype.kind in "iub" else 0
    values = []
    for _ in range(rounds):
        chosen = generator.integers(0, len(labels), len(labels))
        picked = labels[chosen]
        if classes and len(np.unique(picked)) < classes:
            continue
        resampled = [{name: array[chosen] for name, array in side.items()} for side in sides]
        values.append(figure([metric.score(side, picked) for side in resampled]))
    return np.asarray(values, dtype=float)
