"""The validate stage and verb: measure a variant on its device and judge the gates.

The stage succeeds whatever the verdict: a measurement is a result, worth caching and pushing.
What may ship is decided from its evidence, by ``publish`` and by the exit codes of ``run`` and
``validate``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeops.core.evidence import Evidence, write_evidence
from edgeops.core.files import canonical_json, folder_atomic
from edgeops.core.gates import Figure, parse_gate, unknown_gates
from edgeops.core.project import FILE, converted, evidence_file, final_variant, reports
from edgeops.core.stage import (
    Out,
    Plot,
    StageContext,
    StageInfo,
    StagePlan,
    StageResult,
    one_target,
)
from edgeops.core.variant import read_variant, refuse_unproven
from edgeops.errors import Finding, UsageProblem, from_findings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.contracts import Metric, Samples
    from edgeops.core.events import Events
    from edgeops.core.project import Project, Target
    from edgeops.core.variant import Variant
    from edgeops.validate.measured import Bench, Measured

SECONDS = 2.0
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class ValidateOptions:
    """What is measured of every target, and what it must come to."""

    metric: str = field(
        default="accuracy",
        metadata={"help": "The figure of merit: a metric's name, or module:function."},
    )
    gates: dict[str, str] = field(
        default_factory=dict,
        metadata={"help": "Bounds by the name of a figure, such as accuracy: '>= 0.95'."},
    )
    output: str = field(
        default="", metadata={"help": "The model's output that the metric looks at."}
    )
    seconds: float = field(
        default=SECONDS,
        metadata={"help": "Time for latency; the comparison with fp32 takes as much again."},
    )
    samples: int = field(
        default=0, metadata={"help": "Evaluate only so many samples, from the first; 0 is all."}
    )
    timeout: float = field(
        default=TIMEOUT_S, metadata={"help": "Seconds after which a measuring process is ended."}
    )
    accept: str = field(
        default="", metadata={"help": "Why to go on with a variant that nothing could prove."}
    )

    def __post_init__(self) -> None:
        if not self.seconds > 0 or not self.timeout > 0 or self.samples < 0:
            raise ValueError("seconds and timeout are more than 0, samples is not negative")


@dataclass(frozen=True)
class Job:
    """One variant to measure, everything read and checked.

    ``source`` are the outputs of the model it was made from, ``fp32`` the folder of its fp32 form
    on the same engine; ``no_source`` and ``no_fp32`` say why there is none.
    """

    name: str
    folder: Path
    variant: Variant
    device: str
    threads: int
    samples: Samples
    metric: Metric
    options: ValidateOptions
    gates: Mapping[str, str]
    source: Mapping[str, Any] | None = None
    no_source: str = ""
    fp32: Path | None = None
    no_fp32: str = ""


class Validate:
    """Measures each target's variant and judges the gates."""

    info = StageInfo("validate", "Measure a variant on its device and judge the gates.")
    Options = ValidateOptions

    def plan(self, project: Project, target: Target | None, options: ValidateOptions) -> StagePlan:
        """Return variants, model and evaluation data as deps, the report's files as outs."""
        target = one_target(target)
        deps = [final_variant(project, target.name), converted(target.name), project.model]
        deps += _files_of(project.data.evaluation, options.metric)
        folder = reports(target.name)
        spec = project.stage_using("validate")
        params = [f"stages.{spec.name}.{key}" for key in spec.given] if spec else []
        return StagePlan(
            deps=tuple(dict.fromkeys(deps)),
            outs=(Out(evidence_file(target.name)),),
            metrics=(f"{folder}/metrics.json",),
            plots=(
                Plot(
                    f"{folder}/latency.csv", "percentile", "latency_ms", title="Latency quantiles"
                ),
            ),
            params=(*params, f"targets.{target.name}", "data.evaluation"),
        )

    def preflight(
        self, root: Path, project: Project, target: Target | None, options: ValidateOptions
    ) -> Sequence[Finding]:
        """Return gates on nothing, a metric that is not there, and data that cannot serve."""
        from edgeops.validate.preflight import findings

        return findings(root, project, one_target(target), options.metric, options.gates)

    def run(self, context: StageContext, options: ValidateOptions) -> StageResult:
        """Measure the target's variant; the report's folder is written whole or left as it was."""
        from edgeops.core.verdicts import flat
        from edgeops.validate.figures import latency_csv

        target = one_target(context.target)
        job = _project_job(context, target, options)
        evidence, measured = _measured(job, context.events)
        with folder_atomic(context.path(reports(target.name))) as folder:
            write_evidence(folder / "evidence.json", evidence)
            (folder / "metrics.json").write_bytes(canonical_json(flat(evidence.figures)))
            (folder / "latency.csv").write_bytes(latency_csv(measured))
        return StageResult(flat(evidence.figures), evidence.notes)


