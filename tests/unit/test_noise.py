"""Who disturbed a measurement, from the probe's counters, as literals."""

from __future__ import annotations

import pytest

from edgeops.validate.noise import notes, summarize

CALM = {
    "steal_ms": 0.0,
    "involuntary_switches": 3,
    "voluntary_switches": 2,
    "other_cpu_ms": 20.0,
    "frequency_mhz": [1480.0, 1500.0],
    "temperature_c": [48.0, 51.0],
    "throttled": False,
    "absent": {},
}


def level(processors=4, threads=1, seconds=1.0, **more):
    return summarize([{**CALM, **more}], seconds, processors=processors, threads=threads)


def test_a_calm_machine_is_quiet():
    noise = level()
    assert (noise.level, noise.reasons, notes(noise)) == ("quiet", (), ())
    assert noise.to_json() == {
        "level": "quiet",
        "reasons": [],
        "steal_share": 0.0,
        "other_cpu_share": 0.005,
        "involuntary_switches_per_s": 3.0,
        "frequency_mhz": [1480.0, 1500.0],
        "temperature_c": [48.0, 51.0],
        "throttled": False,
        "absent": {},
    }


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"steal_ms": 80.0}, "the host took 2% of its processors away"),
        ({"involuntary_switches": 230}, "calls were interrupted 230 times a second"),
        (
            {"other_cpu_ms": 3400.0},
            "other programs used 40% of a processor that was measured on",
        ),
        (
            {"other_cpu_ms": 480.0, "processors": 1},
            "other programs used 48% of a processor that was measured on",
        ),
        (
            {"other_cpu_ms": 300.0, "processors": 2, "threads": 2},
            "other programs used 30% of a processor that was measured on",
        ),
        (
            {"frequency_mhz": [900.0, 1500.0], "processors": 1},
            "the clock was between 900 and 1500 MHz",
        ),
    ],
)
def test_a_neighbour_makes_it_busy(more, reason):
    noise = level(**more)
    assert (noise.level, noise.reasons) == ("busy", (reason,))
    assert notes(noise) == (f"the machine was busy: {reason}",)


@pytest.mark.parametrize(
    "more",
    [
        # One program beside on another processor takes nothing away.
        {"other_cpu_ms": 1000.0, "processors": 2},
        # Processors that idle may be slow.
        {"frequency_mhz": [600.0, 1500.0]},
        {"involuntary_switches": 45},
    ],
)
def test_what_takes_nothing_away_is_quiet(more):
    assert level(**more).level == "quiet"


def test_a_processor_that_throttles_is_said_to_whatever_else():
    noise = level(throttled=True, temperature_c=[80.0, 86.4], steal_ms=80.0)
    assert noise.level == "throttled"
    assert noise.reasons == (
        "it throttles itself",
        "it reached 86 degrees Celsius",
        "its clock was 1480 to 1500 MHz",
        "the host took 2% of its processors away",
    )
    assert "let it cool down" in notes(noise)[0]


def test_heat_alone_is_told_and_judges_nothing():
    noise = level(temperature_c=[80.0, 90.0])
    assert noise.level == "quiet"
    assert notes(noise) == ("it reached 90 degrees Celsius",)


def test_what_cannot_be_read_is_absent_with_its_reason_and_never_zero():
    silent = dict.fromkeys(CALM) | {"absent": {"steal_ms": "there is no /proc/stat"}}
    noise = summarize([silent], 1.0, processors=1, threads=1)
    assert noise.level == "quiet"
    shown = noise.to_json()
    assert shown["absent"] == {"steal_ms": "there is no /proc/stat"}
    assert {shown[name] for name in shown if name not in ("level", "reasons", "absent")} == {None}


def test_processes_count_together():
    parts = [{**CALM, "temperature_c": [40.0, 45.0]}, {**CALM, "involuntary_switches": 197}]
    noise = summarize(parts, 2.0, processors=4, threads=1)
    assert noise.switches_per_s == 100.0
    assert noise.temperature_c == (40.0, 51.0)
    assert noise.level == "busy"
