"""The loops that time calls, on a clock that the test moves."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest

from edgeops.runtime import measure


class Clock:
    """A clock in nanoseconds; ``run`` moves it by the cost of the call."""

    def __init__(self, costs):
        self.now = 0
        self.costs = iter(costs)
        self.fed = []

    def __call__(self):
        return self.now

    def run(self, feed):
        self.fed.append(feed)
        self.now += next(self.costs)


def forever(cost):
    while True:
        yield cost


def then(*parts):
    for count, cost in parts[:-1]:
        yield from [cost] * count
    yield from forever(parts[-1])


MS = 1_000_000


def test_warm_up_ends_when_the_last_quarter_is_like_the_one_before():
    clock = Clock(then((10, 50 * MS), (10, 20 * MS), 10 * MS))
    warm = measure.warm_up(clock.run, [{}], 2.0, clock=clock)
    assert (warm.calls, warm.stationary) == (40, True)


def test_warm_up_takes_a_tenth_of_its_budget_at_least():
    clock = Clock(forever(1 * MS))
    warm = measure.warm_up(clock.run, [{}], 2.0, clock=clock)
    assert (warm.calls, warm.stationary) == (200, True)


@pytest.mark.parametrize("memory", [5, 20, 80, 300])
def test_warm_up_outlasts_a_slow_decline(memory):
    costs = (int(MS * (1 + 2 * math.exp(-call / memory))) for call in range(100_000))
    clock = Clock(costs)
    warm = measure.warm_up(clock.run, [{}], 4.0, clock=clock)
    assert warm.stationary
    # What is left of the decline is less than 5 %.
    assert math.exp(-warm.calls / memory) * 2 < 0.05


def test_warm_up_is_not_kept_going_by_noise():
    random = np.random.default_rng(4)
    clock = Clock(int(MS * value) for value in random.lognormal(0, 0.1, 100_000))
    warm = measure.warm_up(clock.run, [{}], 1.0, clock=clock)
    assert warm.stationary
    assert warm.calls < 400


def test_warm_up_ends_at_its_budget_when_times_never_settle():
    clock = Clock(10 * MS * factor for factor in range(1, 100000))
    warm = measure.warm_up(clock.run, [{}], 1.0, clock=clock)
    assert warm.stationary is False
    assert clock.now >= 1_000 * MS
    assert clock.now <= 1_200 * MS


def test_calls_are_timed_for_the_budget():
    clock = Clock(forever(10 * MS))
    times = measure.time_calls(clock.run, [{}], 0.5, least=10, clock=clock)
    assert times.tolist() == [10 * MS] * 50


def test_slow_calls_go_on_until_there_are_enough_but_not_without_end():
    enough = Clock(forever(100 * MS))
    assert len(measure.time_calls(enough.run, [{}], 0.5, least=10, clock=enough)) == 10
    endless = Clock(forever(700 * MS))
    times = measure.time_calls(endless.run, [{}], 0.5, least=10, clock=endless)
    assert len(times) == 3
    assert endless.now == 2_100 * MS


def test_fast_calls_end_at_what_is_kept(monkeypatch):
    monkeypatch.setattr(measure, "MOST_CALLS", 100)
    clock = Clock(forever(1))
    assert len(measure.time_calls(clock.run, [{}], 1.0, least=10, clock=clock)) == 100


def test_feeds_take_turns():
    clock = Clock(forever(100 * MS))
    measure.time_calls(clock.run, ["a", "b", "c"], 0.5, least=1, clock=clock)
    assert clock.fed == ["a", "b", "c", "a", "b"]


def test_pairs_share_feeds_and_swap_who_goes_first():
    order = []
    now = 0

    def clock():
        return now

    def runner(name, cost):
        def run(feed):
            nonlocal now
            now += cost
            order.append((name, feed))

        return run

    one, other = runner("one", 10 * MS), runner("other", 30 * MS)
    ones, others = measure.time_pairs(one, other, [1, 2], 0.1, least=3, clock=clock)
    assert order == [
        ("one", 1),
        ("other", 1),
        ("other", 2),
        ("one", 2),
        ("one", 1),
        ("other", 1),
    ]
    assert ones.tolist() == [10 * MS] * 3
    assert others.tolist() == [30 * MS] * 3


def test_garbage_collection_is_off_while_calls_are_timed_and_on_again_after_a_failure():
    seen = []

    def fail():
        seen.append(gc.isenabled())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), measure.undisturbed():
        fail()
    assert (seen, gc.isenabled()) == ([False], True)


def test_peak_memory_starts_anew_when_it_is_reset():
    import numpy as np

    block = np.ones(40_000_000, np.uint8)
    before, source = measure.peak_bytes()
    assert source in {"VmHWM", "ru_maxrss"}
    del block
    if not measure.reset_peak():
        pytest.skip("this system does not let a process reset its peak")
    after, _ = measure.peak_bytes()
    assert after < before - 20_000_000
