"""Which recipe to try next, and which one to keep: a rule over values, no model in sight.

The rungs go from the most to the least that is quantized. The first whose loss is within the
budget is kept. A rung that failed by far (``FAR``) shows that its operators are the trouble and
not their ranges, so the rungs that only change the calibration of the same operators wait until
all others were tried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeops.quantize.calibrate import Method
    from edgeops.quantize.schemes import Scheme

Operators = Literal["all", "compute"]
# A loss beyond this much, and beyond five budgets, is not mended by another calibration.
FAR = 0.1
_FAR_BUDGETS = 5.0
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Rung:
    """One recipe: ``spared`` is the share of quantized nodes kept in float, the worst first."""

    scheme: Scheme
    operators: Operators = "all"
    calibration: Method | None = None
    spared: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What came of a rung.

    ``loss`` is what is held against the budget: the drop of the metric, or without one the share
    of answers that changed; infinite when the model could not be made or run, and ``why`` says so.
    ``same_as`` numbers (from 0) the earlier try that made the very same model.
    """

    rung: Rung
    loss: float
    bytes: int = 0
    seconds: float = 0.0
    metric: float | None = None
    drop: float | None = None
    interval: tuple[float, float] | None = None
    agreement: float | None = None
    excluded: tuple[str, ...] = ()
    same_as: int | None = None
    why: str = ""
    accepted: bool = False
    pareto: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the try as it stands in ``tried`` of the result."""
        return {
            "scheme": self.rung.scheme,
            "calibration": self.rung.calibration,
            "operators": self.rung.operators,
            "excluded": list(self.excluded),
            "loss": self.loss if math.isfinite(self.loss) else None,
            "metric": self.metric,
            "drop": self.drop,
            "interval": list(self.interval) if self.interval else None,
            "agreement": self.agreement,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "pareto": self.pareto,
            "accepted": self.accepted,
            "same_as": self.same_as,
            "why": self.why,
        }


@dataclass(frozen=True)
class Climb:
    """All tries in the order they were made; ``accepted`` is the last of them or None."""

    tried: tuple[Outcome, ...]

    @property
    def accepted(self) -> Outcome | None:
        """The try that is kept."""
        return next((outcome for outcome in self.tried if outcome.accepted), None)


def rungs(scheme: Scheme, methods: Sequence[Method]) -> tuple[Rung, ...]:
    """Return the ladder of a scheme; ``methods`` are the calibrations to try, in order."""
    if scheme != "static":
        return Rung(scheme), Rung(scheme, "compute")
    first = methods[0]
    return (
        *(Rung("static", "all", method) for method in methods),
        *(Rung("static", "compute", method) for method in methods),
        Rung("static", "all", first, 0.25),
        Rung("static", "compute", first, 0.25),
        Rung("static", "compute", first, 0.5),
        Rung("static", "compute", first, 0.75),
    )


def climb(ladder: Sequence[Rung], budget: float, try_rung: Callable[[Rung], Outcome]) -> Climb:
    """Try rungs until one loses at most ``budget``; each at most once.

    ``try_rung`` makes and judges one; its ``accepted`` and ``pareto`` are set here.
    """
    tried: list[Outcome] = []
    while (rung := following(ladder, tried, budget)) is not None:
        outcome = try_rung(rung)
        accepted = outcome.loss <= budget + _ROUNDING
        tried.append(replace(outcome, accepted=accepted))
        if accepted:
            break
    return Climb(pareto(tried))


def following(ladder: Sequence[Rung], tried: Sequence[Outcome], budget: float) -> Rung | None:
    """Return the rung to try next: the ladder's order, the hopeless ones last."""
    done = {outcome.rung for outcome in tried}
    far = max(FAR, _FAR_BUDGETS * budget)
    hopeless = {
        (outcome.rung.operators, outcome.rung.spared)
        for outcome in tried
        if outcome.loss > far and math.isfinite(outcome.loss)
    }
    left = [rung for rung in ladder if rung not in done]
    hopeful = [rung for rung in left if (rung.operators, rung.spared) not in hopeless]
    return next(iter(hopeful or left), None)


def pareto(tried: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Return the tries with those marked that no other beats in both loss and bytes."""
    return tuple(
        replace(
            one,
            pareto=math.isfinite(one.loss)
            and one.same_as is None
            and not any(_beats(other, one) for other in tried),
        )
        for one in tried
    )


def _beats(one: Outcome, other: Outcome) -> bool:
    as_good = one.loss <= other.loss and one.bytes <= other.bytes
    return as_good and (one.loss < other.loss or one.bytes < other.bytes)
