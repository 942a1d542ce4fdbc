"""The breaker of a model: when it may answer, and when it has to be given up. Pure.

======== ========= ========= ==================================================================
state    step      becomes   when
======== ========= ========= ==================================================================
closed   trip      open      more faults of a kind than are allowed
open     cool      half-open the cooldown is over and a request is there to try it with
half-open heal     closed    enough requests in a row went well
half-open trip     open      one did not
======== ========= ========= ==================================================================

Every other pair leaves the state as it is: answers of calls that began earlier come late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"
TRIP, COOL, HEAL = "trip", "cool", "heal"
TABLE: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        (CLOSED, TRIP): OPEN,
        (OPEN, COOL): HALF_OPEN,
        (HALF_OPEN, HEAL): CLOSED,
        (HALF_OPEN, TRIP): OPEN,
    }
)

SLOW, HUNG, CRASHED, FAILED = "slow", "hung", "crashed", "failed"
WRONG_SHAPE, NOT_FINITE = "wrong-shape", "not-finite"
# How many faults of a kind open it. A busy moment makes any model slow (a fault is twenty calls),
# and one strange request may make a good model raise or answer NaN;
# no request may hang it, end its process or change the shape of its answers.
ALLOWED: Mapping[str, int] = MappingProxyType(
    {SLOW: 3, HUNG: 1, CRASHED: 1, FAILED: 3, WRONG_SHAPE: 1, NOT_FINITE: 3}
)

# Those that a request may cause: when two models meet the same one, neither is to blame.
BY_REQUEST = (FAILED, NOT_FINITE)


@dataclass(frozen=True)
class Rules:
    """What opens a breaker and what closes it; times in seconds.

    ``openings`` within ``openings_window_s`` exhaust it: the model is to be given up.
    """

    allowed: Mapping[str, int]
    window_s: float
    cooldown_s: float
    trials: int
    openings: int
    openings_window_s: float


@dataclass(frozen=True)
class Breaker:
    """What is known of a model: ``faults`` are (when, kind), ``opened`` when it opened.

    ``passed`` counts good answers since it is half open; ``trying`` is when the request that tries
    it was let through, None when none is out.
    """

    state: str = CLOSED
    faults: tuple[tuple[float, str], ...] = ()
    opened: tuple[float, ...] = ()
    passed: int = 0
    trying: float | None = None


def step(state: str, what: str) -> str:
    """Return the state that follows."""
    return TABLE.get((state, what), state)


def admit(breaker: Breaker, now: float, rules: Rules) -> tuple[bool, Breaker]:
    """Return whether a request may go to the model, and the breaker after that.

    Half open, one request is out at a time; one that never came back is forgotten after the cooldown.
    """
    if breaker.state == CLOSED:
        return True, breaker
    if breaker.state == OPEN:
        if now - breaker.opened[-1] < rules.cooldown_s:
            return False, breaker
        return True, replace(breaker, state=step(OPEN, COOL), passed=0, trying=now)
    if breaker.trying is not None and now - breaker.trying < rules.cooldown_s:
        return False, breaker
    return True, replace(breaker, trying=now)


def good(breaker: Breaker, rules: Rules) -> Breaker:
    """Return the breaker after an answer that is as it should be."""
    if breaker.state != HALF_OPEN:
        return breaker
    passed = breaker.passed + 1
    if passed < rules.trials:
        return replace(breaker, passed=passed, trying=None)
    healed = step(HALF_OPEN, HEAL)
    return replace(breaker, state=healed, faults=(), passed=0, trying=None)


def void(breaker: Breaker) -> Breaker:
    """Return the breaker after a request that said nothing of the model, such as a bad one."""
    return breaker if breaker.trying is None else replace(breaker, trying=None)


def fault(breaker: Breaker, kind: str, now: float, rules: Rules) -> Breaker:
    """Return the breaker after a fault of the model."""
    if breaker.state == OPEN:
        return breaker
    recent = tuple(each for each in breaker.faults if now - each[0] < rules.window_s)
    faults = (*recent, (now, kind))
    count = sum(1 for _, each in faults if each == kind)
    if breaker.state == CLOSED and count < rules.allowed.get(kind, 1):
        return replace(breaker, faults=faults)
    opened = tuple(when for when in breaker.opened if now - when < rules.openings_window_s)
    state = step(breaker.state, TRIP)
    return Breaker(state, faults, (*opened, now))


def forgive(breaker: Breaker, kind: str) -> Breaker:
    """Return the breaker without its last fault of a kind, which turned out to be the request's.

    What an open one was opened for is not undone.
    """
    if breaker.state != CLOSED:
        return breaker
    for place in range(len(breaker.faults) - 1, -1, -1):
        if breaker.faults[place][1] == kind:
            kept = breaker.faults[:place] + breaker.faults[place + 1 :]
            return replace(breaker, faults=kept)
    return breaker


def exhausted(breaker: Breaker, now: float, rules: Rules) -> bool:
    """Return whether it opened so often lately that the model is to be given up."""
    recent = [when for when in breaker.opened if now - when < rules.openings_window_s]
    return rules.openings > 0 and len(recent) >= rules.openings
