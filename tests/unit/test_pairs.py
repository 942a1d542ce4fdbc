"""Trials of interleaved turns, on a clock that the test moves and on the engine itself."""

from __future__ import annotations

import math

import pytest

from edgeops.runtime import pairs
from edgeops.runtime.pairs import calls_in_turn, time_turns
from edgeops.runtime.probe.arrays import write_samples

MS = 1_000_000


class Bench:
    """Runs that move one clock by their cost and remember who was called with what."""

    def __init__(self):
        self.now, self.calls = 0, []

    def clock(self):
        return self.now

    def run(self, name, *costs):
        left = list(costs)

        def call(feed):
            self.calls.append((name, feed))
            self.now += int(left.pop(0) if len(left) > 1 else left[0])

        return call


def test_variants_take_turns_on_the_same_feeds_and_the_first_call_of_a_turn_is_not_counted():
    bench = Bench()
    cold_then_warm = [9 * MS, 1 * MS, 2 * MS] * 5
    one = bench.run("one", *cold_then_warm)
    other = bench.run("other", *[3 * MS] * 15)
    found = time_turns([one, other], ["a", "b"], 0.1, calls=3, clock=bench.clock)
    assert bench.calls[:6] == [
        ("one", "a"),
        ("one", "b"),
        ("one", "a"),
        ("other", "a"),
        ("other", "b"),
        ("other", "a"),
    ]
    assert bench.calls[6] == ("one", "b")
    assert found == [[1.5 * MS] * 5, [3.0 * MS] * 5]


def test_slow_calls_all_count_and_three_turns_do():
    bench = Bench()
    runs = [bench.run("one", 30 * MS), bench.run("other", 60 * MS)]
    assert calls_in_turn(runs, [{}], clock=bench.clock) == 1
    assert len(bench.calls) == 2
    found = time_turns(runs, [{}], 0.1, calls=1, clock=bench.clock)
    assert found == [[30 * MS] * 3, [60 * MS] * 3]


def test_very_slow_calls_end_after_four_times_the_budget():
    bench = Bench()
    runs = [bench.run("one", 900 * MS), bench.run("other", 900 * MS)]
    found = time_turns(runs, [{}], 0.25, calls=1, clock=bench.clock)
    assert [len(turns) for turns in found] == [1, 1]


@pytest.mark.parametrize(
    ("cost", "calls"), [(0.01, 16), (0.5, 10), (1.0, 5), (2.4, 2), (20, 2), (25.1, 1)]
)
def test_a_turn_takes_five_milliseconds_of_two_to_sixteen_calls(cost, calls):
    bench = Bench()
    runs = [bench.run("one", 0.01 * MS), bench.run("other", cost * MS)]
    assert calls_in_turn(runs, [{}], clock=bench.clock) == calls


@pytest.fixture
def request_(tmp_path, monkeypatch):
    import numpy as np

    from edgeops.core.contracts import Samples

    monkeypatch.chdir(tmp_path)
    samples = Samples({"x": np.zeros((2, 3), np.float32)}, None, 2, "", "")
    about = write_samples(tmp_path / "few.npz", samples)
    return {"variant": "new", "against": "old", "threads": 1, "few": about, "seconds": 0.5}


class Spinning:
    """A session that works for a fixed number of steps."""

    def __init__(self, name, log, steps):
        from edgeops.core.variant import TensorInfo

        self.inputs = (TensorInfo("x", "float32", ("batch", 3)),)
        self.outputs = ()
        self._name, self._log, self._steps = name, log, steps

    def run(self, arrays):
        self._log.append(self._name)
        sum(range(self._steps))
        return {}


def compared(request_, steps, **more):
    log, loaded, told = [], [], []

    def load(folder, threads):
        loaded.append((str(folder), threads))
        return Spinning(str(folder), log, steps[str(folder)])

    answer = pairs.measure_pairs({**request_, **more}, load, told.append)
    return answer, loaded, told, log


def test_both_are_loaded_twice_a_trial_in_either_order_and_a_coin_says_which_is_first(request_):
    answer, loaded, told, log = compared(
        request_, {"new": 20_000, "old": 10_000}, seconds=60, trials=4, seed=2
    )
    assert len(answer["trials"]) == 4
    for number, trial in enumerate(answer["trials"]):
        order = ["new", "old"] if trial["first"] == 0 else ["old", "new"]
        part = [name for name, _ in loaded[4 * number : 4 * number + 4]]
        assert part == [*order, *reversed(order)]
        assert trial["ratio"] == pytest.approx(math.sqrt(math.prod(trial["halves"])))
    assert {trial["first"] for trial in answer["trials"]} == {0, 1}
    # Whoever is loaded first is warmed up first.
    assert log[0] == loaded[0][0]
    assert [line for line in told if line["say"] == "trial"] == [
        {"say": "trial", **trial} for trial in answer["trials"]
    ]


def test_the_answer_has_the_verdict_and_what_it_rests_on(request_):
    answer, *_ = compared(request_, {"new": 20_000, "old": 10_000}, seconds=60, trials=2)
    assert answer["verdict"] == "inconclusive"
    assert answer["ratio_ci"] is None
    assert answer["counted"] + answer["disturbed"] == 2
    assert set(answer) == {
        "trials",
        "seconds",
        "margin",
        "calls_in_turn",
        "verdict",
        "why",
        "ratio",
        "ratio_ci",
        "counted",
        "disturbed",
        "would_take_s",
    }
    for trial in answer["trials"]:
        assert trial["lost"] is None or 0 <= trial["lost"] <= 1
        assert 1.0 < trial["ratio"] < 4.0


def test_the_time_is_kept_unless_a_least_number_of_trials_is_asked_for(request_):
    steps = {"new": 1000, "old": 1000}
    answer, *_ = compared(request_, steps, seconds=0.0)
    assert len(answer["trials"]) == 1
    answer, *_ = compared(request_, steps, seconds=0.05, least=3, trials=3)
    assert 1 <= len(answer["trials"]) <= 3


def test_how_long_a_verdict_would_take():
    from edgeops.core.sequential import Judgement

    def judged(verdict, trials, needed):
        return Judgement(verdict, "", 1.0, None, trials, 0, needed)

    assert pairs.would_take(judged("slower", 9, 9), 7.0) == 7.0
    assert pairs.would_take(judged("inconclusive", 10, 40), 20.0) == 80.0
    assert pairs.would_take(judged("inconclusive", 0, None), 20.0) is None
    assert pairs.would_take(judged("inconclusive", 10, 97), 20.0) is None


def test_counters_of_a_kernel_that_does_not_count_are_not_told(tmp_path):
    for thread, text in {"1": "500 20 3", "2": "0 0 0", "3": "", "4": "7"}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(text)
    assert pairs._waited(str(tmp_path)) == {"1": 20}
