"""What validate measures: one variant with everything read and checked before a device is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.core.project import FILE, converted, final_variant
from edgeops.core.variant import read_variant, refuse_unproven
from edgeops.errors import InputError, from_findings
from edgeops.project.once import reading_once
from edgeops.stages.validate_predicting import Surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.contracts import Metric, Samples
    from edgeops.core.events import Events
    from edgeops.core.project import Project, Target
    from edgeops.core.stage import StageContext
    from edgeops.core.variant import Variant
    from edgeops.stages.validate import ValidateOptions
    from edgeops.validate.relative import Earlier


@dataclass(frozen=True)
class Job:
    """One variant to measure.

    ``samples`` are what the model takes, with labels; ``raw`` what the predictor takes, None where
    nothing is ``around`` the model. ``source`` are the outputs of the model it was made from, ``fp32`` the folder of its fp32 form
    on the same engine; ``no_source`` and ``no_fp32`` say why there is none. ``earlier`` is what
    gates compare with beside these: ``previous``, or ``rev=REV``. ``kept`` is the folder where
    what is left of a measurement that broke off is written, None for nowhere. ``binary`` is the
    benchmark tool that measures on a device without Python.
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
    affinity: Sequence[int] = ()
    source: Mapping[str, Any] | None = None
    no_source: str = ""
    fp32: Path | None = None
    no_fp32: str = ""
    earlier: Mapping[str, Earlier] = field(default_factory=dict)
    kept: Path | None = None
    binary: Path | None = None
    around: Surroundings = field(default_factory=Surroundings)
    raw: Samples | None = None


@reading_once()
def project_job(
    context: StageContext, target: Target, options: ValidateOptions, scratch: Path
) -> Job:
    """Return the job of a target; what it is compared with is fetched into ``scratch``.

    Raises InputError ``evaluation-missing``, ``gate-unknown`` or what data and variants raise.
    """
    from edgeops.core.verdicts import gates_of
    from edgeops.stages.validate_earlier import Place, earlier
    from edgeops.stages.validate_predicting import project_surroundings
    from edgeops.validate import relative
    from edgeops.validate.metrics import resolve
    from edgeops.validate.preflight import refuse_unknown
    from edgeops.validate.source import source_outputs

    project, root = context.project, context.root
    folder = context.path(final_variant(project, target.name))
    reference = context.path(converted(target.name))
    about, before = read_variant(folder), read_variant(reference)
    refuse_unproven(about, str(folder), options.accept)
    evaluation = evaluation_of(project)
    finals = {name: context.path(final_variant(project, name)) for name in project.targets}
    around = project_surroundings(project, root, options.rules, finals)
    samples, raw = data_of(evaluation, root, about, options.samples, around)
    if target.binary:
        _refuse_rules(around)
        raw = None
    metric = resolve(options.metric, root)
    gates = gates_of(project, target)
    refuse_unknown(
        gates, metric.name, samples, previous=True, revisions=True, modes=options.modes()
    )
    place = Place(root, project, target, scratch, context.events)
    fp32 = before.precision == "fp32"
    same = fp32 and before.digest == about.digest
    return Job(
        name=target.name,
        folder=folder,
        variant=about,
        device=target.device,
        threads=target.threads,
        affinity=tuple(target.affinity),
        binary=context.path(target.binary) if target.binary else None,
        samples=samples,
        metric=metric,
        options=options,
        gates=gates,
        source=source_outputs(
            context.path(project.model),
            samples,
            evaluation,
            root,
            context.events,
            predicting=(around.chain, raw) if around.rules and raw else None,
            features=project.data.features or "",
        ),
        around=around,
        raw=raw,
        fp32=folder if same else reference if fp32 else None,
        no_fp32=f"convert made {before.precision}, so there is no fp32 form on this engine",
        earlier={name: earlier(name, place) for name in relative.wanted(gates, metric.name)},
        kept=root / ".edgeops" / "partial",
    )


