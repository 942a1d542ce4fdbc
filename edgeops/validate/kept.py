"""What evidence keeps of each sample, and the figures of accuracy again from that alone.

Kept are the terms (or the essence) of each side, which samples agree, and the slices, as long as
that is small: evidence goes into every bundle. With the seed and the version of the metric's rule
the same figures follow, to the last bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.core.gates import Figure
from edgeops.errors import InputError
from edgeops.validate.accuracy import Case, case_figures, loss
from edgeops.validate.bootstrap import HasTerms, HasWeights, Terms, Weights
from edgeops.validate.packed import MISFITS, decode, decode_slices, encode, encode_slices, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Metric
    from edgeops.validate.bootstrap import Form

FORMAT = "edgeops.kept/1"
# Of text in evidence.json: right or wrong of 700,000 samples, or the errors of 12,000.
MOST_CHARACTERS = 256 * 1024
_MOST_ROUNDS = 10_000
_TERMS = "terms"


def keep(case: Case, metric: Metric) -> dict[str, Any]:
    """Return what evidence keeps of a case as JSON, or its name with the reason in ``absent``."""
    about = {
        "format": FORMAT,
        "metric": case.metric,
        "rule": getattr(metric, "rule", 1),
        "seed": case.seed,
        "rounds": case.rounds,
        "samples": case.form.samples,
    }
    if isinstance(case.form, Terms):
        sides: list[Mapping[str, Any]] = [{_TERMS: terms} for terms in case.form.sides]
    elif isinstance(case.form, Weights):
        sides = list(case.form.sides)
    else:
        return about | {"absent": f"{case.metric} does not follow from a few numbers a sample"}
    if case.metric not in registry.names("metrics"):
        return about | {
            "absent": f"{case.metric} is not registered, so nothing could weigh it again"
        }
    packed = [{name: encode(array) for name, array in side.items()} for side in sides]
    slices = encode_slices(case.slices)
    agreed = None if case.agreed is None else encode(case.agreed)
    length = sum(size(one) for side in packed for one in side.values())
    length += sum(size(one["index"]) for one in slices.values()) + (size(agreed) if agreed else 0)
    if length > MOST_CHARACTERS:
        reason = f"what {case.metric} follows from takes {length} characters"
        return about | {"absent": f"{reason}, more than the {MOST_CHARACTERS} that are kept"}
    return about | {
        "compared": case.compared,
        "sides": packed,
        "agreed": agreed,
        "agreed_how": case.agreed_how,
        "no_source": case.no_source,
        "slices": slices,
    }


def figures_from_kept(kept: Mapping[str, Any]) -> dict[str, Figure]:
    """Return every figure that ``accuracy.scored`` gave, from what evidence kept.

    Empty where nothing was kept (``absent`` says why). Raises InputError ``kept-malformed``,
    ``kept-rule`` when the metric computes something else by now, MissingError ``plugin-unknown``.
    """
    if "absent" in kept:
        return {}
    try:
        return case_figures(_case(kept))
    except MISFITS as error:
        raise _malformed(f"{type(error).__name__}: {error}") from error


def drop_from_kept(before: Mapping[str, Any], after: Mapping[str, Any]) -> Figure:
    """Return what the device of ``after`` loses against that of ``before``, paired by sample.

    Both must have been measured on the same data, which the caller compares by its digest. Absent
    with the reason where they cannot be paired. Raises as ``figures_from_kept`` does.
    """
    for one, which in ((before, "earlier"), (after, "later")):
        if "absent" in one:
            return Figure(None, absent=f"the {which} evidence keeps no samples: {one['absent']}")
    different = [
        name for name in ("metric", "rule", "samples") if before.get(name) != after.get(name)
    ]
    if different:
        pairs = ", ".join(f"{name} {before.get(name)} and {after.get(name)}" for name in different)
        return Figure(None, absent=f"the two evidences differ: {pairs}")
    try:
        cases = [_case(one) for one in (before, after)]
        case = replace(cases[1], form=_paired(cases[0], cases[1]), compared=True, slices={})
        return loss(case)
    except MISFITS as error:
        raise _malformed(f"{type(error).__name__}: {error}") from error


def _paired(before: Case, after: Case) -> Form:
    one, other = (case.form.side(1) if case.compared else case.form for case in (before, after))
    if isinstance(one, Terms) and isinstance(other, Terms):
        return Terms((*one.sides, *other.sides), other.combine)
    if isinstance(one, Weights) and isinstance(other, Weights):
        return Weights((*one.sides, *other.sides), other.metric, other.samples)
    message = "one keeps terms and the other does not"
    raise ValueError(message)


def _case(kept: Mapping[str, Any]) -> Case:
    """Return the case; raises one of ``MISFITS`` for what ``keep`` did not write."""
    if kept["format"] != FORMAT:
        message = f"format is {kept['format']!r}, this edgeops reads {FORMAT!r}"
        raise ValueError(message)
    metric: Metric = registry.get("metrics", str(kept["metric"]))
    _same_rule(metric, kept)
    samples, rounds = int(kept["samples"]), int(kept["rounds"])
    sides = [{str(name): decode(one) for name, one in side.items()} for side in kept["sides"]]
    compared = bool(kept["compared"])
    agreed = None if kept["agreed"] is None else decode(kept["agreed"]).astype(bool)
    if len(sides) != 1 + compared or not 0 <= rounds <= _MOST_ROUNDS:
        message = f"{len(sides)} sides, {rounds} rounds"
        raise ValueError(message)
    if agreed is not None and agreed.shape != (samples,):
        message = f"{agreed.shape} samples agree, of {samples}"
        raise ValueError(message)
    return Case(
        metric.name,
        metric.higher_is_better,
        _form(metric, sides, samples),
        compared,
        agreed,
        str(kept["agreed_how"]),
        str(kept["no_source"]),
        decode_slices(kept["slices"], samples),
        rounds,
        int(kept["seed"]),
    )


def _form(metric: Metric, sides: list[dict[str, Any]], samples: int) -> Form:
    arrays = [array for side in sides for array in side.values()]
    if isinstance(metric, HasTerms) and all(list(side) == [_TERMS] for side in sides):
        if any(array.ndim != 2 or len(array) != samples or not array.size for array in arrays):  # noqa: PLR2004 - samples and columns
            message = f"the terms are not of {samples} samples"
            raise ValueError(message)
        return Terms(tuple(side[_TERMS] for side in sides), metric.combine)
    # Weights are made for so many samples: never for more than some array has.
    if isinstance(metric, HasWeights) and samples in {len(array) for array in arrays if array.ndim}:
        return Weights(tuple(sides), metric, samples)
    message = f"{metric.name} does not follow from {', '.join(sides[0])}"
    raise ValueError(message)


def _same_rule(metric: Metric, kept: Mapping[str, Any]) -> None:
    rule = getattr(metric, "rule", 1)
    if rule != kept["rule"]:
        raise InputError(
            "kept-rule",
            f"the evidence was made by another rule of {metric.name}",
            where="kept",
            why=f"it is version {kept['rule']}, this edgeops computes version {rule}",
            fix="judge it with the edgeops that made it, or validate again",
        )


def _malformed(why: str) -> InputError:
    return InputError(
        "kept-malformed",
        "what the evidence keeps of each sample cannot be read",
        where="kept",
        why=why,
        fix="validate again: edgeops run validate --force",
    )