def validate_variant(
    variant: Path,
    *,
    evaluation: str,
    metric: str = "accuracy",
    gates: Sequence[str] = (),
    threads: int = 1,
    device: str = "local",
    source: str = "",
    output: str = "",
    seconds: float = SECONDS,
    accept: str = "",
    root: Path,
    events: Events,
) -> dict[str, Any]:
    """Measure one variant folder and judge ad-hoc gates; writes nothing.

    ``source`` is the ONNX model it was made from, or a folder with its fp32 form; it allows gates
    on ``<metric>_drop``, ``agreement`` and (a folder) ``latency_vs_fp32``. Raises GateFailed or
    GateInconclusive with the result, InputError ``gate-unknown``, UsageProblem ``gate-option``,
    RefusedError ``variant-unproven`` unless ``accept`` gives a reason.
    """
    from edgeops.core.verdicts import enforce, summary
    from edgeops.validate.figures import names
    from edgeops.validate.metrics import figure_name
    from edgeops.validate.source import source_outputs

    bounds = _parsed(gates)
    folder = root / source if source and (root / source).is_dir() else None
    every = names(figure_name(metric))
    known = names(figure_name(metric), source=bool(source), fp32=folder is not None)
    findings = [
        replace(found, fix="name what to compare with: --source MODEL, or --source FP32_VARIANT")
        if name in every
        else found
        for name in bounds
        for found in unknown_gates({name: ""}, known, "--gate")
    ]
    if findings:
        raise from_findings(findings)
    about = read_variant(variant)
    refuse_unproven(about, str(variant), accept)
    options = ValidateOptions(
        metric=metric, gates=bounds, output=output, seconds=seconds, accept=accept
    )
    samples = _samples(evaluation, root, about, options)
    same = folder is not None and read_variant(folder).digest == about.digest
    job = Job(
        name=variant.name,
        folder=variant,
        variant=about,
        device=device,
        threads=threads,
        samples=samples,
        metric=_metric(metric, root),
        options=options,
        gates=bounds,
        source=source_outputs(root / source, samples, evaluation, root, events) if source else None,
        no_source="no source model was named (--source MODEL)",
        fp32=variant if same else folder,
        no_fp32="no fp32 form was named (--source FOLDER)",
    )
    evidence, _ = _measured(job, events)
    return enforce({"variant": str(variant), **summary(evidence, bounds)})


def _project_job(context: StageContext, target: Target, options: ValidateOptions) -> Job:
    from edgeops.core.verdicts import gates_of
    from edgeops.validate.source import source_outputs

    project, root = context.project, context.root
    folder = context.path(final_variant(project, target.name))
    reference = context.path(converted(target.name))
    about, before = read_variant(folder), read_variant(reference)
    refuse_unproven(about, str(folder), options.accept)
    evaluation = _evaluation(project)
    samples = _samples(evaluation, root, about, options)
    model = context.path(project.model)
    fp32 = before.precision == "fp32"
    same = fp32 and before.digest == about.digest
    return Job(
        name=target.name,
        folder=folder,
        variant=about,
        device=target.device,
        threads=target.threads,
        samples=samples,
        metric=_metric(options.metric, root),
        options=options,
        gates=gates_of(project, target),
        source=source_outputs(model, samples, evaluation, root, context.events),
        fp32=folder if same else reference if fp32 else None,
        no_fp32=f"convert made {before.precision}, so there is no fp32 form on this engine",
    )


