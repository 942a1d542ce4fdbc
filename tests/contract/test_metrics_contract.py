"""What every registered metric keeps, edgeops's own and those of other packages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeops.core import registry
from edgeops.validate.accuracy import drop, evaluate

METRICS = [plugin.name for plugin in registry.registered("metrics") if not plugin.broken]


def data(metric, seed=0):
    """Return outputs and labels that the metric can take: classes, or values for the others."""
    random = np.random.default_rng(seed)
    if getattr(metric, "needs", "classes") == "values":
        labels = random.normal(size=(80, 2))
        return {"y": labels + random.normal(0, 0.3, labels.shape)}, labels
    labels = random.integers(0, 6, 80)
    scores = random.random((80, 6)).astype(np.float32)
    scores[np.arange(80), labels] += 0.3
    return {"scores": scores}, labels


@pytest.fixture(params=METRICS)
def metric(request):
    return registry.get("metrics", request.param)


def test_metric_says_who_it_is(metric):
    assert metric.api == registry.API
    assert isinstance(metric.higher_is_better, bool)
    assert metric.name.isidentifier()


def test_metric_returns_one_finite_number(metric):
    value = metric.score(*data(metric))
    assert isinstance(value, float)
    assert math.isfinite(value)


def test_metric_does_not_change_what_it_is_given(metric):
    outputs, labels = data(metric)
    copies = {name: array.copy() for name, array in outputs.items()}, labels.copy()
    metric.score(outputs, labels)
    assert all((outputs[name] == array).all() for name, array in copies[0].items())
    assert (labels == copies[1]).all()


def test_metric_does_not_depend_on_the_order_of_samples(metric):
    outputs, labels = data(metric)
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = {name: array[order] for name, array in outputs.items()}
    assert metric.score(shuffled, labels[order]) == pytest.approx(metric.score(outputs, labels))


def test_metric_points_the_way_it_says(metric):
    outputs, labels = data(metric)
    spoilt = {name: np.random.default_rng(2).permutation(a) for name, a in outputs.items()}
    assert drop(outputs, spoilt, labels, metric, rounds=0).value > 0


def test_metric_lies_within_its_interval(metric):
    figure = evaluate(*data(metric), metric)
    low, high = figure.interval
    assert low <= figure.value <= high
    assert figure.samples == 80
