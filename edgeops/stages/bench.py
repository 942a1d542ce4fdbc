"""The verb ``bench``: what a model or variant costs on a device, alone or against another."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import sequential
from edgeops.errors import GateFailed, GateInconclusive, TransportError
from edgeops.stages.bench_inputs import (
    MLPERF_S,
    NOISE,
    Request,
    alike,
    check_usage,
    opened,
    samples_of,
)
from edgeops.validate.affinity import processors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Samples
    from edgeops.core.events import Events
    from edgeops.core.gates import Figure
    from edgeops.stages.bench_inputs import Subject
    from edgeops.validate.measured import Ask, Bench, Measured
    from edgeops.validate.noise import Noise

__all__ = ["Request", "bench_verb"]

ALONE_S, AGAINST_S = 20.0, 60.0
# Share of the time that goes into timed calls: processes start, load and warm up as well.
_TIMED_SHARE = 0.3
_TIMED_MOST_S = 6.0
# With another variant to compare with, the figures of one alone are beside the point.
_BESIDE_S, _ALONE_MOST_S = 1.5, 8.0
_LONG_S = 60.0
# Nothing may go on for ever: so many times what was asked for, and for MLPerf's 1,024 queries this.
_PATIENCE, _MLPERF_MOST_S = 10, 3600.0


def bench_verb(request: Request, *, events: Events) -> dict[str, Any]:
    """Measure on the device and return latency, load time, memory, figures and notes; writes nothing.

    Raises GateFailed ``bench-slower`` or GateInconclusive ``bench-inconclusive`` with the result;
    InputError ``model-missing``, UsageProblem ``bench-usage``; what converting a model file, reading
    data and the device raise.
    """
    check_usage(request)
    cpus = processors(request.affinity)
    with tempfile.TemporaryDirectory(prefix="edgeops-bench-") as scratch:
        subject = opened(request, request.model, Path(scratch) / "model", events)
        other = (
            opened(request, request.against, Path(scratch) / "against", events)
            if request.against
            else None
        )
        if other is not None:
            alike(subject, other)
        samples = samples_of(request, subject)
        try:
            result = _measured(request, (subject, other), samples, cpus, events)
        except TransportError as error:
            if error.code == "probe-timeout":
                error.fix = "give it more time with --max-seconds, or measure a smaller model"
            raise
    return _judged(result)


def _measured(
    request: Request,
    subjects: tuple[Subject, Subject | None],
    samples: Samples,
    cpus: tuple[int, ...],
    events: Events,
) -> dict[str, Any]:
    from edgeops.validate.figures import noise_summary
    from edgeops.validate.measured import bench, device

    begun = time.monotonic()
    subject, other = subjects
    limit = request.max_seconds or (AGAINST_S if other else ALONE_S)
    ask = _ask(request, limit, beside=other is not None)
    most = _MLPERF_MOST_S if ask.preset and not request.max_seconds else _PATIENCE * limit
    timeout_s = max(most, 2 * ask.seconds + ask.sustained_s) + _LONG_S
    options: dict[str, Any] = {"threads": request.threads, "affinity": cpus, "evaluate": False}
    with device(request.device) as reached:
        about = reached.probe()
        with bench(reached, samples, timeout_s=timeout_s, **options) as measuring:
            events.step(f"measuring {subject.name} on {request.device}", total=ask.processes)
            measured = measuring.measure(
                subject.folder, seconds=ask.seconds, events=events, ask=ask
            )
            where = {"device": {**about, "name": request.device}, "threads": request.threads}
            noise = noise_summary(
                measured,
                processors=len(cpus) or about.get("cores") or 1,
                threads=request.threads,
            )
            result = _alone(subject, measured, samples, ask, noise)
            result = {**result, **where, "affinity": list(cpus)}
            if other is not None:
                # Waiting for others to end their measurements takes nothing away from this one.
                left = limit - min(_ALONE_MOST_S, limit / 4)
                result |= _against(measuring, subjects, measured.unjudged, left, events)
    return {**result, "seconds": round(time.monotonic() - begun, 3)}


def _ask(request: Request, limit: float, *, beside: bool) -> Ask:
    from edgeops.validate.measured import Ask

    if request.preset:
        return Ask(MLPERF_S, evaluate=False, preset=request.preset)
    if request.sustained:
        return Ask(request.sustained, evaluate=False, sustained_s=request.sustained)
    most = _BESIDE_S if beside else _TIMED_MOST_S
    return Ask(min(most, _TIMED_SHARE * limit), evaluate=False)


def _alone(
    subject: Subject, measured: Measured, samples: Samples, ask: Ask, noise: Noise
) -> dict[str, Any]:
    """Return what was measured of one variant."""
    from edgeops.validate.figures import DRIFT, cost_figures, kept, notes
    from edgeops.validate.latency import mlperf_figure
    from edgeops.validate.noise import notes as noise_notes

    figures = cost_figures(measured, subject.variant.bytes)
    if ask.preset:
        figures["mlperf_p90_ms"] = mlperf_figure(kept(measured))
    first = measured.answers[0]
    told = [*notes(measured, figures), *noise_notes(noise)]
    if samples.source == NOISE:
        told.append(
            "measured on seeded noise: times of a model whose work depends on its input may differ "
            "on real samples (--data)"
        )
    return {
        "variant": subject.name,
        "digest": subject.variant.digest,
        "engine": subject.variant.engine,
        "engine_version": first["engine_version"],
        "precision": subject.variant.precision,
        "data": {"source": samples.source, "digest": samples.digest, "samples": samples.count},
        "latency_ms": latency_json(figures),
        **{
            name: figures[name].value if name in figures else None
            for name in ("load_ms", "first_call_ms", "cpu_ms", "energy_mj", "peak_rss_mb")
        },
        "model_mb": figures["model_mb"].value,
        "memory_mb": {name: value / 1e6 for name, value in (first.get("memory") or {}).items()},
        "drift": figures[DRIFT].value if DRIFT in figures else None,
        "sustained": first.get("sustained"),
        "noise": noise.to_json(),
        "figures": {name: figure.to_json() for name, figure in figures.items()},
        "notes": told,
        **dict.fromkeys(("against", "ratio", "ratio_ci", "verdict")),
    }


def latency_json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Return p50, p90, p99 and mean with their intervals, None where calls were too few."""
    found: dict[str, Any] = {}
    for name in ("p50", "p90", "p99", "mean"):
        figure = figures[f"latency_{name}_ms"]
        found[name] = figure.value
        found[f"{name}_ci"] = list(figure.interval) if figure.interval else None
    return {**found, "samples": figures["latency_p50_ms"].samples}


