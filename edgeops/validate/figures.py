"""From what was measured to figures with their method, and to notes for a person."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import Figure
from edgeops.validate import told
from edgeops.validate.latency import (
    drift_figure,
    latency_figures,
    quantile_curve,
    ratio_figure,
    sketch,
    spread_figure,
)
from edgeops.validate.noise import summarize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.validate.measured import Measured
    from edgeops.validate.noise import Noise

LATENCY = ("latency_p50_ms", "latency_p90_ms", "latency_p99_ms", "latency_mean_ms")
RATIO = "latency_vs_fp32"
AGREEMENT = "agreement"
DRIFT = "latency_drift"
_MEGA = 1_000_000
# Calls of a warm-up from which on times that did not settle are worth a word: slow models have few.
_TRIED = 40


def names(metric: str, *, source: bool = True, fp32: bool = True) -> tuple[str, ...]:
    """Return the names of all figures that validate may measure.

    ``source`` says whether there is a source model to compare with, ``fp32`` whether there is an
    fp32 form on the same engine.
    """
    compared = (f"{metric}_drop", AGREEMENT) if source else ()
    paired = (RATIO,) if fp32 else ()
    return (
        metric,
        *compared,
        *LATENCY,
        *paired,
        "load_ms",
        "first_call_ms",
        "cpu_ms",
        "energy_mj",
        "peak_rss_mb",
        "model_mb",
        "engine_mb",
    )


def cost_figures(measured: Measured, bytes_: int) -> dict[str, Figure]:
    """Return latency, load time, first call, processor time, energy, peak memory and size.

    In sustained mode ``latency_drift`` as well. Where the device's times say nothing, everything
    but the size carries the reason in ``unjudged``.
    """
    answers = measured.answers
    if told.is_told(answers):
        energy = energy_figure([answer.get("energy") or {} for answer in answers])
        return told.cost_figures(answers) | {"energy_mj": energy, "model_mb": _size(bytes_)}
    memory = (
        "peak of resident memory of a process with Python, numpy, the engine and the model, "
        f"from load to last call ({answers[0]['peak_rss_source']}); MB = 10^6 bytes"
    )
    found = {
        **latency_figures([answer["latency_ns"] for answer in answers]),
        "load_ms": spread_figure(
            [answer["load_ms"] for answer in answers],
            "ms",
            "loading the variant, the engine's library already imported",
        ),
        "first_call_ms": spread_figure(
            [answer["first_call_ms"] for answer in answers], "ms", "the first call after loading"
        ),
        "cpu_ms": spread_figure(
            [answer["cpu_ms_per_call"] for answer in answers],
            "ms",
            "processor time of all threads for a call",
        ),
        "energy_mj": energy_figure([answer.get("energy") or {} for answer in answers]),
        "peak_rss_mb": spread_figure(
            [answer["peak_rss_bytes"] / _MEGA for answer in answers], "MB", memory
        ),
    }
    windows = (answers[0].get("sustained") or {}).get("windows")
    if windows:
        found[DRIFT] = drift_figure(windows)
    if measured.unjudged:
        found = {name: replace(one, unjudged=measured.unjudged) for name, one in found.items()}
    return found | {"model_mb": _size(bytes_)}


def energy_figure(energies: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the energy of a call in millijoules, or why it is absent."""
    spent = [one["per_call_mj"] for one in energies if one.get("per_call_mj") is not None]
    if not spent:
        reasons = [str(one["absent"]) for one in energies if one.get("absent")]
        why = reasons[0] if reasons else "the device does not say what it uses"
        return Figure(None, unit="mJ", noisy=True, absent=why)
    source = next(one["source"] for one in energies if one.get("per_call_mj") is not None)
    about = f"energy of the whole device while calls were timed, for one of them ({source})"
    return spread_figure(spent, "mJ", about)


