"""Compute figures again from what evidence keeps, and see whether they are those it states.

What can be had again: accuracy and losses from the terms of each sample, latency from its sketch,
ratios from their trials, the rest from what each process answered. What cannot is told.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import Figure, judge
from edgeops.errors import InputError, TrustError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.evidence import Evidence
    from edgeops.validate.measured import Measured

# Of each process: what its costs follow from, the single times of calls being in the sketch.
_OF_PROCESS = (
    "load_ms",
    "first_call_ms",
    "cpu_ms_per_call",
    "energy",
    "peak_rss_bytes",
    "peak_rss_source",
    "sustained",
    # Where a benchmark tool answered, what it told is all there is.
    "tool",
    "latency",
    "calls",
    "absent",
)
_MLPERF = "mlperf_p90_ms"
_NOT_KEPT = "the evidence keeps nothing that it follows from"
# The same arithmetic on another processor or numpy may round the last digits otherwise.
_CLOSE = 1e-9


def kept(measured: Measured, bytes_: int) -> dict[str, Any]:
    """Return what evidence keeps of the costs of a variant whose engine's files have ``bytes_``."""
    from edgeops.validate import figures

    return {
        "latency": figures.kept(measured),
        "processes": [
            {name: answer.get(name) for name in _OF_PROCESS if name in answer}
            for answer in measured.answers
        ],
        "unjudged": measured.unjudged,
        "bytes": bytes_,
    }


def mlperf(have: Mapping[str, Any]) -> dict[str, Figure]:
    """Return MLPerf's figure of latency from what is kept."""
    from edgeops.validate.latency import mlperf_figure

    return {_MLPERF: replace(mlperf_figure(have["latency"]), unjudged=str(have["unjudged"]))}


def paired(pair: Mapping[str, Any]) -> Figure:
    """Return the ratio of times that kept trials give; ``label`` says against what, if it must."""
    from edgeops.validate.figures import paired_figure

    figure = paired_figure(pair["trials"])
    if not pair["label"] or figure.value is None:
        return figure
    return replace(figure, method=f"{figure.method}; against {pair['label']}")


def figures_again(evidence: Evidence) -> tuple[dict[str, Figure], dict[str, str]]:
    """Return the figures that follow from what evidence keeps, and why the others do not.

    Raises InputError ``evidence-malformed`` when what is kept cannot be read, and what
    ``kept.figures_from_kept`` raises.
    """
    try:
        found, why = _again(evidence)
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
    ) as error:
        raise InputError(
            "evidence-malformed",
            f"what the evidence of {evidence.target} keeps cannot be read",
            where=evidence.target,
            why=f"{type(error).__name__}: {error}",
            fix="take evidence.json as DVC or the bundle has it, or validate again",
        ) from error
    found = {name: figure for name, figure in found.items() if name in evidence.figures}
    return found, {
        name: why.get(name) or _reason(figure)
        for name, figure in evidence.figures.items()
        if name not in found
    }


def _reason(figure: Figure) -> str:
    """Return why a figure cannot be had again: it is exact by what it says, or nothing was kept."""
    exact = figure.value is not None and not figure.noisy and figure.interval is None
    return figure.method if exact and figure.method else _NOT_KEPT


def _again(evidence: Evidence) -> tuple[dict[str, Figure], dict[str, str]]:
    from edgeops.validate.kept import figures_from_kept

    have = evidence.kept
    found: dict[str, Figure] = {}
    why: dict[str, str] = {}
    accuracy = have.get("accuracy") or {}
    if accuracy:
        found |= figures_from_kept(accuracy)
        metric = str(accuracy["metric"])
        if "absent" in accuracy:
            for name in evidence.figures:
                if name.partition("[")[0] in (metric, f"{metric}_drop", "agreement"):
                    why[name] = str(accuracy["absent"])
    if "processes" in have:
        found |= {**_costs(have), **mlperf(have)}
    for name, pair in (have.get("pairs") or {}).items():
        found[name] = paired(pair)
    found |= _relative(evidence, found)
    return found, why


