"""Energy of a measurement: RAPL's counters, INA sensors, or the battery, where they can be read.

All of them count the whole package, board or device, whoever uses it; nothing is subtracted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from edgeops.runtime.probe.machine import Machine, Unreadable, number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SAMPLE_S = 0.1
TIMED = "latency"
_MICRO = 1e-6
_MILLI = 1e-3


class Meter(Protocol):
    """Counts joules from ``start`` to ``stop``; ``sample`` is called every ``every_s`` meanwhile.

    All raise Unreadable.
    """

    source: str
    every_s: float

    def start(self) -> None:
        """Begin to count."""

    def sample(self) -> None:
        """Look at the sensor."""

    def stop(self) -> float:
        """Return the joules since ``start``."""


class Rapl:
    """Counters of energy that the processor itself keeps, one a package."""

    every_s = 60.0  # before a counter starts anew, which takes minutes

    def __init__(self, zones: Sequence[Path]) -> None:
        self._zones = zones
        self._ranges = [number(zone / "max_energy_range_uj") for zone in zones]
        self._last: list[int] = []
        self._total = 0
        self.source = "rapl: " + ", ".join(text(zone / "name") for zone in zones)
        self._read()

    def start(self) -> None:
        """Remember the counters."""
        self._last, self._total = self._read(), 0

    def sample(self) -> None:
        """Add what was used since the last look; a counter that reached its end began anew."""
        now = self._read()
        for one, two, span in zip(self._last, now, self._ranges):
            self._total += two - one if two >= one else two - one + span
        self._last = now

    def stop(self) -> float:
        """Return the joules since ``start``."""
        self.sample()
        return self._total * _MICRO

    def _read(self) -> list[int]:
        return [number(zone / "energy_uj") for zone in self._zones]


class Power:
    """A sensor of power that is looked at again and again; between looks it is interpolated."""

    every_s = SAMPLE_S

    def __init__(
        self,
        source: str,
        watts: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self._watts, self._clock = watts, clock
        self._joules = 0.0
        self._last = (clock(), watts())

    def start(self) -> None:
        """Begin with what the sensor shows now."""
        self._joules, self._last = 0.0, (self._clock(), self._watts())

    def sample(self) -> None:
        """Add the area below the line from the last look to this one."""
        now = (self._clock(), self._watts())
        self._joules += (now[0] - self._last[0]) * (now[1] + self._last[1]) / 2
        self._last = now

    def stop(self) -> float:
        """Return the joules since ``start``."""
        self.sample()
        return self._joules


def meter(machine: Machine) -> Meter:
    """Return what counts energy here; raises Unreadable with the reasons of all kinds."""
    reasons = []
    for kind in (_rapl, _ina, _battery):
        try:
            return kind(machine)
        except Unreadable as error:
            reasons.append(str(error))
    raise Unreadable("; ".join(reasons))


def about(machine: Machine) -> dict[str, str]:
    """Return ``{"source": ...}`` or ``{"absent": reason}``."""
    try:
        return {"source": meter(machine).source}
    except Unreadable as error:
        return {"absent": str(error)}


class Account:
    """The energy of the timed loop: counts from its phase on to the next one.

    What cannot be read, or fails meanwhile, leaves the reason.
    """

    def __init__(self, machine: Machine, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._meter: Meter | None = None
        self._next: float | None = None
        self._joules: float | None = None
        self._absent = "no call was timed"
        try:
            self._meter = meter(machine)
        except Unreadable as error:
            self._absent = str(error)

    def phase(self, name: str) -> None:
        """Note that a phase begins: count while it is the timed loop."""
        if self._meter is None:
            return
        try:
            if name == TIMED:
                self._meter.start()
                self._schedule()
            elif self._next is not None:
                self._joules, self._next = self._meter.stop(), None
        except Unreadable as error:
            self._fail(str(error))

    def patience(self) -> float | None:
        """Return in how many seconds the sensor has to be looked at; None when never."""
        return None if self._next is None else self._next - self._clock()

    def look(self) -> None:
        """Look at the sensor when it is time."""
        if self._meter is None or self._next is None or self._clock() < self._next:
            return
        try:
            self._meter.sample()
            self._schedule()
        except Unreadable as error:
            self._fail(str(error))

    def result(self, calls: int) -> dict[str, Any]:
        """Return ``{joules, source, per_call_mj}``, or ``{absent: reason}``."""
        if self._meter is None or self._joules is None or not calls:
            return {"absent": self._absent}
        per_call = self._joules * 1000 / calls
        return {"joules": self._joules, "source": self._meter.source, "per_call_mj": per_call}

    def _schedule(self) -> None:
        assert self._meter is not None  # noqa: S101 - asked by all who call, for mypy
        self._next = self._clock() + self._meter.every_s

    def _fail(self, why: str) -> None:
        self._meter, self._next, self._absent = None, None, why


def _rapl(machine: Machine) -> Meter:
    # intel-rapl:0 is a package, intel-rapl:0:1 a part of it; psys holds the packages too.
    zones = machine.found("class/powercap/intel-rapl:*")
    packages = [z for z in zones if z.name.count(":") == 1 and text(z / "name") != "psys"]
    if not packages:
        raise Unreadable("the processor shows no RAPL counters")
    return Rapl(packages)


def _ina(machine: Machine) -> Meter:
    readers: list[tuple[str, Callable[[], float]]] = []
    for path in machine.found("class/hwmon/hwmon*/name"):
        if text(path).startswith(("ina2", "ina3")):
            readers += _channels(path.parent, text(path))
    if not readers:
        raise Unreadable("there is no INA sensor of power")
    # Where a rail is called the input (VDD_IN, POM_5V_IN), it feeds the others.
    whole = [each for each in readers if each[0].endswith("_IN")]
    chosen = whole or readers
    names = ", ".join(name for name, _ in chosen)
    return Power(f"ina: {names}", lambda: sum(watts() for _, watts in chosen))


def _channels(folder: Path, chip: str) -> list[tuple[str, Callable[[], float]]]:
    found: list[tuple[str, Callable[[], float]]] = []
    for current in sorted(folder.glob("curr*_input")):
        channel = current.name[len("curr") : -len("_input")]
        volts, power = folder / f"in{channel}_input", folder / f"power{channel}_input"
        label = folder / f"in{channel}_label"
        name = text(label) if label.exists() else f"{chip} {channel}"
        if power.exists():
            found.append((name, lambda power=power: number(power) * _MICRO))  # type: ignore[misc] # bound per channel
        elif volts.exists():
            found.append(
                (name, lambda a=current, v=volts: number(a) * _MILLI * number(v) * _MILLI)  # type: ignore[misc] # as above
            )
    return found


def _battery(machine: Machine) -> Meter:
    reason = "there is no battery"
    for path in machine.found("class/power_supply/*/type"):
        if text(path) != "Battery":
            continue
        folder = path.parent
        status = text(folder / "status") if (folder / "status").exists() else ""
        if status and status != "Discharging":
            reason = f"the battery does not feed the device: it is {status.lower()}"
            continue
        return Power(f"battery: {folder.name}", lambda folder=folder: _battery_watts(folder))  # type: ignore[misc] # bound per battery
    raise Unreadable(reason)


def _battery_watts(folder: Path) -> float:
    # Some drivers give what flows out with a minus.
    if (folder / "power_now").exists():
        return abs(number(folder / "power_now")) * _MICRO
    return abs(number(folder / "current_now")) * _MICRO * number(folder / "voltage_now") * _MICRO
