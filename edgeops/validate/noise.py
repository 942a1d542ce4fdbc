"""From the counters of a measurement to who disturbed it: a neighbour, the host, or heat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUIET, BUSY, THROTTLED = "quiet", "busy", "throttled"
# Shares of the time that was measured, from which on they are no longer put down to chance.
STEAL = 0.01
COMPETING = 0.05
# A processor that is shared changes hands hundreds of times a second, a free one a few times.
SWITCHES_PER_S = 50
# The clocks differed by more than this while calls were timed.
CLOCK = 0.10
HOT_C = 85.0


@dataclass(frozen=True)
class Noise:
    """How quiet it was: ``level`` is quiet, busy or throttled, ``reasons`` say why.

    Shares are of the time that calls were timed; None where the system does not tell.
    """

    level: str
    reasons: tuple[str, ...]
    steal_share: float | None
    other_share: float | None
    switches_per_s: float | None
    frequency_mhz: tuple[float, float] | None
    temperature_c: tuple[float, float] | None
    throttled: bool | None
    absent: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON; what is absent stands in ``absent`` with its reason."""
        return {
            "level": self.level,
            "reasons": list(self.reasons),
            "steal_share": self.steal_share,
            "other_cpu_share": self.other_share,
            "involuntary_switches_per_s": self.switches_per_s,
            "frequency_mhz": list(self.frequency_mhz) if self.frequency_mhz else None,
            "temperature_c": list(self.temperature_c) if self.temperature_c else None,
            "throttled": self.throttled,
            "absent": dict(self.absent),
        }


def summarize(
    counters: Sequence[Mapping[str, Any]], seconds: float, *, processors: int, threads: int
) -> Noise:
    """Return the noise of some loops that took ``seconds`` together.

    ``counters`` are the probe's ``noise`` of each; ``processors`` is how many it might run on. A
    neighbour competes when others used more than the processors that ``threads`` left free.
    """
    wall_ms = max(seconds * 1000, 1e-9)
    steal = _total(counters, "steal_ms")
    other = _total(counters, "other_cpu_ms")
    switches = _total(counters, "involuntary_switches")
    throttled = [each["throttled"] for each in counters if each.get("throttled") is not None]
    frequency = _span([each.get("frequency_mhz") for each in counters])
    temperature = _span([each.get("temperature_c") for each in counters])
    absent: dict[str, str] = {}
    for each in counters:
        absent.update(each.get("absent") or {})
    found = Noise(
        QUIET,
        (),
        _share(steal, wall_ms * processors),
        _share(other, wall_ms * processors),
        None if switches is None else switches / (wall_ms / 1000),
        frequency,
        temperature,
        any(throttled) if throttled else None,
        absent,
    )
    hot, busy = _heat(found), _neighbours(found, other, wall_ms, processors, threads)
    level = THROTTLED if found.throttled else BUSY if busy else QUIET
    return Noise(**{**vars(found), "level": level, "reasons": (*hot, *busy)})


def notes(noise: Noise) -> tuple[str, ...]:
    """Return what a person should know about figures that were measured under this noise."""
    if noise.level == THROTTLED:
        slowed = f"the processor was slowed down while it was measured: {'; '.join(noise.reasons)}"
        return (f"{slowed}; let it cool down, or take the figures as those of a hot device",)
    if noise.level == BUSY:
        return (f"the machine was busy: {'; '.join(noise.reasons)}",)
    return tuple(noise.reasons)


def _heat(noise: Noise) -> list[str]:
    reasons = []
    if noise.throttled:
        reasons.append("it throttles itself")
    if noise.temperature_c and noise.temperature_c[1] >= HOT_C:
        reasons.append(f"it reached {noise.temperature_c[1]:.0f} degrees Celsius")
    if noise.throttled and noise.frequency_mhz:
        reasons.append("its clock was {:.0f} to {:.0f} MHz".format(*noise.frequency_mhz))
    return reasons


def _neighbours(
    noise: Noise, other_ms: float | None, wall_ms: float, processors: int, threads: int
) -> list[str]:
    reasons = []
    if noise.steal_share is not None and noise.steal_share > STEAL:
        reasons.append(f"the host took {noise.steal_share:.0%} of its processors away")
    if other_ms is not None:
        beyond = other_ms / wall_ms - max(0, processors - threads)
        if beyond > COMPETING:
            reasons.append(f"other programs used {beyond:.0%} of a processor that was measured on")
    if noise.switches_per_s is not None and noise.switches_per_s > SWITCHES_PER_S:
        reasons.append(f"calls were interrupted {noise.switches_per_s:.0f} times a second")
    clock = noise.frequency_mhz
    # Of several processors those that are idle may be slow.
    alone = processors == 1 and not noise.throttled
    if clock and alone and clock[0] < (1 - CLOCK) * clock[1]:
        reasons.append(f"the clock was between {clock[0]:.0f} and {clock[1]:.0f} MHz")
    return reasons


def _total(counters: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [each[name] for each in counters if each.get(name) is not None]
    return float(sum(values)) if values else None


def _share(value: float | None, of: float) -> float | None:
    return None if value is None else max(0.0, value / of)


def _span(pairs: Sequence[Sequence[float] | None]) -> tuple[float, float] | None:
    values = [value for pair in pairs if pair for value in pair]
    return (min(values), max(values)) if values else None
