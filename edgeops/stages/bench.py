"""The verb ``bench``: what a model or variant costs on a device, alone or against another."""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import sequential
from edgeops.core.variant import read_variant
from edgeops.errors import GateFailed, GateInconclusive, InputError, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Samples
    from edgeops.core.events import Events
    from edgeops.core.gates import Figure
    from edgeops.core.variant import Variant
    from edgeops.validate.measured import Ask, Bench, Measured

ALONE_S, AGAINST_S = 20.0, 60.0
PRESETS = ("mlperf",)
MLPERF_S = 60.0
NOISE = "seeded noise"
# Share of the time that goes into timed calls: processes start, load and warm up as well.
_TIMED_SHARE = 0.3
_TIMED_MOST_S = 6.0
# With another variant to compare with, the figures of one alone are beside the point.
_BESIDE_S, _ALONE_MOST_S = 1.5, 8.0
_LONG_S = 60.0
_NOISE_SAMPLES = 8
_OWN_ENGINE = {".tflite": "litert"}
_CPUS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_MOST_CPUS = 1024


@dataclass(frozen=True)
class Request:
    """What ``edgeops bench`` was asked; paths and data are relative to ``root``.

    ``engine`` is what model files are converted for, "" their format's own; ``max_seconds`` None
    is 20, or 60 with ``against``; ``sustained`` is in minutes.
    """

    root: Path
    model: Path
    against: Path | None = None
    device: str = "local"
    threads: int = 1
    affinity: str = ""
    data: str | None = None
    engine: str = ""
    max_seconds: float | None = None
    preset: str = ""
    sustained: float = 0.0


@dataclass(frozen=True)
class Subject:
    """A variant that is measured, under the name that was given."""

    name: str
    folder: Path
    variant: Variant


def bench_verb(request: Request, *, events: Events) -> dict[str, Any]:
    """Measure on the device and return the fields of INTERFACE.md, figures and notes; writes nothing.

    Raises GateFailed ``bench-slower`` or GateInconclusive ``bench-inconclusive`` with the result;
    InputError ``model-missing``, UsageProblem ``bench-usage``; what converting a model file, reading
    data and the device raise.
    """
    _check_usage(request)
    cpus = processors(request.affinity)
    with tempfile.TemporaryDirectory(prefix="edgeops-bench-") as scratch:
        subject = _subject(request, request.model, Path(scratch) / "model", events)
        other = (
            _subject(request, request.against, Path(scratch) / "against", events)
            if request.against
            else None
        )
        if other is not None:
            _alike(subject, other)
        samples = _samples(request, subject)
        result = _measured(request, (subject, other), samples, cpus, events)
    return _judged(result)


def processors(text: str) -> tuple[int, ...]:
    """Return the processors that ``0,2-3`` names; raises UsageProblem ``affinity-bad``."""
    if not text:
        return ()
    found: set[int] = set()
    if _CPUS.fullmatch(text):
        for part in text.split(","):
            low, _, high = part.partition("-")
            found.update(range(int(low), min(int(high or low), _MOST_CPUS) + 1))
    if not found or max(found) >= _MOST_CPUS:
        raise UsageProblem(
            "affinity-bad",
            f"{text!r} names no processors",
            where="--affinity",
            why="processors are numbers from 0 on, with commas and ranges",
            fix="write it like --affinity 0 or --affinity 0,2-3",
        )
    return tuple(sorted(found))


def _check_usage(request: Request) -> None:
    for given in filter(None, (request.model, request.against)):
        # Both, before the first of them is converted.
        if not (request.root / given).exists():
            raise _gone(request.root / given, given)
    limit = request.max_seconds
    if request.preset and request.preset not in PRESETS:
        raise _usage(f"{request.preset!r} is no preset; there is {', '.join(PRESETS)}", "--preset")
    if request.preset and request.sustained:
        raise _usage("a preset and a sustained run are two ways to measure", "--preset")
    long_s = max(MLPERF_S if request.preset else 0.0, request.sustained * 60)
    if limit is not None and long_s and limit < long_s:
        raise _usage(f"what is asked for takes {long_s:g} s, and {limit:g} s are allowed")


def _gone(path: Path, given: Path) -> InputError:
    return InputError(
        "model-missing",
        f"there is no model or variant {given}",
        where=str(path),
        why="no such file or folder",
        fix="check the path, or make a variant: edgeops convert MODEL --to onnxruntime -o DIR",
    )


def _usage(why: str, where: str = "--max-seconds") -> UsageProblem:
    return UsageProblem(
        "bench-usage",
        "bench cannot measure this as asked",
        where=where,
        why=why,
        fix="see: edgeops bench --help",
    )


def _subject(request: Request, given: Path, scratch: Path, events: Events) -> Subject:
    """Return the variant in a folder, or the one that a model file becomes in ``scratch``."""
    path = request.root / given
    if path.is_dir():
        if request.engine and read_variant(path).engine != request.engine:
            why = f"{given} is a variant for {read_variant(path).engine}, whatever --to says"
            raise _usage(why, "--to")
        return Subject(str(given), path, read_variant(path))
    from edgeops.convert.make import convert_model

    engine = request.engine or _OWN_ENGINE.get(path.suffix, "onnxruntime")
    convert_model(path, engine, scratch, data=request.data, root=request.root, events=events)
    return Subject(str(given), scratch, read_variant(scratch))


