"""Statistics of latency on synthetic streams whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeops.validate.latency import (
    latency_figures,
    quantile_curve,
    ratio_figure,
    sign_test_rank,
    spread_figure,
)

NORMAL = {"latency_p50_ms": 0.0, "latency_p90_ms": 1.281552, "latency_p99_ms": 2.326348}


def autocorrelated(random, count, memory, spread):
    """Return a stationary series whose neighbours correlate by ``memory``."""
    steps = random.normal(0, spread * math.sqrt(1 - memory**2), count)
    series = np.empty(count)
    series[0] = random.normal(0, spread)
    for index in range(1, count):
        series[index] = memory * series[index - 1] + steps[index]
    return series


def lognormal_runs(random, memory, count=1500):
    """Return three streams of ns whose logarithm is normal: half of it noise, half a drift."""
    return [
        np.exp(autocorrelated(random, count, memory, 0.05) + random.normal(0, 0.05, count)) * 1e6
        for _ in range(3)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "least"), [(0.0, 0.90), (0.9, 0.90), (0.98, 0.84)])
def test_intervals_cover_the_truth_also_when_neighbours_are_alike(memory, least):
    random = np.random.default_rng(7)
    spread = math.sqrt(2) * 0.05
    truth = {name: math.exp(spread * z) for name, z in NORMAL.items()}
    truth["latency_mean_ms"] = math.exp(spread**2 / 2)
    trials, hits = 100, dict.fromkeys(truth, 0)
    for trial in range(trials):
        figures = latency_figures(lognormal_runs(random, memory), seed=trial)
        for name, value in truth.items():
            low, high = figures[name].interval
            hits[name] += low <= value <= high
    assert all(count / trials >= least for count in hits.values()), hits
    assert hits["latency_p50_ms"] / trials <= 0.995


def test_interval_of_drifting_calls_is_wider_than_if_they_were_independent():
    random = np.random.default_rng(8)
    drifting = lognormal_runs(random, 0.995)
    shuffled = np.split(random.permutation(np.concatenate(drifting)), 3)
    widths = [
        np.ptp(latency_figures(runs)["latency_p50_ms"].interval) for runs in (drifting, shuffled)
    ]
    assert widths[0] > 2 * widths[1]


def test_outliers_move_the_mean_and_the_tail_but_not_the_median():
    random = np.random.default_rng(9)
    calm = [1e6 * (1 + 0.01 * random.random(2000)) for _ in range(3)]
    spoilt = [run.copy() for run in calm]
    for run in spoilt:
        run[::50] *= 40
    before, after = latency_figures(calm), latency_figures(spoilt)
    assert after["latency_p50_ms"].value == pytest.approx(before["latency_p50_ms"].value, rel=1e-3)
    assert after["latency_p99_ms"].value > 30
    assert after["latency_mean_ms"].value > 1.5


def test_figures_say_how_they_were_measured():
    figure = latency_figures([np.full(300, 2e6), np.full(300, 2e6)])["latency_p50_ms"]
    assert (figure.value, figure.interval, figure.unit) == (2.0, (2.0, 2.0), "ms")
    assert (figure.samples, figure.noisy) == (600, True)
    assert figure.method.startswith("600 single calls in 2 fresh process(es)")


def test_figures_are_the_same_for_the_same_times():
    runs = lognormal_runs(np.random.default_rng(10), 0.9, count=200)
    assert latency_figures(runs) == latency_figures(runs)


def test_quantile_with_too_few_calls_beyond_it_is_absent():
    figures = latency_figures([np.linspace(1e6, 2e6, 60)])
    assert figures["latency_p50_ms"].value is not None
    assert figures["latency_p90_ms"].value is not None
    assert figures["latency_p99_ms"].value is None
    assert "60 calls are too few: it takes 500" in figures["latency_p99_ms"].absent


def test_nothing_timed_is_absent_and_not_zero():
    figures = latency_figures([[], []])
    assert {figure.value for figure in figures.values()} == {None}
    assert {figure.absent for figure in figures.values()} == {"no call was timed"}


def test_quantile_curve_rises_from_least_to_largest():
    curve = quantile_curve([np.arange(1, 1001) * 1e6, np.arange(1001, 2001) * 1e6])
    assert curve[0] == (0.0, 1.0)
    assert curve[-1] == (100.0, 2000.0)
    assert curve[-2][0] == 99.9
    assert [value for _, value in curve] == sorted(value for _, value in curve)
    assert len(quantile_curve([np.arange(1, 101) * 1e6])) == 101


@pytest.mark.parametrize(
    ("trials", "rank"), [(5, None), (6, 0), (8, 0), (9, 1), (12, 2), (15, 3), (20, 5)]
)
def test_sign_test_leaves_out_what_the_tables_say(trials, rank):
    # Conover, Practical Nonparametric Statistics, table A3: binomial with p = 1/2, 5 % two-sided.
    assert sign_test_rank(trials) == rank


def test_ratio_is_the_median_of_trials_and_survives_a_spoilt_one():
    figure = ratio_figure([1.30, 1.31, 1.29, 1.32, 1.28, 1.30, 1.31, 1.29, 0.57], 900)
    assert figure.value == 1.30
    assert figure.interval == (1.28, 1.31)
    assert figure.samples == 900


def test_ratio_of_too_few_trials_is_absent():
    figure = ratio_figure([1.0, 1.0, 1.0], 30)
    assert figure.value is None
    assert "it takes 6" in figure.absent


def test_ratio_of_equal_variants_covers_one_as_often_as_it_says():
    random = np.random.default_rng(11)
    hits = 0
    for _ in range(400):
        low, high = ratio_figure(list(random.normal(1, 0.0075, 9)), 900).interval
        hits += low <= 1 <= high
    assert 0.93 <= hits / 400 <= 0.99


def test_spread_is_the_median_with_least_and_largest():
    figure = spread_figure([3.0, 1.0, 2.0], "ms", "loading")
    assert (figure.value, figure.interval, figure.samples) == (2.0, (1.0, 3.0), 3)
    assert figure.method == "loading; median of 3 fresh processes, least to largest"
