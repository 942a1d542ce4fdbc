"""SI-SDR: literals, the published definition, and what does not change it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.errors import InputError
from edgeops.validate.accuracy import evaluate
from edgeops.validate.audio import SiSdr

CLEAN = np.array([[1.0, -1.0, 1.0, -1.0]])


def published(estimate, reference):
    """Return the ratio as Le Roux et al. write it: the reference scaled to be nearest."""
    scale = np.dot(estimate, reference) / np.dot(reference, reference)
    noise = scale * reference - estimate
    return 10 * np.log10(np.sum((scale * reference) ** 2) / np.sum(noise**2))


@pytest.mark.parametrize(
    ("estimate", "decibels"),
    [
        (CLEAN + 0.1 * np.array([[1, 1, -1, -1]]), 20.0),
        (CLEAN + np.array([[1, 1, -1, -1]]), 0.0),
        (-3 * CLEAN, 10 * np.log10(2.0**52)),
        (CLEAN, 10 * np.log10(2.0**52)),
        (np.zeros((1, 4)), -10 * np.log10(2.0**52)),
        (np.ones((1, 4)), -10 * np.log10(2.0**52)),
    ],
)
def test_ratio_by_hand(estimate, decibels):
    assert SiSdr().score({"y": estimate}, CLEAN) == pytest.approx(decibels)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), noise=st.floats(1e-3, 10))
def test_ratio_is_the_published_one_at_any_scale(seed, scale, noise):
    random = np.random.default_rng(seed)
    labels = random.normal(size=(4, 50))
    estimate = labels + noise * random.normal(size=labels.shape)
    expected = np.mean([published(*pair) for pair in zip(estimate, labels, strict=True)])
    assert SiSdr().score({"y": estimate}, labels) == pytest.approx(expected)
    assert SiSdr().score({"y": scale * estimate}, labels) == pytest.approx(expected)
    assert SiSdr().score({"y": estimate}, scale * labels) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(6, 1, 20), (6, 20, 1)])
def test_axes_of_one_do_not_count(shape):
    random = np.random.default_rng(2)
    labels = random.normal(size=(6, 20))
    estimate = labels + random.normal(size=labels.shape)
    expected = SiSdr().score({"y": estimate}, labels)
    assert SiSdr().score({"y": estimate.reshape(shape)}, labels.reshape(shape)) == expected
    assert SiSdr().score({"y": estimate.reshape(shape)}, labels) == expected


def test_channels_are_averaged_in_decibels():
    random = np.random.default_rng(3)
    labels = random.normal(size=(5, 2, 30))
    estimate = labels + random.normal(size=labels.shape)
    both = [SiSdr().score({"y": estimate[:, one]}, labels[:, one]) for one in (0, 1)]
    assert SiSdr().score({"y": estimate}, labels) == pytest.approx(np.mean(both))


def test_signals_that_are_no_numbers_leave_the_figure_out():
    estimate = CLEAN.copy()
    estimate[0, 0] = np.nan
    assert evaluate({"y": estimate}, CLEAN, SiSdr()).absent == "si_sdr came out as no finite number"


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (None, "labels-missing"),
        (np.ones((1, 5)), "labels-misfit"),
        (np.array([3]), "labels-misfit"),
        (np.zeros((1, 4)), "metric-undefined"),
    ],
)
def test_references_that_do_not_serve_are_refused(labels, code):
    with pytest.raises(InputError) as refused:
        SiSdr().score({"y": CLEAN}, labels)
    assert refused.value.code == code