def _costs(have: Mapping[str, Any]) -> dict[str, Figure]:
    from edgeops.validate.figures import cost_figures
    from edgeops.validate.latency import figures_from_sketch
    from edgeops.validate.measured import Measured
    from edgeops.validate.told import is_told

    unjudged = str(have["unjudged"])
    answers = tuple({**answer, "latency_ns": []} for answer in have["processes"])
    found = cost_figures(Measured(answers, {}, unjudged), int(have["bytes"]))
    if is_told(answers) and not have["latency"]["calls"]:
        return found
    times = figures_from_sketch(have["latency"])
    return found | {name: replace(one, unjudged=unjudged) for name, one in times.items()}


def _relative(evidence: Evidence, found: Mapping[str, Figure]) -> dict[str, Figure]:
    from edgeops.core import registry
    from edgeops.validate import relative

    earlier = evidence.kept.get("earlier") or {}
    accuracy = evidence.kept.get("accuracy") or {}
    if not earlier or accuracy.get("metric") not in registry.names("metrics"):
        return {}
    metric = registry.get("metrics", str(accuracy["metric"]))
    data = evidence.data["evaluation"]
    own: dict[str, Figure] = {}
    for against, then in earlier.items():
        names = relative.names_of(against, metric.name)
        size = found["model_mb"].value or 0.0
        own[names.size] = relative.size_ratio(then, size)
        now = found.get(metric.name, evidence.figures.get(metric.name))
        own[names.drop] = relative.loss(then, metric, now, accuracy, data)
    return own


def check(evidence: Evidence, where: str) -> tuple[list[str], dict[str, str]]:
    """Return the figures that were computed again, and why the others were taken as they stand.

    Raises TrustError ``evidence-edited`` when a figure comes out otherwise, or a verdict does not
    follow from its figure, and as :func:`figures_again`.
    """
    again, as_recorded = figures_again(evidence)
    wrong = [
        f"{name} is stated as {_shown(evidence.figures[name])}, what is kept gives {_shown(figure)}"
        for name, figure in again.items()
        if not same(evidence.figures[name], figure)
    ]
    for gate in evidence.gates:
        figure = evidence.figures.get(gate.name, Figure(None))
        word = _verdict(gate.name, gate.bound, figure)
        if (gate.verdict, gate.value, gate.interval) != (word, figure.value, figure.interval):
            wrong.append(f"the gate {gate.name} says {gate.verdict}, its figure says {word}")
    strange = [gate.name for gate in evidence.gates if gate.digest not in ("", evidence.digest)]
    if strange:
        wrong.append(f"it is not the evidence that {', '.join(strange)} were judged on")
    if wrong:
        raise TrustError(
            "evidence-edited",
            f"the evidence of {evidence.target} does not follow from what it keeps",
            where=where,
            why="\n".join(wrong),
            fix="do not rely on it: take evidence.json as DVC or the bundle has it, "
            "or validate again",
        )
    return sorted(again), as_recorded


def _verdict(name: str, bound: str, figure: Figure) -> str:
    try:
        return judge(name, bound, figure).verdict
    except ValueError as error:
        return f"nothing, for {error}"


def same(stated: Figure, again: Figure) -> bool:
    """Return whether two figures say the same, whatever words they use for how."""
    one, other = (
        (figure.noisy, bool(figure.unjudged), bool(figure.moot), figure.interval is None)
        for figure in (stated, again)
    )
    numbers = zip(
        (stated.value, *(stated.interval or ())),
        (again.value, *(again.interval or ())),
        strict=False,
    )
    return one == other and all(_close(left, right) for left, right in numbers)


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=1e-12)


def _shown(figure: Figure) -> str:
    if figure.value is None:
        return "absent"
    low, high = figure.interval or (None, None)
    between = "" if low is None else f" in [{low:.6g}, {high:.6g}]"
    return f"{figure.value:.6g}{between}"
