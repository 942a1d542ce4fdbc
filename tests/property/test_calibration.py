"""Histograms add up, and ranges keep within what was seen, for any values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeops.quantize.histogram import Histogram, entropy_range, percentile_range

finite = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
values = arrays(np.float32, st.integers(2, 400), elements=finite).filter(
    lambda array: array.max() > array.min()
)


def filled(array, bins=2048):
    histogram = Histogram(float(array.min()), float(array.max()), bins)
    histogram.add(array)
    return histogram


@given(values, st.integers(1, 399))
def test_merge_of_parts_is_the_histogram_of_the_whole(array, place):
    low, high = float(array.min()), float(array.max())
    first, second = Histogram(low, high), Histogram(low, high)
    first.add(array[:place])
    second.add(array[place:])
    first.merge(second)
    assert (first.counts == filled(array).counts).all()


@given(values)
def test_histogram_counts_every_value_once(array):
    assert filled(array).counts.sum() == array.size


@given(values)
def test_histogram_does_not_depend_on_the_order(array):
    assert (filled(array).counts == filled(np.sort(array)).counts).all()


@given(values, st.floats(50, 100), st.floats(50, 100))
def test_percentile_range_grows_with_the_percentile(array, one, other):
    histogram = filled(array)
    narrow = percentile_range(histogram, min(one, other))
    wide = percentile_range(histogram, max(one, other))
    assert wide[0] <= narrow[0]
    assert narrow[1] <= wide[1]


@given(values, st.floats(1, 100))
def test_percentile_range_keeps_that_share_within_the_observed_range(array, percentile):
    histogram = filled(array)
    low, high = percentile_range(histogram, percentile)
    assert array.min() <= low <= high <= array.max() + 1e-6 * abs(array.max())
    slack = histogram.width
    inside = ((array >= low - slack) & (array <= high + slack)).mean()
    assert inside >= percentile / 100 - 1e-9


@given(values)
def test_percentile_of_all_is_the_observed_range(array):
    assert percentile_range(filled(array), 100) == (float(array.min()), float(array.max()))


@settings(max_examples=25, deadline=None)
@given(values)
def test_entropy_range_is_within_the_observed_range(array):
    histogram = filled(array)
    low, high = entropy_range(histogram)
    assert histogram.low <= low < high <= histogram.high


@settings(max_examples=10, deadline=None)
@given(values, st.floats(0.001, 1000))
def test_entropy_range_scales_with_the_values(array, factor):
    scaled = Histogram(float(array.min()) * factor, float(array.max()) * factor)
    plain = filled(array)
    scaled.counts = plain.counts
    for one, other in zip(entropy_range(plain), entropy_range(scaled), strict=True):
        assert other == pytest.approx(one * factor, rel=1e-6, abs=2 * scaled.width)


def test_entropy_range_of_uniform_values_is_all_of_it():
    histogram = Histogram(-1.0, 1.0)
    histogram.counts[:] = 100
    assert entropy_range(histogram) == (-1.0, 1.0)


def test_entropy_range_cuts_an_outlier_of_one_in_a_hundred_thousand():
    array = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    array[0] = 500.0
    low, high = entropy_range(filled(array))
    assert high < 100.0
    assert low < -2.0


def test_entropy_range_of_a_relu_ignores_its_zeros():
    normal = np.random.default_rng(0).normal(size=50_000)
    few, many = np.abs(normal), np.maximum(normal, 0.0)
    ranges = [entropy_range(filled(array.astype(np.float32)))[1] for array in (few, many)]
    assert ranges[1] > 0.7 * ranges[0]


def test_percentile_range_cuts_a_known_tail():
    histogram = Histogram(0.0, 10.0, bins=10)
    histogram.counts[:] = [90, 2, 2, 1, 1, 1, 1, 1, 0, 1]
    assert percentile_range(histogram, 96) == (0.0, 7.0)


@pytest.mark.parametrize("percentile", [0, -1, 100.5])
def test_percentile_outside_its_bounds_is_an_error(percentile):
    with pytest.raises(ValueError, match="percentile"):
        percentile_range(Histogram(0.0, 1.0), percentile)


def test_histograms_with_other_bins_cannot_be_merged():
    with pytest.raises(ValueError, match="same bins"):
        Histogram(0.0, 1.0).merge(Histogram(0.0, 2.0))


def test_histogram_of_one_value_is_an_error():
    with pytest.raises(ValueError, match="low < high"):
        Histogram(1.0, 1.0)
