"""A metric over a whole data set and its slices, and how much one variant loses against another.

Intervals are 95 % percentile bootstraps over samples, with a fixed seed. That of a drop is paired:
both variants are resampled with the same samples, which is what makes it narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import Figure
from edgeops.errors import EdgeopsError, InputError
from edgeops.validate import slices as parts_of
from edgeops.validate.bootstrap import ROUNDS, Form, Terms, interval, prepare
from edgeops.validate.scores import class_ids, class_labels, class_output, named_output, same_kind
from edgeops.validate.scores import relative_difference as difference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Metric

AGREEMENT = "agreement"
# How far, of its norm, a sample's answer may be from the source's and still be called the same.
TOLERANCE = 0.05
_SAME_CLASS = "share of samples with the class that the source model names"
_SAME_VALUES = (
    f"share of samples whose outputs are within {TOLERANCE:.0%} of the source model's, "
    "by the norm of the difference"
)


@dataclass(frozen=True)
class Scored:
    """All figures of accuracy, what evidence keeps of them, and what a person should know."""

    figures: dict[str, Figure]
    kept: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """What figures follow from: one or two sides, the device's last, and how both agree.

    ``agreed`` is ``[samples]`` of True and False, with its ``agreed_how``; ``no_source`` says why
    there is nothing to compare with. Everything in it can be kept and had again.
    """

    metric: str
    higher_is_better: bool
    form: Form
    compared: bool
    agreed: Any = None
    agreed_how: str = ""
    no_source: str = ""
    slices: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = ROUNDS
    seed: int = 0


def evaluate(
    outputs: Mapping[str, Any],
    labels: Any,
    metric: Metric,
    *,
    output: str = "",
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Figure:
    """Return the metric over all samples with its interval.

    ``outputs`` are arrays by output name, first axis = samples, as ``labels``; ``output`` names the
    one that counts, else the rule of ``edgeops.validate.scores`` finds it. ``rounds=0`` leaves the
    interval out. A value that is not finite is absent, with the reason. Raises InputError when
    outputs or labels do not fit the metric.
    """
    form = prepare(metric, (named_output(outputs, output),), labels)
    return _value(Case(metric.name, metric.higher_is_better, form, False, rounds=rounds, seed=seed))


def drop(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    labels: Any,
    metric: Metric,
    *,
    output: str = "",
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Figure:
    """Return how much worse ``after`` is than ``before``, with its paired interval.

    Positive is a loss whichever way the metric points. Arguments and errors as ``evaluate``.
    """
    pair = (named_output(before, output), named_output(after, output))
    form = prepare(metric, pair, labels)
    return loss(Case(metric.name, metric.higher_is_better, form, True, rounds=rounds, seed=seed))


def agreement(before: Mapping[str, Any], after: Mapping[str, Any], *, output: str = "") -> Figure:
    """Return the share of samples for which both name the same class.

    Raises InputError when the outputs hold no classes.
    """
    return _agreement(_same_class(before, after, output), _SAME_CLASS, ROUNDS, 0)


def scored(
    outputs: Mapping[str, Any],
    labels: Any,
    metric: Metric,
    *,
    source: Mapping[str, Any] | None = None,
    no_source: str = "",
    output: str = "",
    slices: Mapping[str, Any] | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Scored:
    """Return every figure of accuracy that outputs, labels and the source's outputs give.

    ``<metric>``, ``<metric>_drop`` and ``agreement``, and the first two for each slice of
    ``slices`` (arrays ``[samples]`` by key). Without ``source`` what compares is absent because of
    ``no_source``. Raises InputError when outputs or labels do not fit the metric.
    """
    from edgeops.validate.kept import keep

    chosen = named_output(outputs, output)
    sides = (chosen,) if source is None else (named_output(source, output), chosen)
    agreed, how = None, ""
    if source is not None:
        agreed, how = agreed_samples(source, outputs, labels, metric, output=output)
    case = Case(
        metric.name,
        metric.higher_is_better,
        prepare(metric, sides, labels),
        source is not None,
        agreed,
        how,
        no_source,
        slices or {},
        rounds,
        seed,
    )
    figures = case_figures(case)
    absent = [name for name, figure in figures.items() if "[" in name and figure.absent]
    undefined = (f"without a figure, see why: {', '.join(absent)}",) if absent and source else ()
    return Scored(figures, keep(case, metric), (*parts_of.notes(case.slices), *undefined))


def agreed_samples(
    source: Mapping[str, Any],
    outputs: Mapping[str, Any],
    labels: Any,
    metric: Metric,
    *,
    output: str = "",
) -> tuple[Any, str]:
    """Return for which samples both answers are the same, ``[samples]``, and what that means.

    The same class where the metric is one of classes, or an own one and the labels are classes;
    else values within ``TOLERANCE``. Raises InputError ``output-unknown``.
    """
    if names_classes(metric, labels):
        try:
            return _same_class(source, outputs, output), _SAME_CLASS
        except InputError:
            pass  # no classes after all: the values are compared
    return difference(source, outputs, output=output) <= TOLERANCE, _SAME_VALUES


def names_classes(metric: Metric | None, labels: Any) -> bool:
    """Return whether answers are to be compared by their class, as far as metric and labels say."""
    needs = getattr(metric, "needs", "any")
    if needs != "any":
        return bool(needs == "classes")
    try:
        class_labels(labels, len(labels))
    except (InputError, TypeError):
        return labels is None
    return True


def figures_from_kept(kept: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the figures again from what ``scored`` kept; see ``edgeops.validate.kept``."""
    from edgeops.validate.kept import figures_from_kept as again

    return again(kept)


