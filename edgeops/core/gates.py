"""Gates: a bound on a measured figure, and the verdict that follows from value and interval.

A figure that would come out the same again (accuracy on a fixed data set, bytes) is judged by its
value. A noisy one (latency, load time, memory) is judged by its interval: wholly on the good side
passes, wholly on the bad side fails, across the bound is inconclusive.

A figure's name may carry one bracket: ``accuracy[light=night]`` is the accuracy on the samples
whose ``light`` is ``night``, ``latency_p50_ms_vs[rev=main]`` is against the git revision ``main``.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgeops.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VerdictWord = Literal["pass", "fail", "inconclusive"]
_BOUND = re.compile(r"^\s*(<=|>=|<|>|==)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$")
_BROKEN = "its value breaks the bound"
_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_NAME = re.compile(
    rf"^\s*({_WORD})(?:\[\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*([^\[\]=\x00-\x1f\x7f][^\[\]\x00-\x1f\x7f]*)\])?\s*$"
)
_GATE = re.compile(rf"^\s*({_WORD}(?:\[[^\[\]]*\])?)\s*((?:<=|>=|<|>|==).*)$")
REVISION = "rev"


@dataclass(frozen=True)
class Figure:
    """A measured figure and how it was measured, or None with the reason it is absent.

    ``interval`` is 95 % unless ``method`` says otherwise. ``unjudged`` says why no gate may judge
    it although it has a value, as the times of an emulated device. ``moot`` says why a gate on it
    passes although it has none: there is nothing yet that it could be worse than.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    unit: str = ""
    method: str = ""
    samples: int = 0
    noisy: bool = False
    absent: str = ""
    unjudged: str = ""
    moot: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the figure as JSON; ``unjudged`` and ``moot`` only where they say something."""
        rare = ("unjudged", "moot")
        return {name: value for name, value in asdict(self).items() if value or name not in rare}


@dataclass(frozen=True)
class FigureName:
    """The name of a figure in its parts; ``key`` and ``value`` are empty without a bracket."""

    base: str
    key: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.base}[{self.key}={self.value}]" if self.key else self.base


@dataclass(frozen=True)
class Bound:
    """One side of a number: ``operator`` is <=, >=, <, > or ==."""

    operator: str
    number: float

    def holds(self, value: float) -> bool:
        """Return whether ``value`` is on the good side."""
        return {
            "<=": value <= self.number,
            ">=": value >= self.number,
            "<": value < self.number,
            ">": value > self.number,
            "==": value == self.number,
        }[self.operator]

    def __str__(self) -> str:
        # Short, but the number itself: verdicts are checked against the bound as it is written.
        short = f"{self.number:g}"
        return f"{self.operator} {short if float(short) == self.number else self.number}"


@dataclass(frozen=True)
class Verdict:
    """What a gate said of a figure, with what it looked at.

    ``method`` is how the figure was measured, and ``evidence`` the same for older readers;
    ``digest`` names all that was measured with it (``Evidence.digest``).
    """

    name: str
    bound: str
    value: float | None
    interval: tuple[float, float] | None
    verdict: VerdictWord
    why: str
    evidence: str = ""
    method: str = ""
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON."""
        return asdict(self)


def parse_bound(text: str) -> Bound:
    """Return the bound written as ``>= 0.95``; raises ValueError with what would be right."""
    match = _BOUND.match(text)
    if not match or not math.isfinite(float(match[2])):
        message = f"{text!r} is no bound: write an operator and a number, such as '>= 0.95'"
        raise ValueError(message)
    return Bound(match[1], float(match[2]))


def parse_name(text: str) -> FigureName:
    """Return the figure name written as ``accuracy`` or ``accuracy[light=night]``.

    Raises ValueError with what would be right.
    """
    match = _NAME.match(text)
    if not match:
        message = (
            f"{text!r} names no figure: write NAME, NAME[KEY=VALUE] for a part of the data, "
            "or NAME[rev=REV] for a git revision"
        )
        raise ValueError(message)
    return FigureName(match[1], match[2] or "", (match[3] or "").strip())


def parse_gate(text: str) -> tuple[str, str]:
    """Return name and bound of a gate written as ``accuracy>=0.95``; raises ValueError."""
    match = _GATE.match(text)
    if not match:
        message = f"{text!r} is no gate: write NAME, an operator and a number: 'accuracy>=0.95'"
        raise ValueError(message)
    parse_bound(match[2])
    return str(parse_name(match[1])), match[2].strip()


def judge(name: str, bound: str, figure: Figure, digest: str = "") -> Verdict:
    """Return the verdict of one gate on one figure of the evidence that ``digest`` names."""
    limit = parse_bound(bound)
    word, why = _decide(limit, figure)
    how = figure.method or figure.absent
    return Verdict(name, str(limit), figure.value, figure.interval, word, why, how, how, digest)


def _decide(limit: Bound, figure: Figure) -> tuple[VerdictWord, str]:
    if figure.value is None:
        if figure.moot:
            return "pass", f"there is nothing to compare with: {figure.moot}"
        return "inconclusive", f"not measured: {figure.absent}"
    if figure.unjudged:
        return "inconclusive", f"not judged: {figure.unjudged}"
    if not figure.noisy or figure.interval is None:
        good = limit.holds(figure.value)
        return ("pass", "its value keeps the bound") if good else ("fail", _BROKEN)
    return _by_interval(limit, *figure.interval)


def _by_interval(limit: Bound, low: float, high: float) -> tuple[VerdictWord, str]:
    sides = {limit.holds(low), limit.holds(high)}
    if limit.operator == "==" and low != high:
        return "inconclusive", "a noisy figure cannot be shown to equal a number"
    if sides == {True}:
        return "pass", "the whole interval keeps the bound"
    if sides == {False}:
        return "fail", "the whole interval breaks the bound"
    return (
        "inconclusive",
        "the interval lies across the bound: measure longer or on a quieter machine",
    )


def overall(verdicts: Iterable[Verdict]) -> VerdictWord:
    """Return ``fail`` if any failed, else ``inconclusive`` if any could not decide, else ``pass``."""
    words = {verdict.verdict for verdict in verdicts}
    return "fail" if "fail" in words else "inconclusive" if "inconclusive" in words else "pass"


def is_measured(name: str, measured: Iterable[str]) -> bool:
    """Return whether a figure is among those measured, which may stand as forms.

    ``accuracy[KEY=VALUE]`` is the form of every part of the data, ``accuracy_drop[rev=REV]`` that
    of every revision.
    """
    known = set(measured)
    if name in known:
        return True
    try:
        parts = parse_name(name)
    except ValueError:
        return False
    if not parts.key:
        return False
    form = f"{parts.key}=REV" if parts.key == REVISION else "KEY=VALUE"
    return str(parts) in known or f"{parts.base}[{form}]" in known


def unknown_gates(gates: Mapping[str, str], measured: Iterable[str], where: str) -> list[Finding]:
    """Return a finding for every gate on a figure that nobody measures, with the nearest name."""
    known = sorted(measured)
    return [
        Finding(
            "gate-unknown",
            f"the gate {name!r} is on a figure that nobody measures",
            where=where,
            why=f"measured here: {', '.join(known)}",
            fix=_nearest(name, known) + "name one of the measured figures, or remove the gate",
        )
        for name in gates
        if not is_measured(name, known)
    ]


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if not near:
        # A wrong bracket makes a name unlike the right one: compare what stands before it.
        near = difflib.get_close_matches(name.partition("[")[0], known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""
