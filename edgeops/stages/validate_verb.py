"""The verb ``validate`` on one variant folder: measured, recorded as a baseline, or replayed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import parse_gate
from edgeops.core.project import FILE
from edgeops.core.variant import read_variant
from edgeops.errors import GateFailed, UsageProblem, from_findings
from edgeops.stages.validate import SECONDS, TIMEOUT_S, ValidateOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.validate.replayed import Player


@dataclass(frozen=True)
class Adhoc:
    """What is measured of one variant folder, and how.

    ``source`` is the ONNX model it was made from, or a folder with its fp32 form; it allows gates
    on ``<metric>_drop``, ``agreement`` and (a folder) ``latency_vs_fp32``. ``previous`` is a
    variant folder that gates may compare with. ``features`` is features.yaml where the data are raw,
    ``rules`` rules.yaml where the metric is of what it answers.
    """

    variant: Path
    root: Path
    evaluation: str = ""
    metric: str = "accuracy"
    gates: Sequence[str] = ()
    source: str = ""
    previous: str = ""
    output: str = ""
    device: str = "local"
    threads: int = 1
    affinity: Sequence[int] = ()
    seconds: float = SECONDS
    samples: int = 0
    timeout: float = TIMEOUT_S
    call_timeout: float = 0.0
    heartbeat: float = 0.0
    preset: str = ""
    sustained: float = 0.0
    accept: str = ""
    features: str = ""
    rules: str = ""

    def options(self) -> ValidateOptions:
        """Return the same as the stage's options; UsageProblem ``gate-option``."""
        return ValidateOptions(
            metric=self.metric,
            gates=parsed(self.gates),
            output=self.output,
            seconds=self.seconds,
            samples=self.samples,
            timeout=self.timeout,
            call_timeout=self.call_timeout,
            heartbeat=self.heartbeat,
            preset="mlperf" if self.preset == "mlperf" else "",
            sustained=self.sustained,
            accept=self.accept,
            rules=self.rules,
        )


def validate_variant(adhoc: Adhoc, *, events: Events) -> dict[str, Any]:
    """Measure one variant folder and judge ad-hoc gates; writes nothing.

    Raises GateFailed or GateInconclusive with the result, InputError ``gate-unknown``,
    UsageProblem ``gate-option``, RefusedError ``variant-unproven`` unless a reason is given.
    """
    from edgeops.core.verdicts import enforce, summary
    from edgeops.stages.validate_job import adhoc_job
    from edgeops.stages.validate_measure import measure
    from edgeops.validate.worst import lines

    options = adhoc.options()
    job = adhoc_job(
        adhoc.variant,
        evaluation=adhoc.evaluation,
        options=options,
        threads=adhoc.threads,
        affinity=adhoc.affinity,
        device=adhoc.device,
        source=adhoc.source,
        previous=adhoc.previous,
        root=adhoc.root,
        events=events,
        features=adhoc.features,
        rules=adhoc.rules,
    )
    outcome = measure(job, events)
    return enforce(
        {
            "variant": str(adhoc.variant),
            **summary(outcome.evidence, options.gates),
            "worst": [one.to_json() for one in outcome.worst],
            "worst_lines": lines(outcome.worst),
        }
    )


def record_baseline(
    adhoc: Adhoc, file: Path, tolerance: float | None, *, events: Events
) -> dict[str, Any]:
    """Record what a variant answers into a baseline file and say what is in it.

    Raises RefusedError ``variant-unproven`` for one that nothing could prove, and what data and
    device raise.
    """
    from edgeops.core.variant import refuse_unproven
    from edgeops.runtime.baseline import write_baseline
    from edgeops.stages.validate_job import samples_of
    from edgeops.validate.preflight import no_evaluation
    from edgeops.validate.replayed import SAMPLES, record

    variant = read_variant(adhoc.variant)
    refuse_unproven(variant, str(adhoc.variant), adhoc.accept)
    if not adhoc.evaluation:
        raise from_findings([no_evaluation(FILE)])
    count = adhoc.samples or SAMPLES
    samples = samples_of(adhoc.evaluation, adhoc.root, variant, count, adhoc.features)
    events.step(f"recording {adhoc.variant.name} on {adhoc.device}")
    with _player(adhoc) as player:
        made = record(variant, adhoc.variant, samples, player, tolerance=tolerance, events=events)
    digest = write_baseline(file, made)
    return {
        "recorded": str(file),
        "digest": digest,
        "variant": variant.digest,
        "samples": made.count,
        "tolerance": made.tolerance,
        "cases": [{"name": case.name, "error": case.error} for case in made.cases],
        "refused": {str(index): code for index, code in made.errors.items()},
        "bytes": file.stat().st_size,
        "device": adhoc.device,
    }


