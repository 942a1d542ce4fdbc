"""The rules of serving as literals: gate, probation, times, breaker, sanity, options."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.runtime.serving import breaker as b
from edgeops.runtime.serving.breaker import Breaker, Rules
from edgeops.runtime.serving.gate import Gate, bound, judge, over
from edgeops.runtime.serving.options import Options, parse_options, read_options
from edgeops.runtime.serving.sanity import Checks, left_tolerance
from edgeops.runtime.serving.times import Times

RULES = Rules(b.ALLOWED, window_s=60, cooldown_s=5, trials=2, openings=3, openings_window_s=600)
GATE = Gate(bound_ms=10.0, tolerance=0.1, calls=20, deadline_s=30.0)


@pytest.mark.parametrize(
    ("times", "elapsed", "gate", "word"),
    [
        ([10.9] * 20, 1, GATE, "ready"),  # 11.0 is the bound with its tolerance
        ([11.1] * 20, 1, GATE, "warming"),
        ([11.1] * 20, 30, GATE, "too-slow"),
        ([1.0] * 19, 1, GATE, "warming"),  # too few to say
        ([1.0] * 19, 31, GATE, "too-slow"),
        ([500.0] * 5 + [10.0] * 20, 29, GATE, "ready"),  # the first ones were cold
        ([10.0] * 19 + [50.0], 29, GATE, "warming"),  # the mean, not the median
        ([900.0] * 20, 1, Gate(None), "ready"),  # nothing to compare it with
        ([900.0] * 19, 1, Gate(None), "warming"),
        ([5.0], 0, Gate(None, calls=0), "ready"),
    ],
)
def test_gate_judges_the_last_calls(times, elapsed, gate, word):
    assert judge(times, elapsed, gate) == word


@pytest.mark.parametrize(
    ("hour", "absolute", "expected"),
    [(4.0, 9.0, 4.0), (None, 9.0, 9.0), (None, None, None), (4.0, None, 4.0)],
)
def test_bound_is_the_old_models_hour_else_the_option(hour, absolute, expected):
    assert bound(hour, absolute) == expected


@pytest.mark.parametrize(
    ("served", "since", "expected"),
    [(100, 60, True), (99, 60, False), (100, 59, False), (10**6, 10**6, True)],
)
def test_probation_is_over_after_requests_and_seconds(served, since, expected):
    assert over(served, since, 100, 60) is expected


def test_times_forget_what_is_older_than_an_hour():
    times = Times()
    assert times.hour(0) is None
    assert times.last() is None
    for minute in range(90):
        times.add(float(minute), minute * 60.0)
    assert times.hour(89 * 60.0) == sum(range(30, 90)) / 60
    assert times.last() == sum(range(70, 90)) / 20
    assert times.hour(200 * 60.0) is None
    assert times.count == 90
    times.forget_last()
    assert times.last() is None


def after(*events, breaker=None):
    """Return the breaker after (what, when) of ``events``."""
    breaker = breaker or Breaker()
    for what, when in events:
        if what == "good":
            breaker = b.good(breaker, RULES)
        elif what == "ask":
            breaker = b.admit(breaker, when, RULES)[1]
        else:
            breaker = b.fault(breaker, what, when, RULES)
    return breaker


def test_one_nan_or_exception_opens_nothing_and_three_do():
    assert after(("not-finite", 0), ("failed", 1), ("not-finite", 2)).state == b.CLOSED
    assert after(*[("not-finite", when) for when in (0, 1, 2)]).state == b.OPEN
    assert after(*[("not-finite", when) for when in (0, 1, 61)]).state == b.CLOSED


@pytest.mark.parametrize("kind", [b.HUNG, b.CRASHED, b.WRONG_SHAPE])
def test_what_no_request_can_cause_opens_at_once(kind):
    opened = after((kind, 7.0))
    assert (opened.state, opened.opened) == (b.OPEN, (7.0,))


def test_open_lets_nobody_in_then_one_at_a_time_then_all():
    opened = after(("hung", 0))
    assert b.admit(opened, 4.9, RULES) == (False, opened)
    admitted, half = b.admit(opened, 5.0, RULES)
    assert (admitted, half.state) == (True, b.HALF_OPEN)
    assert b.admit(half, 5.1, RULES)[0] is False
    assert b.admit(half, 10.0, RULES)[0] is True  # the first one never came back
    assert b.admit(b.void(half), 5.1, RULES)[0] is True  # it said nothing of the model
    assert after(("good", 5.1), breaker=half).state == b.HALF_OPEN
    assert after(("good", 5.1), ("ask", 5.2), ("good", 5.3), breaker=half).state == b.CLOSED
    assert after(("not-finite", 5.1), breaker=half).state == b.OPEN


def test_late_answers_neither_close_nor_open_what_is_open():
    opened = after(("hung", 0))
    assert after(("good", 1), ("crashed", 1), breaker=opened) == opened


def test_it_is_exhausted_after_so_many_openings_in_the_window():
    again = [("hung", 0), ("ask", 5), ("hung", 6), ("ask", 11), ("hung", 12)]
    assert not b.exhausted(after(*again[:3]), 6, RULES)
    assert b.exhausted(after(*again), 12, RULES)
    assert not b.exhausted(after(*again), 700, RULES)


Y = (TensorInfo("y", ("N", 2), "float32"),)


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [
        ({"y": np.zeros((3, 2), np.float32)}, None),
        ({"y": np.zeros((3, 2), np.float64)}, "wrong-shape"),
        ({"y": np.zeros((3, 3), np.float32)}, "wrong-shape"),
        ({"y": np.zeros(2, np.float32)}, "wrong-shape"),
        ({"z": np.zeros((3, 2), np.float32)}, "wrong-shape"),
        ({"y": [[0.0, 1.0]]}, "wrong-shape"),
        ([1], "wrong-shape"),
        ({"y": np.array([[np.nan, 1]], np.float32)}, "not-finite"),
        ({"y": np.array([[np.inf, -np.inf]], np.float32)}, "not-finite"),
        ({"y": np.full((2, 2), 3e38, np.float32)}, None),  # their sum overflows, they do not
    ],
)
def test_answers_are_looked_at(outputs, kind):
    found = Checks(Y).problem(outputs)
    assert (found and found[0]) == kind
    if kind == "not-finite":
        assert Checks(Y, finite=False).problem(outputs) is None


def test_answers_of_rules_are_finite_all_the_way_down():
    assert Checks(()).problem({"boxes": [{"score": 0.5, "label": "cat"}], "n": 3}) is None
    assert Checks(()).problem({"boxes": [{"score": float("nan")}]})[0] == "not-finite"
    assert Checks(()).problem({"f8": np.full(3, 1.7e308)}) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (np.array([[1.0, 100.09]]), ""),
        (np.array([[1.0, 100.2]]), "differs by 0.2"),
        (np.array([[np.nan, 100.0]]), "differs by inf"),
        (np.array([[1.0, 100.0, 3.0]]), "has the shape"),
        (None, "is gone"),
    ],
)
def test_baseline_allows_a_share_of_the_largest_value(found, words):
    expected = {"y": np.array([[1.0, 100.0]])}
    told = next(left_tolerance(expected, [{"y": found}], 1e-3), "")
    assert words in told
    assert bool(words) == bool(told)


def test_baseline_wants_nan_for_nan_and_integers_exactly():
    nan = {"y": np.array([[np.nan, np.inf]]), "n": np.array([[3]])}
    good = [{"y": np.array([np.nan, np.inf]), "n": np.array([[3]])}]
    assert list(left_tolerance(nan, good, 0.1)) == []
    bad = [{"y": np.array([[0.0, np.inf]]), "n": np.array([[4]])}]
    assert len(list(left_tolerance(nan, bad, 0.1))) == 2


@pytest.mark.parametrize(
    "document",
    [
        {"thread": 1},
        {"threads": "1"},
        {"threads": 1.5},
        {"isolate": 1},
        {"warm_tolerance": -1},
        {"warm_tolerance": float("nan")},
        {"record": True},
        {"target": 3},
        {"threads": None},
    ],
)
def test_options_refuse_what_they_do_not_know(document):
    with pytest.raises(InputError, match="cannot be set") as caught:
        parse_options(document, "here")
    assert caught.value.code == "serve-options"


def test_options_come_from_the_home(tmp_path):
    assert read_options(tmp_path) == Options()
    (tmp_path / "serve.json").write_text(json.dumps({"warm_bound_ms": None, "wait_s": 2}))
    assert read_options(tmp_path).wait_s == 2
    (tmp_path / "serve.json").write_text("[1")
    with pytest.raises(InputError, match="cannot be read"):
        read_options(tmp_path)
