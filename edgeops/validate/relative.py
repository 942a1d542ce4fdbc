"""What a variant is compared with beside its source: the last published one, or a revision's.

Losses and sizes follow from two evidences and are exact; ratios of times are measured in pairs on
the device and come from there. Everything here works on values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import REVISION, Figure, FigureName, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edgeops.core.contracts import Metric
    from edgeops.core.evidence import Evidence

PREVIOUS = "previous"
_SIZE = "model_mb"
_EVALUATION = "evaluation"


@dataclass(frozen=True)
class Earlier:
    """An earlier variant: where it lies here, what was measured of it, and how it is called.

    ``absent`` says why there is no folder; ``moot`` why there is nothing to compare with at all,
    which no gate holds against a variant.
    """

    label: str
    folder: Path | None = None
    evidence: Evidence | None = None
    absent: str = ""
    moot: str = ""

    def kept(self, metric: str, bytes_: int | None) -> dict[str, Any]:
        """Return what losses and sizes against it follow from, as evidence keeps it.

        ``bytes_`` is the size of its engine's files, None where there is no folder.
        """
        found: dict[str, Any] = {
            "label": self.label,
            "absent": self.absent,
            "moot": self.moot,
            "mb": None if bytes_ is None else bytes_ / 1e6,
            "data": None,
        }
        if self.evidence is None:
            return found | {"value": None, "accuracy": {}}
        value, size = (self.evidence.figures.get(name) for name in (metric, _SIZE))
        if found["mb"] is None and size is not None:
            found["mb"] = size.value
        data = self.evidence.data.get(_EVALUATION, {})
        return found | {
            "data": {name: data.get(name) for name in ("digest", "samples")},
            "value": value.value if value else None,
            "accuracy": dict(self.evidence.kept.get("accuracy") or {}),
        }


@dataclass(frozen=True)
class Names:
    """The figures against one earlier variant: a ratio of times, a loss, a ratio of sizes."""

    latency: str
    drop: str
    size: str

    def every(self) -> tuple[str, str, str]:
        """Return all three."""
        return self.latency, self.drop, self.size


def names_of(against: str, metric: str) -> Names:
    """Return the names of the figures against ``previous``, or a git revision, ``rev=REV``."""
    if against == PREVIOUS:
        return Names("latency_vs_previous", f"{metric}_drop_vs_previous", "model_mb_vs_previous")
    return Names(
        *(
            str(FigureName(base, REVISION, revision_of(against)))
            for base in ("latency_p50_ms_vs", f"{metric}_drop", "model_mb_vs")
        )
    )


def revision_of(against: str) -> str:
    """Return the git revision that ``rev=REV`` names."""
    return against.removeprefix(f"{REVISION}=")


def known(metric: str, *, previous: bool, revisions: bool) -> tuple[str, ...]:
    """Return the names of the relative figures that may be gated, revisions as a form."""
    found = names_of(PREVIOUS, metric).every() if previous else ()
    return (*found, *(names_of(f"{REVISION}=REV", metric).every() if revisions else ()))


def wanted(gates: Iterable[str], metric: str) -> dict[str, Names]:
    """Return what gates ask to compare with, ``previous`` or ``rev=REV``, and the figures of each."""
    found: dict[str, Names] = {}
    for gate in gates:
        try:
            name = parse_name(gate)
        except ValueError:
            continue
        for against in (PREVIOUS, f"{REVISION}={name.value}"):
            names = names_of(against, metric)
            if str(name) in names.every():
                found[against] = names
    return found


def missing(then: Mapping[str, Any], why: str = "") -> Figure:
    """Return the figure that could not be measured against what was ``kept`` of an earlier one."""
    return Figure(None, absent=then["moot"] or why or then["absent"], moot=then["moot"])


def loss(
    then: Mapping[str, Any],
    metric: Metric,
    now: Figure | None,
    kept: Mapping[str, Any],
    data: Mapping[str, Any],
) -> Figure:
    """Return how much worse the metric is than it was measured of an earlier variant.

    ``then`` is ``Earlier.kept``; ``now`` the metric of now, ``kept`` its terms, ``data`` the
    ``{digest, samples}`` it was measured on. Paired over samples where both evidences keep terms,
    else the difference of two exact figures; absent where that was on other data.
    """
    from edgeops.validate.kept import drop_from_kept

    label = then["label"]
    if then["data"] is None:
        return missing(then, "" if then["absent"] else f"no evidence of {label} is there")
    if any(then["data"][name] != data[name] for name in ("digest", "samples")):
        return missing(then, f"{label} was measured on other evaluation data")
    if then["accuracy"] and kept:
        paired = drop_from_kept(then["accuracy"], kept)
        if paired.value is not None:
            return replace(paired, method=f"{paired.method}; against {label}")
        if not same_rule(then["accuracy"], kept):
            return missing(then, paired.absent)
    if then["value"] is None or now is None or now.value is None:
        return missing(then, f"{metric.name} of {label} was not measured")
    sign = 1.0 if metric.higher_is_better else -1.0
    method = f"{metric.name} of {label} less that of now, on the same samples, not paired"
    return Figure(sign * (then["value"] - now.value), method=method, samples=now.samples)


def same_rule(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two evidences' values are of one version of the metric, as far as they say."""
    rules = {one.get("rule"), other.get("rule")} - {None}
    return len(rules) < 2  # noqa: PLR2004 - one against another


def size_ratio(then: Mapping[str, Any], now_mb: float) -> Figure:
    """Return the size of the engine's files over that of the earlier variant's (``then``)."""
    if not then["mb"]:
        label = then["label"]
        return missing(then, "" if then["absent"] else f"the size of {label} is not known")
    method = f"bytes of the engine's files over those of {then['label']}"
    return Figure(now_mb / then["mb"], method=method, samples=1)
