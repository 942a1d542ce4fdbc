"""What the measuring program does with a variant: measure, replay, or compare it in pairs."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError
from edgeops.runtime import measure
from edgeops.runtime.probe import loops, noise
from edgeops.runtime.probe.arrays import read_samples, write_outputs
from edgeops.runtime.probe.child import Told, Watched
from edgeops.runtime.probe.engines import import_engine
from edgeops.runtime.probe.machine import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Engine, Samples, Session, Tell

_MOST_FEEDS = 64


class Phases:
    """Says which phase begins, and keeps the peak of memory of each phase that is told for."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._now = "start"
        self.memory: dict[str, int] = {}
        self.resets = True

    def begin(self, name: str, phase: str = "") -> None:
        """Begin a phase, the same as ``name`` in what is told; memory counts for ``name``."""
        if name != self._now:
            self.end()
            self.resets = measure.reset_peak() and self.resets
            self._now = name
        self._tell({"say": "phase", "phase": phase or name})

    def end(self) -> None:
        """Keep the peak of the phase that ends."""
        self.memory[self._now] = measure.peak_bytes()[0]
        self.note({"memory": self.memory})

    def note(self, found: Mapping[str, Any]) -> None:
        """Tell what was found so far, which is kept when this process ends too early."""
        self._tell({"part": dict(found)})

    def about(self) -> dict[str, Any]:
        """Return the memory of all phases, and the peak since the model was loaded."""
        source = measure.peak_bytes()[1]
        return {
            "memory": self.memory,
            "peak_rss_bytes": max(self.memory["load"], self.memory["run"]),
            "peak_rss_source": source if self.resets else f"{source} since the process began",
        }


