"""Measure a job on its device: figures, verdicts and evidence, or what is left when it breaks off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeops.core.evidence import Evidence
from edgeops.core.files import canonical_json, write_atomic
from edgeops.core.gates import Figure
from edgeops.errors import EdgeopsError, MissingError, TransportError
from edgeops.stages.validate_against import Comparing, Found
from edgeops.validate import again

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.events import Events
    from edgeops.stages.validate import ValidateOptions
    from edgeops.stages.validate_job import Job
    from edgeops.validate.measured import Measured
    from edgeops.validate.worst import Worst

PARTIAL = "edgeops.partial/1"


@dataclass(frozen=True)
class Outcome:
    """The evidence of a job, and what is written beside it."""

    evidence: Evidence
    measured: Measured | None = None
    worst: Sequence[Worst] = ()


def measure(job: Job, events: Events) -> Outcome:
    """Measure a job on its device and judge it; what is accepted unproven is not measured.

    When the device is lost or ends the measurement, the error has what is left of it in the
    result's ``partial``, which is also written below ``job.kept``: marked partial, never judged.
    """
    if unproven := str(job.variant.extra.get("unproven", "")):
        return Outcome(_unmeasured(job, unproven))
    found = Found()
    try:
        _measure(job, found, events)
    except (TransportError, MissingError) as error:
        error.result["partial"] = _keep(job, found, error)
        raise
    if job.kept is not None:
        (job.kept / f"{job.name}.json").unlink(missing_ok=True)
    measured = found.measured
    version = measured.answers[0]["engine_version"] if measured else job.variant.engine_version
    evidence = _evidence(job, version, found)
    return Outcome(evidence, measured, found.worst)


def _measure(job: Job, found: Found, events: Events) -> None:
    from edgeops.validate.accuracy import evaluate
    from edgeops.validate.figures import cost_figures, details, noise_summary, notes
    from edgeops.validate.limits import Limited
    from edgeops.validate.measured import Ask, bench, device
    from edgeops.validate.noise import notes as noise_notes

    options = job.options
    if job.source is not None:
        # What does not fit the metric shows here, before time is spent on measuring.
        evaluate(job.source, job.samples.labels, job.metric, output=options.output, rounds=0)
    ask = Ask(options.seconds, preset=options.preset, sustained_s=options.sustained)
    with device(job.device, job.binary) as plain:
        reached = Limited(plain, _limits(options))
        found.device.update(reached.probe())
        with bench(
            reached,
            job.samples,
            threads=job.threads,
            timeout_s=options.timeout,
            affinity=job.affinity,
            predicting=job.around.predicting(job.raw) if job.raw else None,
        ) as measuring:
            events.step(f"measuring {job.name} on {job.device}", total=ask.processes)
            measured = measuring.measure(
                job.folder, seconds=options.seconds, events=events, ask=ask
            )
            found.measured = measured
            _score(job, found, measured)
            _tell(found.figures, events)
            found.figures |= cost_figures(measured, job.variant.bytes)
            found.figures |= _engine(job, found, measured)
            found.kept |= again.kept(measured, job.variant.bytes)
            if options.preset:
                found.figures |= again.mlperf(found.kept)
            comparing = Comparing(job, measuring, found, events)
            comparing.with_fp32()
            for against in job.earlier:
                comparing.with_earlier(against)
    # What a device that is elsewhere was sent: little, when it had everything from before.
    if (sent := getattr(plain, "sent_bytes", None)) is not None:
        found.device["sent_bytes"] = sent
    processors = len(job.affinity) or int(found.device.get("cores") or 1)
    noise = noise_summary(measured, processors=processors, threads=job.threads)
    found.notes += [*notes(measured, found.figures), *noise_notes(noise)]
    found.extra |= details(measured, found.trials.get("latency_vs_fp32", ()))
    found.extra["noise"] = noise.to_json()
    found.extra |= job.around.about()
    if job.around.features and job.raw is None:
        found.notes.append("features were made on the workbench: the device runs no Python")
    if taken := (measured.answers[0].get("outputs") or {}).get("predict"):
        found.extra["predict"] = taken
    _tell(found.figures, events, ("latency_p50_ms", "latency_vs_fp32", "peak_rss_mb", "model_mb"))


def _engine(job: Job, found: Found, measured: Measured) -> dict[str, Figure]:
    """Return what the engine adds to an application for the device's architecture."""
    from edgeops.validate.engine_bytes import NAME, engine_figure

    version = str(measured.answers[0]["engine_version"])
    about = [str(found.device.get(name) or "") for name in ("machine", "system")]
    return {NAME: engine_figure(job.variant.engine, version, *about)}