def drop_from_kept(before: Mapping[str, Any], after: Mapping[str, Any]) -> Figure:
    """Return the paired loss between two evidences; see ``edgeops.validate.kept``."""
    from edgeops.validate.kept import drop_from_kept as again

    return again(before, after)


def case_figures(case: Case) -> dict[str, Figure]:
    """Return all figures of a case, by name."""
    lost = f"{case.metric}_drop"
    missing = Figure(None, absent=case.no_source or "there is no source model to compare with")
    figures = {case.metric: _value(case), lost: loss(case) if case.compared else missing}
    if case.agreed is None:
        figures[AGREEMENT] = missing
    else:
        figures[AGREEMENT] = _agreement(case.agreed, case.agreed_how, case.rounds, case.seed)
    for part, rows in parts_of.parts(case.slices).items():
        figures[parts_of.name(case.metric, part)] = _value(case, rows)
        figures[parts_of.name(lost, part)] = loss(case, rows) if case.compared else missing
    return figures


def loss(case: Case, rows: Any = None) -> Figure:
    """Return how much worse the last side is than the first, of the chosen samples."""
    sign = 1.0 if case.higher_is_better else -1.0
    what = f"{case.metric} before less after, paired"
    return _figure(case, case.form, lambda both: sign * (both[0] - both[1]), what, rows)


def _value(case: Case, rows: Any = None) -> Figure:
    form = case.form.side(1) if case.compared else case.form
    return _figure(case, form, lambda one: one[0], case.metric, rows)


def _figure(case: Case, form: Form, figure: Any, what: str, rows: Any) -> Figure:
    samples = form.samples if rows is None else int(rows.sum())
    try:
        value = float(figure(form.values(rows))) + 0.0  # no loss is 0, not -0
        if not math.isfinite(value):
            reason = f"{case.metric} came out as no finite number"
            return Figure(None, absent=reason, samples=samples)
        spread = interval(form, figure, rounds=case.rounds, seed=case.seed, rows=rows)
    except EdgeopsError as error:
        if rows is None:
            raise
        # A slice may be too small for what the metric needs, as one class alone is for an area.
        return Figure(None, absent=f"{error.what}: {error.why}", samples=samples)
    return Figure(value, spread, method=_method(what, spread), samples=samples)


def _agreement(agreed: Any, how: str, rounds: int, seed: int) -> Figure:
    form = Terms((agreed.astype(float)[:, None],), lambda means: means[..., 0])
    spread = interval(form, lambda one: one[0], rounds=rounds, seed=seed)
    return Figure(form.values()[0], spread, method=how, samples=len(agreed))


def _same_class(before: Mapping[str, Any], after: Mapping[str, Any], output: str) -> Any:
    sides = [class_output(named_output(side, output))[1] for side in (before, after)]
    one, other = (class_ids(array) for array in sides)
    same_kind(one, other)
    return one == other


def _method(what: str, spread: tuple[float, float] | None) -> str:
    return what if spread is None else f"{what}; 95 % bootstrap over samples"
