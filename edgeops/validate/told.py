"""Figures from what a benchmark tool told of its calls, where no program of ours timed them.

Statistics cannot be taken apart: the value is the median of what fresh processes told, and the
interval goes from the least to the largest of them. What no tool told is absent, with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.core.gates import Figure
from edgeops.validate.latency import MEAN, QUANTILES, latency_figures, spread_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Answers = Sequence[Mapping[str, Any]]

_MEGA = 1_000_000
_STATISTICS = {
    "latency_p50_ms": "p50_ms",
    "latency_p90_ms": "p90_ms",
    "latency_p99_ms": "p99_ms",
    MEAN: "mean_ms",
}
# A single process says nothing about how another would have come out.
_LEAST_PROCESSES = 2


def is_told(answers: Answers) -> bool:
    """Return whether a benchmark tool answered in place of the measuring program."""
    return bool(answers and answers[0].get("tool"))


def cost_figures(answers: Answers) -> dict[str, Figure]:
    """Return latency, load time, first call, processor time and peak memory as a tool told them."""
    tool = str(answers[0]["tool"])
    return {
        **_latency(answers, tool),
        "load_ms": _figure(answers, "load_ms", "ms", f"loading the model, as {tool} tells it"),
        "first_call_ms": _figure(
            answers, "first_call_ms", "ms", f"the first call, as {tool} tells it"
        ),
        "cpu_ms": _figure(answers, "cpu_ms_per_call", "ms", "processor time of a call"),
        "peak_rss_mb": _figure(
            answers,
            "peak_rss_bytes",
            "MB",
            f"peak of resident memory of {tool} with the model "
            f"({answers[0].get('peak_rss_source')}); MB = 10^6 bytes",
            _MEGA,
        ),
    }


def _latency(answers: Answers, tool: str) -> dict[str, Figure]:
    runs = [answer.get("latency_ns") or [] for answer in answers]
    if all(len(run) for run in runs):
        return latency_figures(runs)
    calls = sum(int(answer.get("calls") or 0) for answer in answers)
    found = {}
    for name in (*QUANTILES, MEAN):
        told = _STATISTICS[name]
        flat = [{**answer, told: (answer.get("latency") or {}).get(told)} for answer in answers]
        about = f"{calls or 'its'} calls after warm-up, as {tool} tells it for each process"
        found[name] = _figure(flat, told, "ms", about)
    return found


def _figure(answers: Answers, name: str, unit: str, method: str, divisor: float = 1.0) -> Figure:
    values = [answer[name] / divisor for answer in answers if answer.get(name) is not None]
    if len(values) == len(answers) >= _LEAST_PROCESSES:
        return spread_figure(values, unit, method)
    if values and len(values) == len(answers):
        about = f"{method}; one process, so that how it varies is not known"
        return Figure(values[0], None, unit, about, 1, noisy=True)
    reasons = [str((answer.get("absent") or {}).get(name) or "") for answer in answers]
    why = next(filter(None, reasons), "the benchmark tool does not tell it")
    return Figure(None, unit=unit, noisy=True, absent=why)
