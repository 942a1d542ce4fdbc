"""A metric over a whole data set, and how much of it one variant loses against another.

Intervals are 95 % percentile bootstraps over samples, with a fixed seed. That of a drop is paired:
both variants are resampled with the same samples, which is what makes it narrow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import Figure
from edgeops.validate.bootstrap import ROUNDS, Question, interval
from edgeops.validate.scores import named_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Metric


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
    spread = interval(Question((chosen,), labels, metric, lambda one: one[0]), rounds, seed)
    return Figure(value, spread, method=_method(metric.name, spread), samples=samples)


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
    asked = Question(pair, labels, metric, lambda both: sign * (both[0] - both[1]))
    spread = interval(asked, rounds, seed)
    method = _method(f"{metric.name} before less after, paired", spread)
    return Figure(value, spread, method=method, samples=samples)


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


def _method(what: str, spread: tuple[float, float] | None) -> str:
    return what if spread is None else f"{what}; 95 % bootstrap over samples"
