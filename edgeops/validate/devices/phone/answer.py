"""What a benchmark tool told as the answer of the measuring program: pure values in, values out."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.validate.devices.phone.tools import Timed

_QUANTILES = ("p50_ms", "p90_ms", "p99_ms", "mean_ms", "min_ms", "max_ms")
_MICRO = 1e-6
_POLLED = "VmHWM of the tool's process, looked at every 0.2 s"
_UNTOLD = ("import_ms", "cpu_ms_per_call", "interruptions")


def answer(tool: str, timed: Timed, peak: int | None) -> dict[str, Any]:
    """Return the parts of an answer that come from the timed calls.

    ``latency`` are the statistics as the tool told them, in ms; ``latency_ns`` is empty unless it
    told single calls. None is what is not known, with the reason in ``absent``.
    """
    absent = dict.fromkeys(_UNTOLD, f"{tool} does not tell it")
    absent |= {name: why for name, why in timed.absent.items() if name != "peak_bytes"}
    found: dict[str, Any] = {
        "load_ms": timed.load_ms,
        "first_call_ms": timed.first_call_ms,
        "latency_ns": list(timed.latency_ns),
        "calls": timed.calls,
        "latency": {name: getattr(timed, name) for name in _QUANTILES},
        "warm_up": {"calls": None, "stationary": None},
        **dict.fromkeys(_UNTOLD),
    }
    most = timed.peak_bytes or peak
    found["peak_rss_bytes"] = most
    found["peak_rss_source"] = f"as {tool} says" if timed.peak_bytes else _POLLED
    found["memory"] = {"run": most} if most else {}
    if most is None:
        absent["peak_rss_bytes"] = "the tool ended before its memory was looked at"
    return {**found, "absent": absent}


def energy(
    about: Mapping[str, str], looks: Sequence[tuple[int, int]], timed: Timed
) -> dict[str, Any]:
    """Return the energy of the timed calls from looks at the battery, or why there is none.

    ``looks`` are pairs of current (microamperes) and voltage (microvolts); their mean power is
    taken for the power while the calls were timed.
    """
    if "source" not in about:
        return {"absent": about["absent"]}
    mean = timed.mean_ms or timed.p50_ms
    if not looks or mean is None:
        return {"absent": "the battery was not looked at while the tool ran"}
    watts = fmean(abs(current) * _MICRO * voltage * _MICRO for current, voltage in looks)
    per_call = watts * mean
    if not per_call > 0:
        return {"absent": "the battery shows no current"}
    joules = None if timed.calls is None else per_call * timed.calls / 1000
    return {"joules": joules, "source": about["source"], "per_call_mj": per_call}


def noise(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the noise is known from what the device was before and after."""
    names = ("steal_ms", "involuntary_switches", "voluntary_switches", "other_cpu_ms", "throttled")
    absent = dict.fromkeys(names, "a benchmark tool does not count it")
    found: dict[str, Any] = dict.fromkeys(names)
    for name, pair in (("temperature_c", list), ("frequency_mhz", sorted)):
        values = [about.get(name) for about in (before, after)]
        known = all(value is not None for value in values)
        found[name] = pair(values) if known else None
        if not known:
            reasons = [about.get("absent", {}).get(name, "") for about in (before, after)]
            absent[name] = next(filter(None, reasons), "the device does not say it")
    return {**found, "absent": absent}