def noise_summary(measured: Measured, *, processors: int, threads: int) -> Noise:
    """Return how quiet it was while calls were timed; ``processors`` might be used."""
    answers = measured.answers
    counters = [answer.get("noise") or {} for answer in answers]
    # Of a long loop not every time is kept, but their mean and how many there were.
    times = [(answer["latency_ns"], answer.get("calls")) for answer in answers]
    seconds = sum(fmean(kept) * (calls or len(kept)) for kept, calls in times if kept) / 1e9
    return summarize(counters, seconds, processors=processors, threads=threads)


def kept(measured: Measured) -> dict[str, Any]:
    """Return what the figures of latency follow from, for ``latency.figures_from_sketch``."""
    return sketch([answer["latency_ns"] for answer in measured.answers])


def _size(bytes_: int) -> Figure:
    method = "the engine's own files; MB = 10^6 bytes"
    return Figure(bytes_ / _MEGA, unit="MB", method=method, samples=1)


def paired_figure(trials: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the ratio of the variant's time to that of the other one, from their trials."""
    pairs = sum(trial["pairs"] for trial in trials)
    lost = [trial.get("lost") for trial in trials]
    figure = ratio_figure([trial["ratio"] for trial in trials], pairs, lost)
    unjudged = next((str(one["unjudged"]) for one in trials if one.get("unjudged")), "")
    return replace(figure, unjudged=unjudged) if unjudged else figure


def same_bytes() -> Figure:
    """Return the ratio of a variant that is its fp32 form: 1 by definition, nothing was timed."""
    return Figure(1.0, method="the variant is its fp32 form, byte for byte: nothing to compare")


def notes(measured: Measured, figures: Mapping[str, Figure]) -> tuple[str, ...]:
    """Return what a person should know about the figures."""
    found = []
    ratio = figures.get(RATIO)
    if ratio and ratio.value is not None and ratio.interval:
        low, high = ratio.interval
        between = f"{ratio.value:.2f} times its time, 99 % between {low:.2f} and {high:.2f}"
        if low > 1:
            found.append(f"slower than its fp32 form on this device: {between}")
        elif high < 1:
            found.append(f"faster than its fp32 form on this device: {between}")
        else:
            found.append(
                f"neither faster nor slower than its fp32 form, as far as shown: {between}"
            )
    restless = [
        answer
        for answer in measured.answers
        if answer["warm_up"]["stationary"] is False and answer["warm_up"]["calls"] >= _TRIED
    ]
    if restless:
        found.append(
            f"in {len(restless)} of {len(measured.answers)} processes the times did not settle "
            "within the warm-up: the machine is busy or the budget short"
        )
    return tuple(found)


def details(measured: Measured, trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is kept beside the figures, to look at when they surprise."""
    return {
        "processes": [
            {
                "calls": len(answer["latency_ns"]) or answer.get("calls"),
                "warm_up": answer["warm_up"],
                "import_ms": answer["import_ms"],
                "cpu_ms_per_call": answer["cpu_ms_per_call"],
                "interruptions": answer["interruptions"],
                "memory": answer.get("memory"),
                "noise": answer.get("noise"),
            }
            for answer in measured.answers
        ],
        "paired": [dict(trial) for trial in trials],
    }


def unmeasured(names: Sequence[str], reason: str, bytes_: int) -> dict[str, Figure]:
    """Return the figures of a variant that nothing could run: its size, and why there is no more."""
    figures = {name: Figure(None, absent=reason) for name in names}
    return figures | {"model_mb": _size(bytes_)}


def latency_csv(measured: Measured | None) -> bytes:
    """Return the quantile curve as a table of ``percentile`` and ``latency_ms``; None has no rows."""
    if measured is None or not all(answer["latency_ns"] for answer in measured.answers):
        return b"percentile,latency_ms\n"
    curve = quantile_curve([answer["latency_ns"] for answer in measured.answers])
    rows = [f"{percentile:g},{value:.6g}" for percentile, value in curve]
    return ("percentile,latency_ms\n" + "\n".join(rows) + "\n").encode()
