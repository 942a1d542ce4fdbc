"""The validate stage: measure a variant on its device and judge the gates.

The stage succeeds whatever the verdict: a measurement is a result, worth caching and pushing.
What may ship is decided from its evidence, by ``publish`` and by the exit codes of ``run`` and
``validate``. What is measured is gathered by ``validate_job`` and ``validate_earlier``, and
measured by ``validate_measure``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from edgeops.core.evidence import write_evidence
from edgeops.core.files import canonical_json, folder_atomic
from edgeops.core.project import converted, evidence_file, final_variant, reports
from edgeops.core.stage import (
    Out,
    Plot,
    StageContext,
    StageInfo,
    StagePlan,
    StageResult,
    one_target,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.core.project import Project, Target
    from edgeops.errors import Finding

WORST = ("worst.json", "worst.svg")
LABELS = ("labels.txt", "labels.json")
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
    rules: str = field(
        default="",
        metadata={
            "help": "rules.yaml, when the metric is of what it answers; the model's outputs else."
        },
    )
    samples: int = field(
        default=0, metadata={"help": "Evaluate only so many samples, from the first; 0 is all."}
    )
    timeout: float = field(
        default=TIMEOUT_S, metadata={"help": "Seconds after which a measuring process is ended."}
    )
    call_timeout: float = field(
        default=0.0,
        metadata={"help": "Seconds after which one call of the model counts as hung; 0 is never."},
    )
    heartbeat: float = field(
        default=0.0,
        metadata={
            "help": "Seconds of silence after which a device ends what was begun on it; "
            "0 is what suits the device."
        },
    )
    preset: Literal["", "mlperf"] = field(
        default="",
        metadata={"help": "mlperf: at least 1,024 queries and 60 seconds, as its single stream."},
    )
    sustained: float = field(
        default=0.0,
        metadata={"help": "Go on for so many seconds and say how the times drift; 0 is not to."},
    )
    accept: str = field(
        default="", metadata={"help": "Why to go on with a variant that nothing could prove."}
    )

    def __post_init__(self) -> None:
        stated = (self.seconds, self.timeout, self.call_timeout, self.heartbeat, self.sustained)
        if not all(map(math.isfinite, stated)):
            raise ValueError("seconds, timeouts, heartbeat and sustained are finite numbers")
        if not self.seconds > 0 or not self.timeout > 0:
            raise ValueError("seconds and timeout are more than 0")
        if min(self.samples, self.call_timeout, self.heartbeat, self.sustained) < 0:
            raise ValueError("samples, call_timeout, heartbeat and sustained are not negative")

    def modes(self) -> tuple[str, ...]:
        """Return the figures that only some ways of measuring give."""
        drift = ("latency_drift",) if self.sustained else ()
        return (*drift, "mlperf_p90_ms") if self.preset else drift


class Validate:
    """Measures each target's variant and judges the gates."""

    info = StageInfo("validate", "Measure a variant on its device and judge the gates.")
    Options = ValidateOptions

    def plan(self, project: Project, target: Target | None, options: ValidateOptions) -> StagePlan:
        """Return variants, model and evaluation data as deps, the report's files as outs."""
        target = one_target(target)
        deps = [final_variant(project, target.name), converted(target.name), project.model]
        deps += _files_of(project.data.evaluation, options.metric)
        deps += [path for path in (project.data.features, options.rules) if path]
        if options.rules:
            # Variants of other targets that rules ask are no deps: all targets share one DVC stage.
            # Evidence names them, and pack holds them against what it packs.
            pack = project.stage_using("pack")
            included = getattr(pack.options, "include", ()) if pack else ()
            deps += [path for path in included if path in LABELS]
        # Those of all targets, for one DVC stage stands for all of them.
        deps += sorted({each.binary for each in project.targets.values() if each.binary})
        folder = reports(target.name)
        spec = project.stage_using("validate")
        params = [f"stages.{spec.name}.{key}" for key in spec.given] if spec else []
        return StagePlan(
            deps=tuple(dict.fromkeys(deps)),
            outs=(
                Out(evidence_file(target.name)),
                *(Out(f"{folder}/{name}") for name in WORST),
            ),
            metrics=(f"{folder}/metrics.json",),
            plots=(
                Plot(
                    f"{folder}/latency.csv", "percentile", "latency_ms", title="Latency quantiles"
                ),
            ),
            params=(
                *params,
                f"targets.{target.name}",
                "data.evaluation",
                *(["data.features"] if "data.features" in project.given else []),
            ),
        )

    def preflight(
        self, root: Path, project: Project, target: Target | None, options: ValidateOptions
    ) -> Sequence[Finding]:
        """Return gates on nothing, a metric that is not there, and data that cannot serve."""
        from edgeops.stages.validate_earlier import revision_problem
        from edgeops.stages.validate_predicting import document_problems
        from edgeops.validate.preflight import findings

        wrong = document_problems(root, project, options.rules)
        if wrong:
            return wrong  # the data cannot be read without features
        return findings(root, project, one_target(target), options, revision_problem)

    def run(self, context: StageContext, options: ValidateOptions) -> StageResult:
        """Measure the target's variant; the report's folder is written whole or left as it was."""
        from edgeops.core.verdicts import flat
        from edgeops.stages.validate_job import project_job
        from edgeops.stages.validate_measure import measure
        from edgeops.validate import worst
        from edgeops.validate.figures import latency_csv

        target = one_target(context.target)
        with TemporaryDirectory(prefix="edgeops-validate-") as scratch:
            job = project_job(context, target, options, Path(scratch))
            outcome = measure(job, context.events)
        evidence = outcome.evidence
        with folder_atomic(context.path(reports(target.name))) as folder:
            write_evidence(folder / "evidence.json", evidence)
            (folder / "metrics.json").write_bytes(canonical_json(flat(evidence.figures)))
            (folder / "latency.csv").write_bytes(latency_csv(outcome.measured))
            worst.write(folder, outcome.worst, job.samples)
        return StageResult(flat(evidence.figures), evidence.notes)


def _files_of(evaluation: str | None, metric: str) -> list[str]:
    """Return the files that data and metric come from: a path, or the module of a function."""
    found = []
    for spec in (evaluation or "", metric if ":" in metric else ""):
        module, colon, _ = spec.partition(":")
        found.append(module.replace(".", "/") + ".py" if colon else spec)
    return [path for path in found if path]
