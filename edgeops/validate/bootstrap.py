"""The bootstrap: how far a figure of a data set would move with other samples of its kind.

``prepare`` brings what was answered into the form that is quickest to resample; everything after
that (values, intervals, slices, what evidence keeps) works on the form alone, so that a figure
comes out the same from evidence as from outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgeops.core.contracts import Metric

    Arrays = Mapping[str, Any]

ROUNDS = 1000
# A metric without terms is computed anew for every resample, which costs milliseconds each.
SLOW_ROUNDS = 200
LEVEL = 0.95
_FEW_COLUMNS = 8
# A multinomial draw over cells takes so many times as long for each as drawing samples does.
_FEW_CELLS = 8
# Cells of the matrix of draws held at once (8 bytes each).
_MOST_CELLS = 4_000_000


@runtime_checkable
class HasTerms(Protocol):
    """A metric that is ``combine(mean of terms over samples)``: its bootstrap is a matrix product."""

    def terms(self, outputs: Arrays, labels: Any) -> Any:
        """Return ``[samples, columns]``, or None when there are too many to hold."""

    def combine(self, means: Any) -> Any:
        """Return the metric, ``[..., columns] -> [...]``."""


@runtime_checkable
class HasWeights(Protocol):
    """A metric that can be computed for many weightings of the samples at once."""

    def essence(self, outputs: Arrays, labels: Any) -> Arrays:
        """Return the arrays that the metric follows from, whatever the weights."""

    def select(self, essence: Arrays, rows: Any) -> Arrays:
        """Return the essence of the samples where ``rows`` (``[samples]``) is True."""

    def weigh(self, essence: Arrays, weights: Any) -> Any:
        """Return the metric of each row of ``weights``, ``[rounds, samples] -> [rounds]``.

        A weight of 2 counts a sample twice, one of 0 leaves it out. nan where it is undefined.
        """


class Form(Protocol):
    """What one or two sides answered to the same samples, ready to be resampled."""

    @property
    def samples(self) -> int:
        """How many samples there are."""

    def values(self, rows: Any = None) -> list[float]:
        """Return the metric of each side, of the samples where ``rows`` (``[samples]``) is True."""

    def resampled(self, rows: Any, rounds: int, generator: Any) -> list[Any]:
        """Return the metric of each side over ``rounds`` resamples, ``[rounds or fewer]`` each."""

    def side(self, index: int) -> Form:
        """Return the form of one side alone."""


@dataclass(frozen=True)
class Terms:
    """Terms of each side, ``[samples, columns]``, and the function of their means."""

    sides: tuple[Any, ...]
    combine: Callable[[Any], Any]

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.sides[0])

    def side(self, index: int) -> Terms:
        """Return the form of one side alone."""
        return Terms((self.sides[index],), self.combine)

    def values(self, rows: Any = None) -> list[float]:
        """Return the metric of each side over the chosen samples."""
        chosen = [terms if rows is None else terms[rows] for terms in self.sides]
        return [float(self.combine(terms.mean(axis=0))) for terms in chosen]

    def resampled(self, rows: Any, rounds: int, generator: Any) -> list[Any]:
        """Return the metric of each side; both are drawn with the same samples."""
        import numpy as np

        terms = np.concatenate(self.sides, axis=1)
        means = _drawn_means(terms if rows is None else terms[rows], rounds, generator)
        edges = np.cumsum([one.shape[1] for one in self.sides])[:-1]
        return [self.combine(part) for part in np.split(means, edges, axis=1)]


@dataclass(frozen=True)
class Weights:
    """The essence of each side, and the metric that weighs it."""

    sides: tuple[Arrays, ...]
    metric: HasWeights
    samples: int

    def side(self, index: int) -> Weights:
        """Return the form of one side alone."""
        return Weights((self.sides[index],), self.metric, self.samples)

    def values(self, rows: Any = None) -> list[float]:
        """Return the metric of each side over the chosen samples."""
        import numpy as np

        sides, count = self._selected(rows)
        once = np.ones((1, count), np.int32)
        return [float(self.metric.weigh(side, once)[0]) for side in sides]

    def resampled(self, rows: Any, rounds: int, generator: Any) -> list[Any]:
        """Return the metric of each side; both are weighed with the same draws."""
        import numpy as np

        sides, count = self._selected(rows)
        found: list[list[Any]] = [[] for _ in sides]
        for draws in _draws(count, min(rounds, SLOW_ROUNDS), generator):
            for parts, side in zip(found, sides, strict=True):
                parts.append(self.metric.weigh(side, draws))
        return [np.concatenate(parts) for parts in found]

    def _selected(self, rows: Any) -> tuple[list[Arrays], int]:
        if rows is None:
            return list(self.sides), self.samples
        return [self.metric.select(side, rows) for side in self.sides], int(rows.sum())


@dataclass(frozen=True)
class Scores:
    """Outputs of each side and labels, for metrics that can only be asked again."""

    sides: tuple[Arrays, ...]
    labels: Any
    metric: Metric

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return 0 if self.labels is None else len(self.labels)

    def side(self, index: int) -> Scores:
        """Return the form of one side alone."""
        return Scores((self.sides[index],), self.labels, self.metric)

    def values(self, rows: Any = None) -> list[float]:
        """Return the metric of each side over the chosen samples."""
        if rows is None:
            return [float(self.metric.score(side, self.labels)) for side in self.sides]
        return self._scored(rows, self.labels[rows])

    def resampled(self, rows: Any, rounds: int, generator: Any) -> list[Any]:
        """Return the metric of each side, scored one resample after the other.

        Class metrics are undefined where a class has no sample, so those resamples are left out.
        """
        import numpy as np

        given = np.arange(self.samples) if rows is None else np.flatnonzero(rows)
        labels = np.asarray(self.labels)
        flat = labels.ndim == 1 and labels.dtype.kind in "iub"
        classes = len(np.unique(labels[given])) if flat else 0
        found: list[list[float]] = []
        for _ in range(min(rounds, SLOW_ROUNDS)):
            chosen = given[generator.integers(0, len(given), len(given))]
            picked = labels[chosen]
            if classes and len(np.unique(picked)) < classes:
                continue
            found.append(self._scored(chosen, picked))
        return list(np.asarray(found, dtype=float).reshape(-1, len(self.sides)).T)

    def _scored(self, rows: Any, labels: Any) -> list[float]:
        return [
            float(self.metric.score({name: array[rows] for name, array in side.items()}, labels))
            for side in self.sides
        ]


def prepare(metric: Metric, sides: Sequence[Arrays], labels: Any) -> Form:
    """Return the quickest form that the metric has of the outputs of one or two sides.

    Raises InputError when outputs or labels do not fit the metric.
    """
    if isinstance(metric, HasTerms):
        terms = tuple(metric.terms(side, labels) for side in sides)
        if all(one is not None for one in terms):
            return Terms(terms, metric.combine)
    if isinstance(metric, HasWeights):
        essences = tuple(metric.essence(side, labels) for side in sides)
        return Weights(essences, metric, len(labels))
    return Scores(tuple(sides), labels, metric)


def interval(
    form: Form,
    figure: Callable[[list[Any]], Any],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    rows: Any = None,
) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of ``figure([metric of each side])``.

    None where there are fewer than two samples or too few resamples have a figure.
    """
    import numpy as np

    count = form.samples if rows is None else int(rows.sum())
    if not rounds or count < 2:  # noqa: PLR2004 - one sample says nothing about spread
        return None
    values = np.asarray(figure(form.resampled(rows, rounds, np.random.default_rng(seed))))
    values = values[np.isfinite(values)]
    if values.size < SLOW_ROUNDS // 2:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _drawn_means(terms: Any, rounds: int, generator: Any) -> Any:
    """Return the means of ``rounds`` resamples of the rows of ``terms``, ``[rounds, columns]``.

    Drawing samples with replacement is a multinomial draw over rows; equal rows are drawn as one,
    which for right-or-wrong terms leaves two to four cells whatever the number of samples.
    """
    import numpy as np

    count = len(terms)
    cells, weights = _cells(terms)
    if len(cells) * _FEW_CELLS < count:
        return generator.multinomial(count, weights / count, size=rounds) @ cells / count
    return np.concatenate([draws @ terms / count for draws in _draws(count, rounds, generator)])


def _draws(count: int, rounds: int, generator: Any) -> Iterator[Any]:
    """Yield how often each of ``count`` samples is drawn, ``[some rounds, count]``, in pieces."""
    import numpy as np

    step = max(1, _MOST_CELLS // count)
    for start in range(0, rounds, step):
        size = min(step, rounds - start)
        drawn = generator.integers(0, count, (size, count))
        drawn += np.arange(size)[:, None] * count
        often = np.bincount(drawn.ravel(), minlength=size * count)
        yield often.reshape(size, count).astype(np.int32)


def _cells(terms: Any) -> tuple[Any, Any]:
    """Return the different rows and how often each is there; many columns are left as they are."""
    import numpy as np

    if ((terms == 0) | (terms == 1)).all():
        packed = np.packbits(terms.astype(bool), axis=1)
        _, first, often = np.unique(
            packed.view(f"V{packed.shape[1]}").ravel(), return_index=True, return_counts=True
        )
        return terms[first], often
    if terms.shape[1] <= _FEW_COLUMNS:
        cells, often = np.unique(terms, axis=0, return_counts=True)
        return cells, often
    return terms, np.ones(len(terms))
