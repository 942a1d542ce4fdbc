"""How long the measuring program times, and what of a long loop it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeops.runtime import measure
from edgeops.runtime.probe import loops
from edgeops.runtime.probe.machine import Machine

NOWHERE = Machine(Path("/nowhere"), Path("/nowhere"))


def test_plain_loop_is_as_long_as_it_is_asked_for():
    plan = loops.plan({"seconds": 2, "least": 20})
    assert (plan.seconds, plan.least, plan.window_s, plan.sustained) == (2, 20, 0, False)


def test_mlperf_asks_for_queries_and_a_minute_at_least():
    plan = loops.plan({"seconds": 2, "least": 20, "preset": "mlperf"})
    assert (plan.seconds, plan.least, plan.sustained) == (60, 1024, False)
    assert plan.window_s == 1
    assert loops.plan({"seconds": 90, "preset": "mlperf"}).seconds == 90


@pytest.mark.parametrize(("seconds", "window"), [(10, 1), (120, 2), (3600, 10)])
def test_sustained_loop_has_windows_of_one_to_ten_seconds(seconds, window):
    plan = loops.plan({"seconds": 1, "sustained_s": seconds})
    assert (plan.seconds, plan.window_s, plan.sustained) == (seconds, window, True)
    assert plan.warm_up_s <= 5


def run(plan, call, told):
    return loops.run(plan, call, [{}], NOWHERE, told.append)


def test_loop_goes_on_until_there_are_enough_calls():
    plan = loops.Plan(seconds=0.02, least=5000, window_s=0.01, warm_up_s=0, sustained=False)
    told = []
    found = run(plan, lambda _: None, told)
    assert found["calls"] >= 5000
    assert "sustained" not in found
    assert told[0] == {"say": "step", "what": "timing calls", "total": 2}
    assert sum(line["parts"] for line in told[1:]) <= 2


def test_long_loop_keeps_every_nth_time(monkeypatch):
    monkeypatch.setattr(measure, "MOST_CALLS", 50)
    # So many calls at least: of a moment that is counted in time a busy machine may take most.
    plan = loops.Plan(seconds=0.05, least=1000, window_s=0.01, warm_up_s=0, sustained=True)
    found = run(plan, lambda _: None, [])
    windows = found["sustained"]["windows"]
    assert found["calls"] == sum(window["calls"] for window in windows) > 50
    assert 0 < len(found["latency_ns"]) <= 50
    assert windows[0]["start_s"] == 0
    assert all(window["temperature_c"] is None for window in windows)
