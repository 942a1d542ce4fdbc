"""Gates: a bound on a measured figure, and the verdict that follows from value and interval.

A figure that would come out the same again (accuracy on a fixed data set, bytes) is judged by its
value. A noisy one (latency, load time, memory) is judged by its interval: wholly on the good side
passes, wholly on the bad side fails, across the bound is inconclusive.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgeops.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VerdictWord = Literal["pass", "fail", "inconclusive"]
_BOUND = re.compile(r"^\s*(<=|>=|<|>|==)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$")
_BROKEN = "its value breaks the bound"
_GATE = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)\s*((?:<=|>=|<|>|==).*)$")


@dataclass(frozen=True)
class Figure:
    """A measured figure and how it was measured, or None with the reason it is absent.

    ``interval`` is 95 % unless ``method`` says otherwise. ``unjudged`` says why no gate may judge
    it although it has a value, as the times of an emulated device.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    unit: str = ""
    method: str = ""
    samples: int = 0
    noisy: bool = False
    absent: str = ""
    unjudged: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the figure as JSON."""
        return asdict(self)


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
        return f"{self.operator} {self.number:g}"


@dataclass(frozen=True)
class Verdict:
    """What a gate said of a figure, with what it looked at."""

    name: str
    bound: str
    value: float | None
    interval: tuple[float, float] | None
    verdict: VerdictWord
    why: str
    evidence: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON."""
        return asdict(self)


def parse_bound(text: str) -> Bound:
    """Return the bound written as ``>= 0.95``; raises ValueError with what would be right."""
    match = _BOUND.match(text)
    if not match:
        message = f"{text!r} is no bound: write an operator and a number, such as '>= 0.95'"
        raise ValueError(message)
    return Bound(match[1], float(match[2]))


def parse_gate(text: str) -> tuple[str, str]:
    """Return name and bound of a gate written as ``accuracy>=0.95``; raises ValueError."""
    match = _GATE.match(text)
    if not match:
        message = f"{text!r} is no gate: write NAME, an operator and a number: 'accuracy>=0.95'"
        raise ValueError(message)
    parse_bound(match[2])
    return match[1], match[2].strip()


def judge(name: str, bound: str, figure: Figure) -> Verdict:
    """Return the verdict of one gate on one figure."""
    limit = parse_bound(bound)
    word, why = _decide(limit, figure)
    how = figure.method or figure.absent
    return Verdict(name, str(limit), figure.value, figure.interval, word, why, how)


def _decide(limit: Bound, figure: Figure) -> tuple[VerdictWord, str]:
    if figure.value is None:
        return "inconclusive", f"not measured: {figure.absent}"
    if figure.unjudged:
        return "inconclusive", f"not judged: {figure.unjudged}"
    if not figure.noisy or figure.interval is None:
        good = limit.holds(figure.value)
        return ("pass", "its value keeps the bound") if good else ("fail", _BROKEN)
    low, high = figure.interval
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


def unknown_gates(gates: Mapping[str, str], measured: Iterable[str], where: str) -> list[Finding]:
    """Return a finding for every gate on a figure that nobody measures."""
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
        if name not in known
    ]


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""
