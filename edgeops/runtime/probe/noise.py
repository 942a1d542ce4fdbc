"""Who disturbed a measurement: counters of the system, read before and after the timed loop."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.runtime.probe.machine import Machine, Unreadable, number, numbers, processors, text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Fields of /proc/stat after the processor's name (Linux, proc_stat(5)); guest time is in user.
_BUSY = slice(0, 3)
_IRQS = slice(5, 7)
_STEAL = 7
# Kinds of thermal zone and names of hwmon sensors that sit on the processor.
_ON_CHIP = ("x86_pkg", "cpu", "soc", "coretemp", "k10temp", "zenpower")
_THROTTLES = "devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"
_RASPBERRY = "devices/platform/soc/soc:firmware/get_throttled"
_RASPBERRY_NOW = 0xF  # under-voltage, capped, throttled, soft limit; the upper bits are history


@dataclass
class Reading:
    """The counters at one time; what cannot be read is in ``absent`` with its reason."""

    values: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def read(machine: Machine) -> Reading:
    """Return all counters as they are now; takes well under a millisecond for each processor."""
    reading = Reading()
    used = resource.getrusage(resource.RUSAGE_SELF)
    reading.values = {
        "own_ms": time.process_time_ns() / 1e6,
        "involuntary_switches": used.ru_nivcsw,
        "voluntary_switches": used.ru_nvcsw,
    }
    cpus = processors()
    sources: dict[str, Callable[[], Any]] = {
        "cpu": lambda: _cpu_ms(machine, cpus),
        "frequency_mhz": lambda: frequencies(machine, cpus),
        "temperature_c": lambda: temperature(machine),
        "throttled": lambda: _throttles(machine),
    }
    for name, source in sources.items():
        try:
            reading.values[name] = source()
        except Unreadable as error:
            reading.absent[name] = str(error)
    return reading


def between(before: Reading, after: Reading) -> dict[str, Any]:
    """Return what happened between two readings, None with the reason in ``absent``.

    ``other_cpu_ms`` is processor time that other processes used on the processors that this one
    may run on. It and ``steal_ms`` are counted by the kernel in ticks, mostly of 10 ms.
    """
    one, two = before.values, after.values
    absent = {**before.absent, **after.absent}
    if "cpu" in absent:
        absent["steal_ms"] = absent["other_cpu_ms"] = absent.pop("cpu")
    found: dict[str, Any] = {
        name: two[name] - one[name] for name in ("involuntary_switches", "voluntary_switches")
    }
    found.update(dict.fromkeys(("steal_ms", "other_cpu_ms")))
    if "steal_ms" not in absent:
        busy, steal = (two["cpu"][index] - one["cpu"][index] for index in (0, 1))
        found["steal_ms"] = max(0.0, steal)
        found["other_cpu_ms"] = max(0.0, busy - (two["own_ms"] - one["own_ms"]))
    for name in ("frequency_mhz", "temperature_c", "throttled"):
        found[name] = None
    if "frequency_mhz" not in absent:
        seen = [*one["frequency_mhz"], *two["frequency_mhz"]]
        found["frequency_mhz"] = [min(seen), max(seen)]
    if "temperature_c" not in absent:
        found["temperature_c"] = [one["temperature_c"], two["temperature_c"]]
    if "throttled" not in absent:
        now, count = two["throttled"]
        found["throttled"] = now or count > one["throttled"][1]
    return {**found, "absent": absent}


def frequencies(machine: Machine, cpus: list[int]) -> list[float]:
    """Return the clock of each processor in MHz; raises Unreadable."""
    root = machine.sys / "devices/system/cpu"
    found = numbers(root / f"cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in cpus)
    return [value / 1000 for value in found]


def temperature(machine: Machine) -> float:
    """Return the temperature of the processor in degrees Celsius; raises Unreadable.

    The hottest of the zones on the chip, or of all where none says that it is one.
    """
    sensors = [
        (path / "type", path / "temp") for path in machine.found("class/thermal/thermal_zone*")
    ]
    sensors += [
        (path.parent / "name", path) for path in machine.found("class/hwmon/hwmon*/temp1_input")
    ]
    if not sensors:
        raise Unreadable(f"{machine.sys} has no thermal zone")
    on_chip = [temp for kind, temp in sensors if _kind(kind).startswith(_ON_CHIP)]
    return max(numbers(on_chip or [temp for _, temp in sensors])) / 1000


def _kind(path: Path) -> str:
    try:
        return text(path).lower()
    except Unreadable:
        return ""


def _cpu_ms(machine: Machine, cpus: list[int]) -> tuple[float, float]:
    """Return the busy and the stolen time of the processors in ms since the system began."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    busy = steal = 0
    found = 0
    for line in text(machine.proc / "stat").splitlines():
        name, *values = line.split()
        if name in wanted and len(values) > _STEAL:
            ticks = [int(value) for value in values]
            busy += sum(ticks[_BUSY]) + sum(ticks[_IRQS])
            steal += ticks[_STEAL]
            found += 1
    if not found:
        raise Unreadable(f"{machine.proc}/stat does not list the processors")
    tick = 1000 / os.sysconf("SC_CLK_TCK")
    return busy * tick, steal * tick


def _throttles(machine: Machine) -> tuple[bool, int]:
    """Return whether the processor is slowed down now, and how often it was since the start."""
    raspberry = machine.sys / _RASPBERRY
    if raspberry.exists():
        return bool(int(text(raspberry), 16) & _RASPBERRY_NOW), 0
    counts = machine.found(_THROTTLES)
    coolers = [
        path / "cur_state"
        for path in machine.found("class/thermal/cooling_device*")
        if "cpu" in _kind(path / "type") or _kind(path / "type") == "processor"
    ]
    if not counts and not coolers:
        raise Unreadable(f"{machine.sys} has no count of throttling and no cooling device")
    now = any(number(path) > 0 for path in coolers)
    return now, sum(map(number, counts))