def replay_baseline(
    adhoc: Adhoc, file: Path, tolerance: float | None, *, events: Events
) -> dict[str, Any]:
    """Replay a baseline file on a variant and its device.

    Raises GateFailed ``baseline-differs`` with the result when an output leaves tolerance or an
    expected error does not come, and what reading the file and the device raise.
    """
    from edgeops.runtime.baseline import read_baseline
    from edgeops.validate.replayed import replay

    baseline = read_baseline(file)
    variant = read_variant(adhoc.variant)
    events.step(f"replaying {file.name} on {adhoc.device}")
    with _player(adhoc) as player:
        outcome = replay(
            baseline, variant, adhoc.variant, player, tolerance=tolerance, events=events
        )
    result = {
        "baseline": {
            "file": str(file),
            "digest": baseline.digest,
            **baseline.about,
            "samples": baseline.count,
            "cases": len(baseline.cases),
        },
        "variant": str(adhoc.variant),
        "digest": variant.digest,
        "engine": variant.engine,
        "precision": variant.precision,
        "device": {"name": adhoc.device},
        **outcome,
        "departures": departures(outcome),
        "verdict": "pass" if outcome["passed"] else "fail",
        "target": adhoc.variant.name,
        "gates": _as_gates(outcome, baseline.digest, adhoc.variant.name),
    }
    if not outcome["passed"]:
        raise GateFailed(
            "baseline-differs",
            "the variant does not answer as the baseline does",
            where=str(file),
            why="\n".join(result["departures"]),
            fix="see what changed between the two variants; when the new answers are right, "
            "record the baseline again",
            result=result,
        )
    return result


def _as_gates(outcome: dict[str, Any], digest: str, target: str) -> list[dict[str, Any]]:
    """Return a replay as gates, so that JUnit and whoever reads ``gates`` sees it: one an output."""
    about = {"target": target, "interval": None, "evidence": "", "digest": digest}
    found = []
    for output in outcome["outputs"]:
        first, allowed = output["first"], output["allowed"]
        why = f"{output['left']} samples left tolerance" if first else "no sample left tolerance"
        gate = {"name": output["name"], "bound": f"<= {allowed or 0:g}", "why": why}
        gate |= {"value": (output["worst"] or {}).get("difference")}
        gate |= {"verdict": "fail" if first else "pass", "method": "largest difference"}
        found.append({**about, **gate})
    wrong = len(outcome["errors"]) + len(outcome["cases"])
    gate = {"name": "errors", "bound": "== 0", "value": float(wrong), "method": "counted"}
    gate |= {"verdict": "fail" if wrong else "pass", "why": f"{wrong} outcomes were not expected"}
    return [*found, {**about, **gate}]


def departures(outcome: dict[str, Any]) -> list[str]:
    """Return what left a baseline, a sentence each: the first output, then errors."""
    found = []
    first = outcome["first"]
    if first and first["why"]:
        found.append(f"first: {first['output']} of sample {first['sample']}: {first['why']}")
    elif first:
        place = ", ".join(map(str, first["element"]))
        found.append(
            f"first: {first['output']}[{place}] of sample {first['sample']} is "
            f"{_shown(first['found'])} and not {_shown(first['expected'])}"
        )
    found += [
        f"sample {one['sample']} was {_outcome(one['found'])}, expected was {_outcome(one['expected'])}"
        for one in outcome["errors"]
    ]
    found += [
        f"bad input ({one['case']}) was {_outcome(one['found'])}, "
        f"expected was {_outcome(one['expected'])}"
        for one in outcome["cases"]
    ]
    return found


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _outcome(code: str | None) -> str:
    return f"the error {code}" if code else "answered"


@contextmanager
def _player(adhoc: Adhoc) -> Iterator[Player]:
    from edgeops.validate.measured import device
    from edgeops.validate.replayed import Player

    given = {
        "affinity": list(adhoc.affinity),
        "call_timeout_s": adhoc.call_timeout,
        "heartbeat_s": adhoc.heartbeat,
    }
    stated = {name: value for name, value in given.items() if value}
    with device(adhoc.device) as reached:
        yield Player(reached, adhoc.threads, adhoc.timeout, stated)


def parsed(gates: Sequence[str]) -> dict[str, str]:
    """Return bounds by figure from ``accuracy>=0.95``; raises UsageProblem ``gate-option``."""
    try:
        found = [parse_gate(text) for text in gates]
    except ValueError as error:
        raise UsageProblem(
            "gate-option",
            str(error),
            where="--gate",
            fix="quote it, for the shell takes > as its own: --gate 'accuracy>=0.95'",
        ) from error
    bounds = dict(found)
    if len(bounds) < len(found):
        names = [name for name, _ in found]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageProblem(
            "gate-option",
            f"there are two gates on {twice}, and a figure has one",
            where="--gate",
            why="the first would be judged by nothing",
            fix="name each figure once; for two bounds validate twice, or --replay the evidence",
        )
    return bounds
