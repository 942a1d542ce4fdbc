"""What every registered metric keeps, edgeops's own and those of other packages."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgeops.core import registry
from edgeops.errors import InputError
from edgeops.validate.accuracy import drop, evaluate, figures_from_kept, scored
from edgeops.validate.bootstrap import HasTerms, HasWeights, prepare
from tests.metric_data import data

METRICS = [plugin.name for plugin in registry.registered("metrics") if not plugin.broken]


@pytest.fixture(params=METRICS)
def metric(request):
    return registry.get("metrics", request.param)


def spoil(outputs, seed=2):
    """Return outputs that belong to other samples than they say."""
    return {name: np.random.default_rng(seed).permutation(a) for name, a in outputs.items()}


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
    assert drop(outputs, spoil(outputs), labels, metric, rounds=0).value > 0


def test_metric_lies_within_its_interval(metric):
    figure = evaluate(*data(metric), metric)
    low, high = figure.interval
    assert low <= figure.value <= high
    assert figure.samples == 80


def test_metric_loses_nothing_against_itself(metric):
    outputs, labels = data(metric)
    figure = drop(outputs, outputs, labels, metric)
    assert (figure.value, figure.interval) == (0.0, (0.0, 0.0))


def test_quick_form_of_a_metric_is_its_score(metric):
    outputs, labels = data(metric)
    form = prepare(metric, (outputs, spoil(outputs)), labels)
    expected = [metric.score(outputs, labels), metric.score(spoil(outputs), labels)]
    assert form.values() == pytest.approx(expected, abs=1e-12)


def test_quick_form_counts_a_sample_that_was_drawn_twice_twice(metric):
    if not isinstance(metric, HasTerms | HasWeights):
        pytest.skip("it is scored anew for each resample")
    outputs, labels = data(metric, samples=40)
    random = np.random.default_rng(7)
    often = random.multinomial(40, np.full(40, 1 / 40))
    rows = np.repeat(np.arange(40), often)
    expected = metric.score({name: array[rows] for name, array in outputs.items()}, labels[rows])
    if isinstance(metric, HasTerms):
        value = metric.combine(often @ metric.terms(outputs, labels) / 40)
    else:
        value = metric.weigh(metric.essence(outputs, labels), often[None])[0]
    assert value == pytest.approx(expected, abs=1e-12)


def test_slice_of_a_metric_is_the_metric_of_the_slice(metric):
    outputs, labels = data(metric)
    part = np.array(["night", "day"])[(np.arange(80) % 4 == 0).astype(int)]
    figures = scored(outputs, labels, metric, slices={"light": part}, rounds=0).figures
    for value in ("night", "day"):
        rows = part == value
        own = metric.score({name: a[rows] for name, a in outputs.items()}, labels[rows])
        figure = figures[f"{metric.name}[light={value}]"]
        assert figure.value == pytest.approx(own, abs=1e-12)
        assert figure.samples == rows.sum()


def test_figures_follow_from_what_evidence_keeps(metric):
    outputs, labels = data(metric)
    found = scored(
        spoil(outputs, 3), labels, metric, source=outputs, slices={"half": np.arange(80) % 2}
    )
    if "absent" in found.kept:
        pytest.skip(found.kept["absent"])
    assert figures_from_kept(json.loads(json.dumps(found.kept))) == found.figures


def test_metric_refuses_labels_that_are_not_there(metric):
    outputs, _ = data(metric)
    with pytest.raises(InputError):
        metric.score(outputs, None)