def _samples(request: Request, subject: Subject) -> Samples:
    from edgeops.project.datasets import samples_for
    from edgeops.validate.measured import few

    if request.data:
        return few(samples_for(request.data, request.root, subject.variant.inputs))
    return made_up(subject.variant, subject.folder)


def _alike(subject: Subject, other: Subject) -> None:
    """Refuse two variants that do not take the same inputs: they could not be given the same."""
    ours, theirs = (
        ", ".join(
            sorted(f"{t.name}: {t.dtype}[{', '.join(map(str, t.shape[1:]))}]" for t in inputs)
        )
        for inputs in (subject.variant.inputs, other.variant.inputs)
    )
    if ours == theirs:
        return
    raise InputError(
        "bench-inputs-differ",
        f"{subject.name} and {other.name} do not take the same inputs",
        where=other.name,
        why=f"{subject.name} takes {ours}; {other.name} takes {theirs}",
        fix="compare variants of the same model, or measure each by itself",
    )


def made_up(variant: Variant, folder: Path) -> Samples:
    """Return seeded noise that a variant takes: N(0, 1), integers 0 and 1.

    Where axes other than the first are open, sizes are tried on the engine here; raises InputError
    ``bench-needs-data`` when that is not possible, or the model reads text.
    """
    import numpy as np

    from edgeops.core.contracts import Samples

    text = [tensor.name for tensor in variant.inputs if tensor.dtype == "str"]
    if text:
        raise _needs_data(f"{text[0]!r} is text, which cannot be made up")
    if any(isinstance(size, str) for tensor in variant.inputs for size in tensor.shape[1:]):
        return _tried(folder)
    random = np.random.default_rng(0)
    arrays = {}
    for tensor in variant.inputs:
        fixed = [int(size) for size in tensor.shape[1:]]
        shape = (_NOISE_SAMPLES, *fixed) if tensor.shape else ()
        whole = np.dtype(tensor.dtype).kind in "iub"
        values = random.integers(0, 2, shape) if whole else random.standard_normal(shape)
        arrays[tensor.name] = np.asarray(values).astype(tensor.dtype)
    return Samples(arrays, None, _NOISE_SAMPLES, NOISE, "")


def _tried(folder: Path) -> Samples:
    from edgeops.convert.samples import synthetic
    from edgeops.runtime.session import load_session

    try:
        return replace(synthetic(load_session(folder)), source=NOISE)
    except InputError as error:
        if error.code != "samples-needed":
            raise
        raise _needs_data(error.why) from error


def _needs_data(why: str) -> InputError:
    return InputError(
        "bench-needs-data",
        "the model does not run on made-up input",
        where="--data",
        why=why,
        fix="give it samples: --data samples.npz, one array for each input",
    )


def _measured(
    request: Request,
    subjects: tuple[Subject, Subject | None],
    samples: Samples,
    cpus: tuple[int, ...],
    events: Events,
) -> dict[str, Any]:
    from edgeops.validate.measured import bench, device

    begun = time.monotonic()
    subject, other = subjects
    limit = request.max_seconds or (AGAINST_S if other else ALONE_S)
    ask = _ask(request, limit, beside=other is not None)
    timeout_s = max(10 * limit, 2 * ask.seconds + ask.sustained_s) + _LONG_S
    options: dict[str, Any] = {"threads": request.threads, "affinity": cpus, "evaluate": False}
    with device(request.device) as reached:
        about = reached.probe()
        with bench(reached, samples, timeout_s=timeout_s, **options) as measuring:
            events.step(f"measuring {subject.name} on {request.device}", total=ask.processes)
            measured = measuring.measure(
                subject.folder, seconds=ask.seconds, events=events, ask=ask
            )
            where = {"device": {"name": request.device, **about}, "threads": request.threads}
            result = _alone(subject, measured, samples, ask, len(cpus) or about.get("cores") or 1)
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
        minutes = request.sustained * 60
        return Ask(minutes, evaluate=False, sustained_s=minutes)
    most = _BESIDE_S if beside else _TIMED_MOST_S
    return Ask(min(most, _TIMED_SHARE * limit), evaluate=False)


def _alone(
    subject: Subject, measured: Measured, samples: Samples, ask: Ask, cpus: int
) -> dict[str, Any]:
    """Return what was measured of one variant."""
    from edgeops.validate.figures import DRIFT, cost_figures, kept, noise_summary, notes
    from edgeops.validate.latency import mlperf_figure
    from edgeops.validate.noise import notes as noise_notes

    figures = cost_figures(measured, subject.variant.bytes)
    if ask.preset:
        figures["mlperf_p90_ms"] = mlperf_figure(kept(measured))
    noise = noise_summary(measured, processors=cpus, threads=1)
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
    return f"give it more time, about {needed:.0f} s: --max-seconds {needed * 1.3:.0f}"
