"""Statistics of latency on synthetic streams whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeops.validate.latency import (
    drift_figure,
    latency_figures,
    mlperf_discard,
    mlperf_figure,
    quantile_curve,
    ratio_figure,
    sketch,
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


def test_ratio_is_a_median_of_trials_and_survives_spoilt_ones():
    trials = [1.30, 1.31, 1.29, 1.32, 1.28, 1.30, 1.31, 1.29, 1.30]
    figure = ratio_figure(trials, 900)
    assert figure.value == pytest.approx(1.30, abs=1e-3)
    assert figure.interval == pytest.approx((1.28, 1.32))
    assert (figure.samples, figure.noisy) == (900, True)
    assert "99 %" in figure.method
    disturbed = ratio_figure([*trials, 0.57], 990, [*[0.0] * 9, 0.5])
    assert disturbed.interval == figure.interval
    assert "9 trials (1 more were disturbed)" in disturbed.method


def test_ratio_of_too_few_trials_is_absent():
    figure = ratio_figure([1.0, 1.0, 1.0], 30)
    assert figure.value is None
    assert "it takes 9" in figure.absent
    assert ratio_figure([], 0).absent == "no pair was timed"


def test_ratio_of_equal_variants_covers_one_as_often_as_it_says():
    random = np.random.default_rng(11)
    hits = 0
    for _ in range(400):
        low, high = ratio_figure(list(random.normal(1, 0.0075, 9)), 900).interval
        hits += low <= 1 <= high
    # The interval of nine trials leaves out 2 / 512.
    assert hits / 400 >= 0.985


# What LoadGen printed of runs of so many queries: "Would discard N highest latency queries".
@pytest.mark.parametrize(
    ("calls", "discarded"),
    [(63, None), (64, 0), (201, 9), (659, 47), (708, 51), (2048, 172), (2116, 178), (7469, 685)],
)
def test_mlperf_discards_as_many_queries_as_loadgen(calls, discarded):
    assert mlperf_discard(calls) == discarded


def test_mlperf_figure_is_the_slowest_query_that_is_left():
    figure = mlperf_figure(sketch([np.arange(1, 2049) * 1e6]))
    assert figure.value == 2048 - 172
    few = mlperf_figure(sketch([np.arange(1, 60) * 1e6]))
    assert few.value is None
    assert few.absent == "59 calls are too few: it takes 64"


def windows(values):
    return [{"p50_ms": value, "calls": 100} for value in values]


def test_drift_is_the_last_third_over_the_first():
    random = np.random.default_rng(12)
    steady = drift_figure(windows(np.exp(random.normal(0, 0.01, 60))))
    assert steady.interval[0] < 1 < steady.interval[1]
    heating = drift_figure(windows(np.linspace(1.0, 1.3, 60) * np.exp(random.normal(0, 0.01, 60))))
    assert heating.value == pytest.approx(1.25 / 1.05, rel=0.02)
    assert heating.interval[0] > 1.05
    assert heating.samples == 6000
    assert drift_figure(windows([1.0] * 11)).absent.startswith(
        "11 windows are too few: it takes 12"
    )


def test_drift_of_a_wandering_clock_covers_one_as_often_as_it_says():
    random = np.random.default_rng(13)
    hits = 0
    for _ in range(300):
        low, high = drift_figure(windows(np.exp(autocorrelated(random, 120, 0.6, 0.02)))).interval
        hits += low <= 1 <= high
    assert hits / 300 >= 0.9


def test_spread_is_the_median_with_least_and_largest():
    figure = spread_figure([3.0, 1.0, 2.0], "ms", "loading")
    assert (figure.value, figure.interval, figure.samples) == (2.0, (1.0, 3.0), 3)
    assert figure.method == "loading; median of 3 fresh processes, least to largest"


def test_one_process_says_nothing_about_the_spread():
    figure = spread_figure([3.0], "ms", "loading")
    assert (figure.value, figure.interval, figure.samples) == (3.0, None, 1)
    assert figure.method == "loading; one fresh process"
