"""The sequential test: literals, properties, and its error rates on simulated machines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.core.sequential import FIRST, LAST, TAILS, interval, judge, replay, walsh
from tests.latency_noise import MACHINES, RECORDED, rates

ratios = st.lists(st.floats(0.5, 2.0), min_size=1, max_size=40)


def signed_rank_tails(count):
    """Return P(sum of the ranks below zero <= c) for each c, all signs being equally likely."""
    ways = [1]
    for rank in range(1, count + 1):
        longer = ways + [0] * rank
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    return list(itertools.accumulate(number / 2**count for number in ways))


def test_each_look_cuts_off_less_than_half_a_percent_and_the_first_all_alike():
    nominal = {look: signed_rank_tails(look)[tail] for look, tail in TAILS.items()}
    assert nominal[FIRST] == 2**-9
    assert all(share < 0.001 for look, share in nominal.items() if look > FIRST)
    assert (min(TAILS), max(TAILS)) == (FIRST, LAST)
    assert list(TAILS.values()) == sorted(TAILS.values())


def test_all_looks_together_cut_off_half_a_percent():
    random = np.random.default_rng(3)
    runs, looks = 40_000, list(TAILS)
    sizes, below = random.random((runs, 48)), random.random((runs, 48)) < 0.5
    crossed, sums = np.zeros(runs, bool), np.zeros(runs)
    for trial in range(48):
        lesser = sizes[:, :trial] < sizes[:, [trial]]
        sums += np.where(below[:, trial], lesser.sum(1) + 1, 0)
        sums += (~lesser & below[:, :trial]).sum(1)
        if trial + 1 in looks:
            crossed |= sums <= TAILS[trial + 1]
    # 0.0039 are spent by then; three standard errors of 40,000 runs are 0.0009.
    assert 0.0028 < crossed.mean() < 0.0049


def test_nine_trials_that_agree_decide():
    assert judge([1.03] * 9).verdict == "slower"
    assert judge([1.0] * 9).verdict == "not slower"
    assert judge([0.9] * 9).verdict == "faster"
    assert judge([1.03] * 8).verdict == "inconclusive"
    assert judge([1.03] * 8).why == "8 trials are too few: it takes 9"


def test_slower_by_less_than_the_margin_is_not_slower_and_says_so():
    found = judge([1.01] * 9)
    assert found.verdict == "not slower"
    assert found.why.endswith("below 1.03, though above 1")
    assert judge([1.01] * 9, margin=0.005).verdict == "slower"


def test_one_spoilt_trial_moves_neither_estimate_nor_verdict_only_the_time():
    calm = [1.03, 1.031, 1.029, 1.032, 1.028, 1.03, 1.031, 1.029]
    assert judge([*calm, 0.5]).verdict == "inconclusive"
    later = judge([*calm, 0.5, *calm, 1.03, 1.03, 1.03])
    assert (later.trials, later.verdict) == (20, "slower")
    assert later.ratio == pytest.approx(1.03, abs=1e-3)


def test_trials_that_waited_for_a_processor_do_not_count():
    found = judge([1.03] * 9 + [0.5, 0.5], [0.0] * 9 + [0.5, 0.11])
    assert (found.verdict, found.trials, found.disturbed) == ("slower", 9, 2)
    found = judge([1.0] * 20, [0.4] * 20)
    assert (found.verdict, found.ratio, found.needed) == ("inconclusive", None, None)
    assert found.why.startswith("something else used the same processor in 20 of 20 trials")


def test_trials_whose_waiting_is_not_known_count():
    assert judge([1.0] * 9, [None] * 9).verdict == "not slower"


def test_between_looks_the_interval_is_that_of_the_last_look():
    calm = [1.0, 1.1, 0.9] * 5
    assert judge(calm[:13]).interval == judge(calm[:12]).interval
    assert judge(calm[:13]).trials == 13


def test_it_foretells_how_many_trials_it_takes():
    random = np.random.default_rng(5)
    noisy = np.exp(random.normal(0, 0.03, 12)).tolist()
    found = judge(noisy)
    assert found.verdict == "inconclusive"
    assert 12 < found.needed < 60
    assert judge([1.0, 1.0]).needed == FIRST


def test_replay_stops_where_the_comparison_stopped():
    trials = [1.03] * 9 + [0.5] * 30
    assert replay(trials) == judge(trials[:9])
    assert replay([1.0, 2.0, 0.5]).verdict == "inconclusive"


@given(ratios)
def test_swapping_the_variants_turns_the_interval_over(values):
    one, other = judge(values), judge([1 / value for value in values])
    assert one.ratio == pytest.approx(1 / other.ratio)
    if one.interval:
        assert one.interval == pytest.approx([1 / end for end in reversed(other.interval)])
    assert (one.interval is None) == (len(values) < FIRST)


@given(ratios, st.permutations(range(9)))
def test_the_order_of_trials_up_to_a_look_does_not_matter(values, order):
    values = (values * 9)[:9]
    assert judge([values[place] for place in order]) == judge(values)


@given(ratios)
def test_the_interval_holds_the_estimate_at_a_look_and_verdicts_follow_from_it(values):
    found = judge(values)
    if not found.interval:
        assert not found.decided
        return
    low, high = found.interval
    if found.trials in TAILS:
        assert low <= found.ratio * (1 + 1e-9)
        assert high >= found.ratio * (1 - 1e-9)
    expected = {
        "faster": high < 1,
        "not slower": 1 <= high < 1.03,
        "slower": low > 1 and high >= 1.03,
        "inconclusive": low <= 1 and high >= 1.03,
    }
    assert expected[found.verdict]


@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9))
def test_the_first_interval_is_from_the_least_to_the_largest_trial(values):
    assert interval(values) == (min(values), max(values))
    assert len(walsh(values)) == 45


QUICK = [kind for kind in MACHINES if kind != "recorded" or RECORDED.exists()]


# Nothing is decided there, or little, so that every comparison takes all its trials.
LONG = ("same core", "same core, not told")


@pytest.mark.parametrize("kind", QUICK)
def test_equal_variants_are_hardly_ever_told_apart(kind):
    runs = 60 if kind in LONG else 200
    found = [outcome.verdict for outcome in rates(kind, 1.0, runs, seed=21)]
    # One in a hundred is allowed; more than six of two hundred would happen once in 250 then.
    assert found.count("slower") + found.count("faster") <= (3 if kind in LONG else 6)
    if kind == "same core":
        assert set(found) == {"inconclusive"}


@pytest.mark.parametrize("kind", QUICK)
def test_three_percent_are_found_or_left_open(kind):
    runs = 60 if kind in LONG else 200
    found = rates(kind, 1.03, runs, seed=22)
    verdicts = [outcome.verdict for outcome in found]
    assert verdicts.count("not slower") + verdicts.count("faster") <= (3 if kind in LONG else 6)
    assert all(outcome.seconds <= 60 for outcome in found)
    if kind == "same core":
        assert set(verdicts) == {"inconclusive"}
    if kind not in LONG:
        assert verdicts.count("slower") >= 190


def test_a_quiet_machine_takes_ten_seconds():
    for slowdown in (1.0, 1.03):
        seconds = [outcome.seconds for outcome in rates("quiet", slowdown, 200, seed=23)]
        assert np.mean(np.array(seconds) <= 10.5) >= 0.9


def test_intervals_cover_the_truth_wherever_the_comparison_stopped():
    for kind in ("quiet", "heavy tails", "bursts on another core"):
        found = rates(kind, 1.02, 70, seed=25)
        covered = [o.interval is None or o.interval[0] <= 1.02 <= o.interval[1] for o in found]
        assert np.mean(covered) >= 0.95
