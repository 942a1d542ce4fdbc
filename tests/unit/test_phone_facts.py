"""What a phone's shell says of it, and what a tool's words become as an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.errors import ExitCode
from edgeops.validate.devices.phone import answer as phone_answer
from edgeops.validate.devices.phone.facts import about
from edgeops.validate.devices.phone.machine_code import built_for, misfit
from edgeops.validate.devices.phone.tools import Timed

GOLDEN = Path(__file__).parent.parent / "golden" / "binaries" / "phone-facts.txt"
NAMES = (
    "processor",
    "memory_mb",
    "governor",
    "frequency_mhz",
    "temperature_c",
    "battery",
    "disk_free_mb",
)


def test_a_phone():
    found = about(GOLDEN.read_text())
    assert found["machine"] == "aarch64"
    assert found["system"] == "Android 14 (Linux 5.10.157-android13-4-00001-g5c7ff5dc7aac)"
    assert found["model"] == "Google Pixel 8"
    assert found["abis"] == ["arm64-v8a"]
    assert found["processor"] == "Tensor G3"
    assert (found["cores"], found["memory_mb"], found["disk_free_mb"]) == (2, 7915, 104278)
    assert (found["governor"], found["frequency_mhz"]) == ("sched_pixel", 2914.0)
    assert found["temperature_c"] == 41.0
    assert found["battery"] == {"percent": 83, "status": "charging"}
    assert found["energy"] == {
        "absent": "/sys/class/power_supply/battery/current_now is not there, "
        "or the shell may not read it"
    }
    assert set(found["absent"]) == {"python", "numpy", "engines"}
    json.dumps(found)


def readable(text):
    return text.replace(
        "=unread /sys/class/power_supply/battery/current_now",
        "=file /sys/class/power_supply/battery/current_now\n-350000",
    )


def test_energy_is_known_only_while_the_battery_is_drained():
    text = readable(GOLDEN.read_text())
    assert about(text)["energy"] == {
        "absent": "the battery is charging: what is drawn from it is not what is used"
    }
    drained = about(text.replace("Charging\n", "Discharging\n"))["energy"]
    assert drained["source"] == "battery: current times voltage of the whole device"
    assert drained["folder"] == "/sys/class/power_supply/battery"


def test_a_phone_whose_shell_may_read_nothing_asks_the_battery_service():
    lines = [line for line in GOLDEN.read_text().splitlines() if "/sys/" not in line]
    found = about("\n".join(lines).replace("=battery /sys/class/power_supply/battery", ""))
    assert found["battery"] == {"percent": 83, "status": "charging"}
    assert found["governor"] is None
    assert found["temperature_c"] is None
    assert found["absent"]["temperature_c"] == "there is no thermal zone that the shell may read"


def test_old_kernels_tell_whole_degrees():
    text = (
        "=file /sys/class/thermal/thermal_zone0/type\ncpu\n"
        "=file /sys/class/thermal/thermal_zone0/temp\n37\n"
    )
    assert about(text)["temperature_c"] == 37.0


lines = st.one_of(
    st.text(max_size=30),
    st.sampled_from(GOLDEN.read_text().splitlines()),
    st.sampled_from(["=free", "=free x", "=prop", "=prop a", "=uname", "=file", "=battery", "-1"]),
)


@given(st.lists(lines, max_size=60).map("\n".join))
def test_no_words_of_a_device_break_it_and_every_gap_has_a_reason(text):
    found = about(text)
    for name in NAMES:
        assert found[name] is not None or found["absent"][name]
    assert found["energy"].get("source") or found["energy"]["absent"]
    json.dumps(found)


TIMED = Timed(calls=50, mean_ms=4.0, p50_ms=3.5, absent={"p90_ms": "why", "latency_ns": "why"})


def test_an_answer_says_what_the_tool_said_and_why_there_is_no_more():
    answer = phone_answer.answer("benchmark_model", TIMED, 12_000_000)
    assert answer["latency"]["p50_ms"] == 3.5
    assert answer["latency"]["p90_ms"] is None
    assert answer["absent"]["p90_ms"] == "why"
    assert (answer["calls"], answer["latency_ns"]) == (50, [])
    assert answer["peak_rss_bytes"] == 12_000_000
    assert answer["absent"]["cpu_ms_per_call"] == "benchmark_model does not tell it"
    json.dumps(answer)


def test_what_the_tool_says_of_its_memory_goes_before_looks_from_outside():
    timed = Timed(mean_ms=1.0, peak_bytes=7, absent={"latency_ns": "why"})
    answer = phone_answer.answer("onnxruntime_perf_test", timed, 5)
    assert (answer["peak_rss_bytes"], answer["peak_rss_source"]) == (
        7,
        "as onnxruntime_perf_test says",
    )
    silent = Timed(mean_ms=1.0, absent={"latency_ns": "why"})
    assert phone_answer.answer("x", silent, None)["absent"]["peak_rss_bytes"]


def test_energy_of_a_call_is_mean_power_times_mean_time():
    looks = [(-500_000, 4_000_000), (-700_000, 4_000_000)]
    found = phone_answer.energy({"source": "battery"}, looks, TIMED)
    # 2.4 W for 4 ms.
    assert found["per_call_mj"] == pytest.approx(9.6)
    assert found["joules"] == pytest.approx(0.48)


@pytest.mark.parametrize(
    ("known", "looks"),
    [({"absent": "no battery"}, [(1, 1)]), ({"source": "b"}, []), ({"source": "b"}, [(0, 5)])],
)
def test_energy_that_is_not_known_is_absent_with_its_reason(known, looks):
    assert phone_answer.energy(known, looks, TIMED)["absent"]


def test_noise_is_what_the_device_was_before_and_after():
    before = {"temperature_c": 40.0, "frequency_mhz": 2900.0, "absent": {}}
    after = {"temperature_c": 44.0, "frequency_mhz": 1700.0, "absent": {}}
    found = phone_answer.noise(before, after)
    assert found["temperature_c"] == [40.0, 44.0]
    assert found["frequency_mhz"] == [1700.0, 2900.0]
    assert found["steal_ms"] is None
    assert found["absent"]["steal_ms"]
    cold = phone_answer.noise({**before, "temperature_c": None}, after)
    assert cold["temperature_c"] is None
    assert cold["absent"]["temperature_c"]


def elf(path, machine, order="little"):
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02" + (b"\x01" if order == "little" else b"\x02")
    head[18:20] = machine.to_bytes(2, order)
    path.write_bytes(head)
    return path


@pytest.mark.parametrize(
    ("machine", "known", "fits"),
    [
        (0xB7, {"abis": ["arm64-v8a"], "machine": "aarch64"}, True),
        (0xB7, {"abis": [], "machine": "aarch64"}, True),
        (0x28, {"abis": [], "machine": "aarch64"}, True),
        (0x28, {"abis": ["arm64-v8a"], "machine": "aarch64"}, False),
        (0x3E, {"abis": ["arm64-v8a"], "machine": "aarch64"}, False),
        (0x03, {"abis": [], "machine": "x86_64"}, True),
        (0xB7, {"abis": [], "machine": "a machine of tomorrow"}, True),
    ],
)
def test_a_program_runs_on_the_processors_it_is_built_for(tmp_path, machine, known, fits):
    error = misfit(elf(tmp_path / "tool", machine), known)
    assert (error is None) == fits
    if error is not None:
        assert (error.code, error.exit_code) == ("binary-architecture", ExitCode.MISSING)


def test_a_script_is_built_for_no_processor(tmp_path):
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    assert built_for(tmp_path / "tool") == ""
    assert built_for(elf(tmp_path / "big", 0x2B, "big")) == "machine 0x2b"