def _against(
    measuring: Bench,
    subjects: tuple[Subject, Subject | None],
    unjudged: str,
    seconds: float,
    events: Events,
) -> dict[str, Any]:
    """Return the comparison with another variant; on an emulated device nothing is measured."""
    subject, other = subjects
    assert other is not None  # noqa: S101 - for mypy: asked only then
    about = {"variant": other.name, "digest": other.variant.digest, "engine": other.variant.engine}
    if unjudged:
        found: dict[str, Any] = {
            "verdict": sequential.INCONCLUSIVE,
            "why": unjudged,
            **dict.fromkeys(("ratio", "ratio_ci", "would_take_s")),
            **dict.fromkeys(("counted", "disturbed", "seconds"), 0),
            "trials": [],
        }
    else:
        events.step(f"comparing {subject.name} with {other.name}, in pairs")
        found = measuring.compare(subject.folder, other.folder, seconds=seconds, events=events)
    shown = {
        name: value for name, value in found.items() if name not in {"format", "engine_version"}
    }
    against = {**about, "margin": sequential.MARGIN, **shown, "max_seconds": seconds}
    return {"against": against, **{name: found[name] for name in ("ratio", "ratio_ci", "verdict")}}


def _judged(result: dict[str, Any]) -> dict[str, Any]:
    """Return the result, or raise the verdict that is not to pass."""
    against = result["against"]
    if against is None or result["verdict"] in {sequential.NOT_SLOWER, sequential.FASTER}:
        return result
    names = f"{result['variant']} is slower than {against['variant']}"
    if result["verdict"] == sequential.SLOWER:
        raise GateFailed(
            "bench-slower",
            names,
            where=result["variant"],
            why=against["why"],
            fix="keep the other one, or look which operators take the time",
            result=result,
        )
    raise GateInconclusive(
        "bench-inconclusive",
        f"it is open whether {names}",
        where=result["variant"],
        why=against["why"],
        fix=_more_time(against),
        result=result,
    )


def _more_time(against: Mapping[str, Any]) -> str:
    needed = against["would_take_s"]
    if needed is None or against["disturbed"] > against["counted"]:
        return "end what else runs on the device, or choose a free processor with --affinity"
    if needed <= against["max_seconds"]:
        return "run it again when the device is quieter"
    given = needed * 1.3 + _ALONE_MOST_S
    return f"give it more time, about {needed:.0f} s: --max-seconds {given:.0f}"
