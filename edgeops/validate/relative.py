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

    def without(self, why: str) -> Figure:
        """Return the figure that could not be measured against it."""
        return Figure(None, absent=self.moot or why, moot=self.moot)


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
    """Return the names of the figures against ``previous``, or else a git revision."""
    if against == PREVIOUS:
        return Names("latency_vs_previous", f"{metric}_drop_vs_previous", "model_mb_vs_previous")
    return Names(
        *(
            str(FigureName(base, REVISION, against))
            for base in ("latency_p50_ms_vs", f"{metric}_drop", "model_mb_vs")
        )
    )


def known(metric: str, *, previous: bool, revisions: bool) -> tuple[str, ...]:
    """Return the names of the relative figures that may be gated, revisions as a form."""
    found = names_of(PREVIOUS, metric).every() if previous else ()
    return (*found, *(names_of("REV", metric).every() if revisions else ()))


def wanted(gates: Iterable[str], metric: str) -> dict[str, Names]:
    """Return what gates ask to compare with, ``previous`` or revisions, and the figures of each."""
    found: dict[str, Names] = {}
    for gate in gates:
        if gate in names_of(PREVIOUS, metric).every():
            found[PREVIOUS] = names_of(PREVIOUS, metric)
        try:
            name = parse_name(gate)
        except ValueError:
            continue
        if name.key == REVISION:
            found[name.value] = names_of(name.value, metric)
    return found


def loss(
    earlier: Earlier,
    metric: Metric,
    now: Mapping[str, Figure],
    kept: Mapping[str, Any],
    data: Mapping[str, Any],
) -> Figure:
    """Return how much worse the metric is than it was measured of the earlier variant.

    ``kept`` are the terms of now, ``data`` the ``{digest, samples}`` they were measured on. Paired
    over samples where both evidences keep terms, else the difference of two exact figures; absent
    where that was on other data.
    """
    from edgeops.validate.accuracy import drop_from_kept

    then = earlier.evidence
    if then is None:
        return earlier.without(earlier.absent or "nothing that was measured of it is there")
    before = then.data.get(_EVALUATION, {})
    if any(before.get(key) != data[key] for key in ("digest", "samples")):
        return earlier.without(f"{earlier.label} was measured on other evaluation data")
    paired = drop_from_kept(dict(then.kept.get("accuracy", {})), dict(kept))
    if paired.value is not None:
        return replace(paired, method=f"{paired.method}; against {earlier.label}")
    old, new = then.figures.get(metric.name), now.get(metric.name)
    if old is None or old.value is None or new is None or new.value is None:
        return earlier.without(f"{metric.name} of {earlier.label} was not measured")
    sign = 1.0 if metric.higher_is_better else -1.0
    method = f"{metric.name} of {earlier.label} less that of now, on the same samples, not paired"
    return Figure(sign * (old.value - new.value), method=method, samples=new.samples)


def size_ratio(earlier: Earlier, now_mb: float, then_bytes: int | None) -> Figure:
    """Return the size of the engine's files over that of the earlier variant's."""
    then = then_bytes / 1e6 if then_bytes else None
    if then is None and earlier.evidence is not None:
        figure = earlier.evidence.figures.get(_SIZE)
        then = figure.value if figure else None
    if not then:
        return earlier.without(earlier.absent or f"the size of {earlier.label} is not known")
    method = f"bytes of the engine's files over those of {earlier.label}"
    return Figure(now_mb / then, method=method, samples=1)
