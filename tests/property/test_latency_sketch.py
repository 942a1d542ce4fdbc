"""A sketch of measured times comes to the figures of the times themselves."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.validate.latency import (
    QUANTILES,
    blocks_of,
    figures_from_sketch,
    latency_figures,
    sketch,
)

times = st.lists(st.lists(st.integers(1, 10**10), min_size=1, max_size=80), min_size=1, max_size=3)


@settings(deadline=None)
@given(times)
def test_a_kept_sketch_comes_to_the_same_figures(runs):
    kept = json.loads(json.dumps(sketch(runs)))
    assert figures_from_sketch(kept) == latency_figures(runs)


@settings(deadline=None)
@given(times)
def test_values_are_those_of_all_calls(runs):
    pooled = np.concatenate([np.array(run) for run in runs]) / 1e6
    figures = latency_figures(runs)
    for name, share in QUANTILES.items():
        if figures[name].value is not None:
            assert figures[name].value == float(np.quantile(pooled, share))
    assert figures["latency_mean_ms"].value == float(pooled.mean())


@settings(deadline=None)
@given(times)
def test_a_sketch_counts_every_call_once(runs):
    kept = sketch(runs)
    counted = [int(number) for row in kept["counts"] for number in row.split()]
    assert sum(counted) == kept["calls"] == sum(map(len, runs))


def resampled(parts, rounds, random):
    """Return quantiles of whole blocks drawn with replacement, by sorting."""
    found = {name: [] for name in QUANTILES}
    for _ in range(rounds):
        pooled = np.concatenate([parts[i] for i in random.integers(len(parts), size=len(parts))])
        for name, share in QUANTILES.items():
            found[name].append(np.quantile(pooled, share))
    return found


def test_bins_cost_the_interval_hardly_anything():
    random = np.random.default_rng(5)
    run = random.lognormal(14, 0.2, 9000)
    parts = np.array_split(run / 1e6, 18)
    exact = resampled(parts, 1000, random)
    for name, (low, high) in ((n, latency_figures([run])[n].interval) for n in QUANTILES):
        bounds = np.quantile(exact[name], [0.025, 0.975])
        # Student's t with 17 degrees of freedom and n / (n - 1) widen it by 1.108.
        assert abs((high - low) / (1.108 * np.ptp(bounds)) - 1) < 0.15, name


def test_a_sketch_of_many_calls_stays_small():
    random = np.random.default_rng(6)
    assert len(json.dumps(sketch([random.lognormal(14, 0.5, 200_000)]))) < 30_000


@given(st.lists(st.integers(), min_size=1, max_size=50), st.integers(1, 10))
def test_blocks_are_successive_and_leave_nothing_out(values, count):
    parts = blocks_of(values, count)
    assert [value for part in parts for value in part] == values
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
