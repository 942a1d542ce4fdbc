"""What long work shows: a line a stage and target on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgeops import console
from edgeops.views.progress import LiveProgress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def live(clock):
    return LiveProgress(Console(file=io.StringIO(), width=100), clock)


def _shown(live):
    out = Console(file=io.StringIO(), width=100, no_color=True)
    out.print(live.table())
    return [" ".join(line.split()) for line in out.file.getvalue().splitlines()]


def test_each_stage_and_target_has_a_line_with_its_figures(live, clock):
    live.step("train: running")
    clock.now = 2.5
    live.done("train", "ran", 2.5)
    live.step("convert@gateway: proving", total=4)
    live.advance(2)
    live.figure("parity_max_abs", 0.000123)
    clock.now = 4.0
    lines = _shown(live)
    assert lines[0] == "✓ train 2.5 s"
    assert lines[1].split()[1:4] == ["convert", "gateway", "proving"]
    assert lines[1].endswith("2/4 1.5 s parity_max_abs 0.000123")


def test_a_failed_and_a_cached_stage_say_so(live):
    live.done("train", "cached", 0.0)
    live.step("pack: running")
    live.done("pack", "failed", 0.3)
    assert _shown(live) == ["· train cached", "✗ pack failed 0.3 s"]


def test_steps_of_other_verbs_follow_each_other(live, clock):
    live.step("checking m.onnx")
    clock.now = 1.0
    live.step("converting m.onnx")
    clock.now = 3.0
    lines = _shown(live)
    assert lines[0] == "✓ checking m.onnx 1.0 s"
    assert lines[1].endswith("converting m.onnx 2.0 s")


def test_only_the_latest_figures_are_shown(live):
    live.step("validate@a: measuring")
    for number in range(5):
        live.figure(f"f{number}", number)
    assert _shown(live)[0].endswith("f2 2 · f3 3 · f4 4")


def test_without_a_terminal_plain_lines_are_printed(capsys):
    with console.progress() as events:
        events.step("convert@gateway: proving", total=4)
        events.advance(1)
        events.figure("accuracy", 0.98765)
        events.done("convert@gateway", "ran", 1.25)
        events.done("train", "cached", 0.0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "convert@gateway: proving (4)\n  accuracy 0.9877\nconvert@gateway: ran in 1.2 s\n"
    )