def _limits(options: ValidateOptions) -> dict[str, float]:
    stated = {"call_timeout_s": options.call_timeout, "heartbeat_s": options.heartbeat}
    return {name: value for name, value in stated.items() if value}


def _score(job: Job, found: Found, measured: Measured) -> None:
    """Add accuracy on all data and on its parts, agreement with the source, and the worst samples."""
    from edgeops.validate.accuracy import scored
    from edgeops.validate.worst import worst_samples

    samples, output = job.samples, job.options.output
    if measured.no_outputs:
        absent = Figure(None, absent=measured.no_outputs)
        names = (job.metric.name, f"{job.metric.name}_drop", "agreement")
        gated = [gate for gate in job.gates if gate.partition("[")[0] in names]
        found.figures |= dict.fromkeys((*names, *gated), absent)
        found.kept["accuracy"] = {"metric": job.metric.name, "absent": measured.no_outputs}
        return
    score = scored(
        measured.outputs,
        samples.labels,
        job.metric,
        source=job.source,
        no_source=job.no_source,
        output=output,
        slices=samples.slices,
    )
    found.figures |= score.figures
    found.kept["accuracy"] = score.kept
    found.notes += score.notes
    found.worst = worst_samples(
        job.source, measured.outputs, samples, metric=job.metric, output=output
    )


def _tell(figures: Mapping[str, Figure], events: Events, only: Sequence[str] = ()) -> None:
    for name in only or figures:
        value = figures[name].value
        if value is not None:
            events.figure(name, value)


def _unmeasured(job: Job, reason: str) -> Evidence:
    from edgeops.validate.figures import names, unmeasured

    found = Found(device={"name": job.device})
    found.figures = unmeasured(names(job.metric.name), reason, job.variant.bytes)
    # So that a gate on a part of the data, or against an earlier one, has a figure to judge.
    found.figures |= {
        gate: Figure(None, absent=reason) for gate in job.gates if gate not in found.figures
    }
    found.notes = [f"nothing proves this variant: {reason}", f"accepted: {job.options.accept}"]
    return _evidence(job, job.variant.engine_version, found)


def _evidence(job: Job, engine_version: str, found: Found) -> Evidence:
    from edgeops.core.verdicts import verdicts

    data = {
        "source": job.samples.source,
        "digest": job.samples.digest,
        "samples": job.samples.count,
    }
    made = Evidence(
        target=job.name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        engine=job.variant.engine,
        engine_version=engine_version,
        precision=job.variant.precision,
        threads=job.threads,
        device=found.device,
        model=job.variant.source,
        variant=job.variant.digest,
        data={"evaluation": data},
        figures=found.figures,
        notes=tuple(found.notes),
        extra=found.extra,
        kept=found.kept,
    )
    return replace(made, gates=verdicts(made.figures, job.gates, made.digest))


def _keep(job: Job, found: Found, error: EdgeopsError) -> dict[str, Any]:
    """Return what is left of a measurement that broke off, having written it where it is kept."""
    document = {
        "format": PARTIAL,
        "partial": True,
        "target": job.name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "engine": job.variant.engine,
        "precision": job.variant.precision,
        "threads": job.threads,
        "device": found.device or {"name": job.device},
        "model": job.variant.source,
        "variant": job.variant.digest,
        "error": error.to_json()["error"],
        "figures": {name: figure.to_json() for name, figure in found.figures.items()},
        "probe": error.result.get("partial") or {},
    }
    if job.kept is not None:
        # It is nobody's result: git is not to see it.
        write_atomic(job.kept / ".gitignore", b"*\n")
        place = job.kept / f"{job.name}.json"
        write_atomic(place, canonical_json(document))
        error.fix = f"{error.fix}; what was measured so far is in {place}"
    return document