def samples_of(
    evaluation: str, root: Path, about: Variant, count: int, features: str = ""
) -> Samples:
    """Return the first ``count`` labelled samples for a variant, all when 0."""
    from edgeops.project.datasets import samples_for
    from edgeops.validate.measured import first

    return samples_for(
        evaluation,
        root,
        about.inputs,
        labels=True,
        features=features,
        take=lambda whole: first(whole, count),
    )


def data_of(
    evaluation: str, root: Path, about: Variant, count: int, around: Surroundings
) -> tuple[Samples, Samples | None]:
    """Return the labelled samples for a variant, and for the predictor where there is more to it.

    Raises InputError ``rules-malformed`` for rules that do not fit the variant.
    """
    around.check(about)
    from edgeops.project.datasets import load_samples
    from edgeops.project.documents import features_of, raw_samples
    from edgeops.validate.measured import first

    name = around.features.source if around.features else ""
    samples = samples_of(evaluation, root, about, count, name)
    if not around.any:
        return samples, None
    if around.features is None:
        return samples, samples
    raw = raw_samples(load_samples(evaluation, root), features_of(around.features))
    return samples, first(raw, count)


def _refuse_rules(around: Surroundings) -> None:
    """Refuse rules on a device that runs only an engine's own tool; features are made here then."""
    if around.rules is not None:
        raise InputError(
            "rules-no-python",
            "rules cannot be validated with an engine's own benchmark tool",
            where="targets: binary",
            why="the tool runs the model alone, on what the features of this machine made",
            fix="validate on a device with Python, or leave rules out of validate",
        )


def evaluation_of(project: Project) -> str:
    """Return the project's evaluation data; raises InputError ``evaluation-missing``."""
    from edgeops.validate.preflight import no_evaluation

    if project.data.evaluation:
        return project.data.evaluation
    raise from_findings([no_evaluation(FILE)])


@reading_once()
def adhoc_job(
    folder: Path,
    *,
    evaluation: str,
    options: ValidateOptions,
    threads: int,
    affinity: Sequence[int],
    device: str,
    source: str,
    previous: str,
    root: Path,
    events: Events,
    features: str = "",
    rules: str = "",
) -> Job:
    """Return the job of one variant folder that belongs to no project.

    ``source`` is the ONNX model it was made from, or a folder with its fp32 form; ``previous`` a
    variant folder to compare with; ``features`` and ``rules`` are documents. Raises as :func:`project_job`.
    """
    from edgeops.stages.validate_predicting import surroundings
    from edgeops.validate.metrics import resolve
    from edgeops.validate.preflight import refuse_unknown
    from edgeops.validate.relative import PREVIOUS, Earlier
    from edgeops.validate.source import source_outputs

    fp32 = root / source if source and (root / source).is_dir() else None
    about = read_variant(folder)
    refuse_unproven(about, str(folder), options.accept)
    around = surroundings(root, features, rules, {})
    samples, raw = data_of(evaluation, root, about, options.samples, around)
    metric = resolve(options.metric, root)
    refuse_unknown(
        options.gates,
        metric.name,
        samples,
        source=bool(source),
        fp32=fp32 is not None,
        previous=bool(previous),
        modes=options.modes(),
    )
    same = fp32 is not None and read_variant(fp32).digest == about.digest
    if previous:
        read_variant(root / previous)  # what is none shows before time is spent
    return Job(
        name=folder.name,
        folder=folder,
        variant=about,
        device=device,
        threads=threads,
        affinity=tuple(affinity),
        samples=samples,
        metric=metric,
        options=options,
        gates=options.gates,
        source=source_outputs(
            root / source,
            samples,
            evaluation,
            root,
            events,
            predicting=(around.chain, raw) if around.rules and raw else None,
            features=features,
        )
        if source
        else None,
        around=around,
        raw=raw,
        no_source="no source model was named (--source MODEL)",
        fp32=folder if same else fp32,
        no_fp32="no fp32 form was named (--source FOLDER)",
        earlier={PREVIOUS: Earlier(previous, root / previous)} if previous else {},
    )
