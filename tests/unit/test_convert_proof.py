"""The proof refuses what is wrong in each of the ways that were seen."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.convert import proof
from edgeops.errors import RefusedError

RANDOM = np.random.default_rng(7)
Y = RANDOM.normal(size=(8, 5)).astype("float32")


def parity(expected, found, precision="fp32"):
    return proof.compare({"y": expected}, {"y": found}, "test", len(expected), precision=precision)


def test_equal_outputs_pass_with_the_figures_of_equality():
    figures = parity(Y, Y.copy())
    assert (figures.passed, figures.max_abs, figures.max_rel) == (True, 0.0, 0.0)
    assert (figures.norm_ratio, figures.top1) == (1.0, 1.0)
    assert figures.cosine == pytest.approx(1.0)


def test_rounding_of_float32_passes():
    assert parity(Y, Y * np.float32(1 + 1e-6)).passed


@pytest.mark.parametrize(
    "wrong",
    [Y * 200, Y * 1.01, Y[:, ::-1], np.zeros_like(Y), Y + np.float32(0.01)],
    ids=["200 times too large", "1 % too large", "reversed", "zeros", "shifted"],
)
def test_wrong_outputs_do_not_pass(wrong):
    assert not parity(Y, wrong).passed


def test_one_wrong_sample_among_many_does_not_pass():
    wrong = Y.copy()
    wrong[5] *= -1
    figures = parity(Y, wrong)
    assert not figures.passed
    assert figures.cosine == pytest.approx(-1.0)


def test_large_outputs_may_differ_by_more_than_small_ones():
    assert parity(Y * np.float32(1e6), Y * np.float32(1e6 * (1 + 1e-5))).passed


def test_tiny_differences_around_zero_pass():
    assert parity(np.zeros_like(Y), np.full_like(Y, 1e-7)).passed
    assert not parity(np.zeros_like(Y), np.full_like(Y, 1e-2)).passed


def test_float16_is_allowed_what_float16_costs():
    found = Y.astype("float16").astype("float32")
    assert not parity(Y, Y * np.float32(1.01)).passed
    assert parity(Y, found, "fp16").passed
    assert not parity(Y, Y * np.float32(1.1), "fp16").passed


def test_integers_are_compared_exactly():
    ids = np.array([3, 1, 2, 0])
    assert parity(ids, ids.copy()).top1 == 1.0
    one_off = parity(ids, np.array([3, 1, 2, 1]))
    assert (one_off.passed, one_off.top1, one_off.max_abs) == (False, 0.75, 1.0)


def test_text_outputs_are_compared_exactly():
    words = np.array([["cat"], ["dog"]])
    assert parity(words, words.copy()).passed
    assert not parity(words, words[::-1]).passed


def test_nan_where_the_source_has_nan_passes():
    expected = Y.copy()
    expected[0, 0] = np.nan
    expected[1, 1] = -np.inf
    assert parity(expected, expected.copy()).passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_or_infinity_on_one_side_only_is_refused(value):
    wrong = Y.copy()
    wrong[2, 3] = value
    for one, other in ((Y, wrong), (wrong, Y)):
        with pytest.raises(RefusedError) as caught:
            parity(one, other)
        assert caught.value.code == "parity-nan"
        assert "sample 2" in caught.value.why


@pytest.mark.parametrize(
    "found", [{}, {"y": Y[:4]}, {"y": Y[:, :4]}, {"y": Y.astype("int64")}], ids=str
)
def test_another_layout_is_refused(found):
    with pytest.raises(RefusedError) as caught:
        proof.compare({"y": Y}, found, "test", 8)
    assert caught.value.code == "parity-layout"


def test_text_is_compared_as_it_stands_also_where_it_came_as_objects():
    words = np.array([["a", "bc"], ["d", ""]], dtype=object)
    assert parity(words, words.astype(str)).passed
    other = words.copy()
    other[1, 0] = "e"
    figures = parity(words, other)
    assert (figures.passed, figures.max_abs) == (False, 1.0)


def test_ragged_outputs_are_compared_sample_by_sample():
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.ones((2, 3)), np.ones((5, 3))]
    assert parity(ragged, ragged.copy()).passed
    other = np.empty(2, dtype=object)
    other[:] = [np.ones((2, 3)), np.ones((4, 3))]
    with pytest.raises(RefusedError) as caught:
        parity(ragged, other)
    assert caught.value.code == "parity-layout"


def test_worst_output_decides():
    figures = proof.compare({"a": Y, "b": Y}, {"a": Y, "b": Y * 2}, "test", 8)
    assert not figures.passed
    assert figures.norm_ratio == pytest.approx(2.0)


def test_outputs_without_elements_agree():
    empty = {"scores": np.zeros((1, 0, 3, 1), "float32"), "rows": np.zeros((1, 0), "float32")}
    parity = proof.compare(empty, dict(empty), "made here", 1)
    assert parity.passed
    assert parity.max_abs == 0
