"""Energy, noise and facts of a machine, read from trees that look like the kernel's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.runtime.probe import about, deaths, energy, noise
from edgeops.runtime.probe.machine import Machine, Unreadable
from tests.helpers import build_tree


def stat(cpus):
    """Return /proc/stat of processors, each (user, steal) in ticks."""
    lines = ["cpu  0 0 0 0 0 0 0 0 0 0"]
    lines += [f"cpu{i} {user} 5 10 500 3 1 2 {steal} 0 0" for i, (user, steal) in enumerate(cpus)]
    return "\n".join([*lines, "intr 1", ""])


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "sys", tmp_path / "proc")


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(noise, "processors", lambda: [0, 1])
    monkeypatch.setattr(about, "processors", lambda: [0, 1])


def sys(machine, files):
    return build_tree(machine.sys, {name: f"{value}\n" for name, value in files.items()})


def counted(machine, before, after, *, own_ms):
    """Return the noise between two states of /proc/stat, this process having used ``own_ms``."""
    build_tree(machine.proc, {"stat": stat(before)})
    one = noise.read(machine)
    build_tree(machine.proc, {"stat": stat(after)})
    two = noise.read(machine)
    two.values["own_ms"] = one.values["own_ms"] + own_ms
    return noise.between(one, two)


TICK = 1000 / os.sysconf("SC_CLK_TCK")


def test_time_that_others_used_is_what_is_busy_without_our_own(machine):
    found = counted(machine, [(100, 7), (200, 0)], [(150, 9), (260, 1)], own_ms=30 * TICK)
    assert found["steal_ms"] == pytest.approx(3 * TICK)
    assert found["other_cpu_ms"] == pytest.approx((110 - 30) * TICK)


def test_time_of_others_is_never_less_than_none(machine):
    found = counted(machine, [(100, 7), (200, 0)], [(101, 7), (200, 0)], own_ms=5 * TICK)
    assert (found["other_cpu_ms"], found["steal_ms"]) == (0.0, 0.0)


def test_only_processors_that_we_may_run_on_count(machine, monkeypatch):
    monkeypatch.setattr(noise, "processors", lambda: [1])
    found = counted(machine, [(100, 0), (200, 0)], [(900, 50), (200, 0)], own_ms=0)
    assert (found["other_cpu_ms"], found["steal_ms"]) == (0.0, 0.0)


def test_what_cannot_be_read_is_absent_with_its_reason(machine):
    one = noise.read(machine)
    found = noise.between(one, noise.read(machine))
    for name in ("steal_ms", "other_cpu_ms", "frequency_mhz", "temperature_c", "throttled"):
        assert found[name] is None
        assert str(machine.sys.parent) in found["absent"][name]
    assert found["involuntary_switches"] >= 0
    assert "cpu" not in found["absent"]


def test_clock_is_the_span_over_processors_before_and_after(machine):
    path = "devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    sys(machine, {path.format(0): 1_500_000, path.format(1): 1_400_000})
    one = noise.read(machine)
    sys(machine, {path.format(0): 600_000})
    assert noise.between(one, noise.read(machine))["frequency_mhz"] == [600, 1500]


def test_temperature_is_the_hottest_zone_on_the_chip(machine):
    sys(
        machine,
        {
            "class/thermal/thermal_zone0/type": "battery",
            "class/thermal/thermal_zone0/temp": 90_000,
            "class/thermal/thermal_zone1/type": "cpu-thermal",
            "class/thermal/thermal_zone1/temp": 51_250,
            "class/thermal/thermal_zone2/type": "CPU1",
            "class/thermal/thermal_zone2/temp": 48_000,
        },
    )
    assert noise.temperature(machine) == 51.25


def test_temperature_of_unnamed_zones_and_of_hwmon(machine):
    sys(machine, {"class/hwmon/hwmon0/name": "acpitz", "class/hwmon/hwmon0/temp1_input": 40_000})
    assert noise.temperature(machine) == 40
    sys(machine, {"class/hwmon/hwmon1/name": "k10temp", "class/hwmon/hwmon1/temp1_input": 35_000})
    assert noise.temperature(machine) == 35


def test_throttling_is_seen_by_its_counter(machine):
    path = "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    sys(machine, {path: 4})
    one = noise.read(machine)
    assert noise.between(one, noise.read(machine))["throttled"] is False
    sys(machine, {path: 5})
    assert noise.between(one, noise.read(machine))["throttled"] is True


def test_throttling_is_seen_by_a_cooling_device(machine):
    sys(
        machine,
        {
            "class/thermal/cooling_device0/type": "thermal-cpufreq-0",
            "class/thermal/cooling_device0/cur_state": 2,
            "class/thermal/cooling_device1/type": "fan",
            "class/thermal/cooling_device1/cur_state": 3,
        },
    )
    one = noise.read(machine)
    assert noise.between(one, noise.read(machine))["throttled"] is True


@pytest.mark.parametrize(("bits", "throttled"), [("50005", True), ("50000", False)])
def test_raspberry_says_what_is_now_and_what_was(machine, bits, throttled):
    sys(machine, {"devices/platform/soc/soc:firmware/get_throttled": bits})
    one = noise.read(machine)
    assert noise.between(one, noise.read(machine))["throttled"] is throttled


def rapl(machine, **zones):
    for index, (name, value) in enumerate(zones.items()):
        folder = f"class/powercap/intel-rapl:{index}"
        sys(
            machine,
            {
                f"{folder}/name": name.replace("_", "-"),
                f"{folder}/energy_uj": value,
                f"{folder}/max_energy_range_uj": 1000,
            },
        )


def test_rapl_adds_the_packages_and_not_what_is_in_them(machine):
    rapl(machine, package_0=100, package_1=10, psys=5)
    sys(machine, {"class/powercap/intel-rapl:0:0/name": "core"})
    meter = energy.meter(machine)
    assert meter.source == "rapl: package-0, package-1"
    meter.start()
    rapl(machine, package_0=300, package_1=20, psys=900)
    assert meter.stop() == pytest.approx(210e-6)


@given(steps=st.lists(st.integers(0, 999), min_size=1, max_size=20), first=st.integers(0, 999))
def test_rapl_counters_that_begin_anew_lose_nothing(tmp_path_factory, steps, first):
    machine = Machine(tmp_path_factory.mktemp("sys"), Path("/nowhere"))
    rapl(machine, package_0=first)
    meter = energy.meter(machine)
    meter.start()
    total = first
    for step in steps:
        total += step
        (machine.sys / "class/powercap/intel-rapl:0/energy_uj").write_text(str(total % 1000))
        meter.sample()
    assert meter.stop() == pytest.approx((total - first) * 1e-6)


def test_sensors_of_power_are_summed_over_time(machine):
    folder = "class/hwmon/hwmon3"
    sys(
        machine,
        {
            f"{folder}/name": "ina3221",
            f"{folder}/in1_label": "VDD_GPU",
            f"{folder}/in1_input": 5000,
            f"{folder}/curr1_input": 400,
            f"{folder}/in2_label": "VDD_CPU",
            f"{folder}/in2_input": 5000,
            f"{folder}/curr2_input": 200,
            "class/hwmon/hwmon4/name": "coretemp",
        },
    )
    times = iter([0.0, 10.0, 11.0, 13.0])
    meter = energy._ina(machine)
    assert meter.source == "ina: VDD_GPU, VDD_CPU"
    meter = energy.Power("ina", meter._watts, lambda: next(times))
    meter.start()
    meter.sample()
    sys(machine, {f"{folder}/curr1_input": 800})
    assert meter.stop() == pytest.approx(3 * 1 + (3 + 5) / 2 * 2)


def test_sensor_of_the_whole_input_counts_alone(machine):
    sys(
        machine,
        {
            "class/hwmon/hwmon0/name": "ina3221",
            "class/hwmon/hwmon0/in1_label": "VDD_IN",
            "class/hwmon/hwmon0/in1_input": 5000,
            "class/hwmon/hwmon0/curr1_input": 1000,
            "class/hwmon/hwmon1/name": "ina226",
            "class/hwmon/hwmon1/curr1_input": 700,
            "class/hwmon/hwmon1/power1_input": 3_000_000,
        },
    )
    meter = energy.meter(machine)
    assert meter.source == "ina: VDD_IN"
    assert meter._watts() == pytest.approx(5)


def battery(machine, status, **files):
    folder = "class/power_supply/battery"
    named = {f"{folder}/{name}": value for name, value in files.items()}
    sys(machine, {f"{folder}/type": "Battery", f"{folder}/status": status, **named})


def test_battery_counts_while_it_feeds_the_device(machine):
    battery(machine, "Discharging", current_now=-500_000, voltage_now=4_000_000)
    meter = energy.meter(machine)
    assert meter.source == "battery: battery"
    assert meter._watts() == pytest.approx(2)


def test_battery_that_is_charged_says_nothing_about_the_model(machine):
    battery(machine, "Charging", current_now=500_000, voltage_now=4_000_000)
    assert "it is charging" in energy.about(machine)["absent"]


def test_energy_that_only_root_may_read_says_so(machine, monkeypatch):
    rapl(machine, package_0=100)
    path = machine.sys / "class/powercap/intel-rapl:0/energy_uj"
    read = Path.read_text

    def refuse(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return read(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert "energy_uj may be read by root only" in energy.about(machine)["absent"]


def test_account_counts_the_timed_loop_alone(machine):
    rapl(machine, package_0=100)
    account = energy.Account(machine)
    assert account.patience() is None
    account.phase("load")
    rapl(machine, package_0=200)
    account.phase("latency")
    assert account.patience() > 0
    rapl(machine, package_0=260)
    account.phase("timed")
    rapl(machine, package_0=900)
    account.phase("evaluate")
    assert account.result(3) == {
        "joules": pytest.approx(60e-6),
        "source": "rapl: package-0",
        "per_call_mj": pytest.approx(0.02),
    }


def test_account_without_a_loop_or_a_sensor_says_why(machine):
    assert "no RAPL counters" in energy.Account(machine).result(3)["absent"]
    rapl(machine, package_0=100)
    account = energy.Account(machine)
    assert account.result(0) == {"absent": "no call was timed"}
    account.phase("latency")
    (machine.sys / "class/powercap/intel-rapl:0/energy_uj").unlink()
    account.phase("timed")
    assert "there is no" in account.result(3)["absent"]


def test_facts_of_a_board_without_a_model_name(machine):
    build_tree(
        machine.proc,
        {"cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n"},
    )
    assert about._processor(machine) == "implementer 0x41 part 0xd08"
    sys(machine, {"firmware/devicetree/base/model": "Raspberry Pi 4 Model B\0"})
    assert about._processor(machine) == "Raspberry Pi 4 Model B"


def test_battery_of_a_device(machine):
    battery(machine, "Full", capacity=100)
    assert about._battery(machine) == {"percent": 100, "status": "full"}


def test_number_that_is_none_says_what_is_there(machine):
    sys(machine, {"class/thermal/thermal_zone0/temp": "hot"})
    with pytest.raises(Unreadable, match="holds no number: 'hot'"):
        noise.temperature(machine)


def test_kill_for_lack_of_memory_is_told_where_the_kernel_counted_it(tmp_path, monkeypatch):
    build_tree(tmp_path, {"meminfo": "MemAvailable:  900 kB\n", "vmstat": "oom_kill 3\n"})
    before = deaths.memory(tmp_path)
    after = deaths.Memory(before.available, 4)
    monkeypatch.setattr(deaths, "memory", lambda: after)
    error = deaths.died(-9, "run", "", before, 5_000_000)
    assert "it held up to 5 MB, 0 MB were available when it began" in error.why
    assert "the kernel counts a kill for lack of memory meanwhile" in error.why


def test_failure_is_told_by_the_last_line_of_a_traceback():
    words = "loading\nTraceback (most recent call last):\n  File x\nKeyError: 'few'\n"
    assert deaths.died(1, "start", deaths.last(words), deaths.memory(), 0).why == "KeyError: 'few'"