def one(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Measure one variant: import, load, first call, warm-up, latency, memory, then evaluate."""
    phases = Phases(tell)
    result: dict[str, Any] = {}
    engine = _imported(request, phases, result)
    few = read_samples(request["few"])
    session = _loaded(engine, request, phases, result)
    feeds = _feeds(few, session)
    phases.begin("run")
    with measure.undisturbed():
        start = time.perf_counter_ns()
        Watched(session).run(feeds[0])
        result["first_call_ms"] = (time.perf_counter_ns() - start) / 1e6
    phases.note(result)
    if float(request.get("seconds") or 0) or request.get("preset") or request.get("sustained_s"):
        result.update(_latency(session, feeds, request, phases, tell))
    phases.end()
    result.update(phases.about())
    if request.get("data"):
        result["outputs"] = _evaluate(session, request, tell)
    return result


def pair(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Compare two variants in interleaved pairs."""
    from edgeops.runtime.pairs import measure_pairs

    phases = Phases(tell)
    phases.begin("import")
    engines = {folder: import_engine(Path(request[folder]))[0] for folder in ("variant", "against")}
    by_folder = {Path(request[folder]): engine for folder, engine in engines.items()}

    def load(folder: Path, threads: int) -> Session:
        return by_folder[folder].load(folder, threads)

    phases.begin("run", "pairs")
    before = noise.read(machine(request))
    found = measure_pairs(request, load, tell)
    quiet = noise.between(before, noise.read(machine(request)))
    return {"noise": quiet, "engine_version": engines["variant"].version(), **found}


def replay(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Run every sample of ``data`` by itself.

    ``outputs.rows`` are the samples that were answered, in the order of the saved outputs;
    ``errors`` is ``{index as text: {code, what, where, why, fix}}`` of the others.
    """
    from edgeops.runtime.predictor_samples import stacked

    phases = Phases(tell)
    result: dict[str, Any] = {}
    session = Watched(_loaded(_imported(request, phases, result), request, phases, result))
    samples = read_samples(request["data"])
    tell({"say": "step", "what": "replaying samples", "total": samples.count})
    phases.begin("run", "replay")
    told, rows, found = Told(tell), [], []
    errors: dict[str, Any] = {}
    for index in range(samples.count):
        try:
            found.append(_run_alone(session, samples, index))
            rows.append(index)
        except EdgeopsError as error:
            errors[str(index)] = error.to_json()["error"]
        told.advance()
    told.flush()
    phases.end()
    outputs = {
        tensor.name: stacked([each[tensor.name] for each in found]) for tensor in session.outputs
    }
    about = write_outputs(Path(request["out"]), outputs)
    return {**result, **phases.about(), "outputs": {**about, "rows": rows}, "errors": errors}


def _imported(request: Mapping[str, Any], phases: Phases, result: dict[str, Any]) -> Engine:
    phases.begin("import")
    engine, result["import_ms"] = import_engine(Path(request["variant"]))
    result["engine_version"] = engine.version()
    phases.note(result)
    return engine


def _loaded(
    engine: Engine, request: Mapping[str, Any], phases: Phases, result: dict[str, Any]
) -> Session:
    phases.begin("load")
    start = time.perf_counter_ns()
    session = engine.load(Path(request["variant"]), int(request["threads"]))
    result["load_ms"] = (time.perf_counter_ns() - start) / 1e6
    phases.note(result)
    return session


def _latency(
    session: Session,
    feeds: list[dict[str, Any]],
    request: Mapping[str, Any],
    phases: Phases,
    tell: Tell,
) -> dict[str, Any]:
    plan = loops.plan(request)
    here = machine(request)
    with measure.undisturbed():
        phases.begin("run", "warm-up")
        warm = measure.warm_up(session.run, feeds, plan.warm_up_s)
        before = noise.read(here)
        phases.begin("run", "latency")
        timed = loops.run(plan, session.run, feeds, here, tell)
        phases.begin("run", "timed")
        after = noise.read(here)
    used = after.values["own_ms"] - before.values["own_ms"]
    disturbed = noise.between(before, after)
    return {
        "warm_up": {"calls": warm.calls, "stationary": warm.stationary},
        **timed,
        "cpu_ms_per_call": used / timed["calls"],
        "interruptions": disturbed["involuntary_switches"],
        "noise": disturbed,
    }


def _evaluate(session: Session, request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Save the outputs of the whole data set, and return how they lie in the file."""
    from edgeops.runtime.batch import run_batched
    from edgeops.runtime.predictor_samples import run_samples
    from edgeops.runtime.probe.chain import chained

    def load_other(folder: Path, threads: int) -> Session:
        return import_engine(folder)[0].load(folder, threads)

    samples = read_samples(request["data"])
    tell({"say": "phase", "phase": "evaluate"})
    tell({"say": "step", "what": "evaluating samples", "total": samples.count})
    told, watched = Told(tell), Watched(session)
    chain, taken = chained(request, watched, load_other), dict[str, float]()
    if chain is None:
        outputs = run_batched(watched, samples, events=told)
    else:
        outputs, taken = run_samples(chain, samples, events=told)
    told.flush()
    about = write_outputs(Path(request["out"]), outputs)
    return {**about, "predict": taken} if taken else about


def _feeds(samples: Samples, session: Session) -> list[dict[str, Any]]:
    """Return what single calls take: one sample each, or the model's fixed batch."""
    from edgeops.runtime.batch import feeds

    found = feeds(samples, session.inputs, 1)
    return [feed for feed, _ in islice(found, _MOST_FEEDS)]


def _run_alone(session: Session, samples: Samples, index: int) -> dict[str, Any]:
    """Return the outputs of one sample, each with an axis of samples."""
    from dataclasses import replace

    from edgeops.runtime.batch import run_batched

    arrays = {}
    for name, array in samples.arrays.items():
        ragged = array.ndim == 1 and array.dtype.kind == "O" and hasattr(array[index], "ndim")
        alone = array[index][None] if ragged else array
        arrays[name] = alone if ragged or array.ndim == 0 else array[index : index + 1]
    return run_batched(session, replace(samples, arrays=arrays, count=1), limit=1)