def _measured(job: Job, events: Events) -> tuple[Evidence, Measured | None]:
    """Measure a job on its device and judge it; what is accepted unproven is not measured."""
    if unproven := str(job.variant.extra.get("unproven", "")):
        return _unmeasured(job, unproven), None
    from edgeops.validate.accuracy import evaluate
    from edgeops.validate.figures import cost_figures, details, notes
    from edgeops.validate.measured import PROCESSES, bench, device

    label = f"{job.name} on {job.device}"
    if job.source is not None:
        # What does not fit the metric shows here, before time is spent on measuring.
        evaluate(job.source, job.samples.labels, job.metric, output=job.options.output, rounds=0)
    with (
        device(job.device) as reached,
        bench(
            reached, job.samples, threads=job.threads, timeout_s=job.options.timeout
        ) as measuring,
    ):
        about = reached.probe()
        events.step(f"measuring {label}", total=PROCESSES)
        measured = measuring.measure(job.folder, seconds=job.options.seconds, events=events)
        figures = _scored(job, measured, events)
        figures |= cost_figures(measured, job.variant.bytes)
        trials = _paired(job, measuring, figures, events)
    for name in ("latency_p50_ms", "latency_vs_fp32", "peak_rss_mb", "model_mb"):
        value = figures[name].value
        if value is not None:
            events.figure(name, value)
    return _evidence(
        job,
        measured.answers[0]["engine_version"],
        figures,
        {"device": about, "notes": notes(measured, figures), "extra": details(measured, trials)},
    ), measured


def _unmeasured(job: Job, reason: str) -> Evidence:
    from edgeops.validate.figures import names, unmeasured

    figures = unmeasured(names(job.metric.name), reason, job.variant.bytes)
    notes = (f"nothing proves this variant: {reason}", f"accepted: {job.options.accept}")
    about = {"device": {"name": job.device}, "notes": notes}
    return _evidence(job, job.variant.engine_version, figures, about)


def _scored(job: Job, measured: Measured, events: Events) -> dict[str, Figure]:
    from edgeops.validate.figures import AGREEMENT, accuracy_figures

    figures = accuracy_figures(
        measured, job.source, job.samples.labels, job.metric, job.options.output
    )
    for name, figure in figures.items():
        if figure.value is not None:
            events.figure(name, figure.value)
    for name in (f"{job.metric.name}_drop", AGREEMENT):
        figures.setdefault(name, Figure(None, absent=job.no_source))
    return figures


def _paired(
    job: Job, measuring: Bench, figures: dict[str, Figure], events: Events
) -> list[dict[str, Any]]:
    """Add ``latency_vs_fp32`` to the figures and return its trials."""
    from edgeops.validate.figures import RATIO, paired_figure, same_bytes

    if job.fp32 is None:
        figures[RATIO] = Figure(None, noisy=True, absent=job.no_fp32)
        return []
    if job.fp32 == job.folder:
        figures[RATIO] = same_bytes()
        return []
    events.step(f"comparing {job.name} with its fp32 form, in pairs")
    trials = measuring.pair(job.folder, job.fp32, seconds=job.options.seconds)
    figures[RATIO] = paired_figure(trials)
    return trials


def _evidence(
    job: Job, engine_version: str, figures: dict[str, Figure], about: dict[str, Any]
) -> Evidence:
    from edgeops.core.verdicts import verdicts

    data = {
        "source": job.samples.source,
        "digest": job.samples.digest,
        "samples": job.samples.count,
    }
    return Evidence(
        target=job.name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        engine=job.variant.engine,
        engine_version=engine_version,
        precision=job.variant.precision,
        threads=job.threads,
        model=job.variant.source,
        variant=job.variant.digest,
        data={"evaluation": data},
        figures=figures,
        gates=verdicts(figures, job.gates),
        **about,
    )


def _samples(evaluation: str, root: Path, about: Variant, options: ValidateOptions) -> Samples:
    from edgeops.project.datasets import samples_for
    from edgeops.validate.measured import first

    return first(samples_for(evaluation, root, about.inputs, labels=True), options.samples)


def _metric(name: str, root: Path) -> Metric:
    from edgeops.validate.metrics import resolve

    return resolve(name, root)


def _parsed(gates: Sequence[str]) -> dict[str, str]:
    """Return bounds by figure from ``accuracy>=0.95``; raises UsageProblem ``gate-option``."""
    try:
        return dict(parse_gate(text) for text in gates)
    except ValueError as error:
        raise UsageProblem(
            "gate-option",
            str(error),
            where="--gate",
            fix="quote it, for the shell takes > as its own: --gate 'accuracy>=0.95'",
        ) from error


def _files_of(evaluation: str | None, metric: str) -> list[str]:
    """Return the files that data and metric come from: a path, or the module of a function."""
    found = []
    for spec in (evaluation or "", metric if ":" in metric else ""):
        module, colon, _ = spec.partition(":")
        found.append(module.replace(".", "/") + ".py" if colon else spec)
    return [path for path in found if path]


def _evaluation(project: Project) -> str:
    from edgeops.validate.preflight import no_evaluation

    if project.data.evaluation:
        return project.data.evaluation
    raise from_findings([no_evaluation(FILE)])
