"""The states of an agent as data: what may follow what, and how to go on after a kill.

Nothing here reads or writes. ``docs/formats/agent.md`` says when each state is written.
"""

from __future__ import annotations

from dataclasses import dataclass

IDLE = "idle"
FETCHING = "fetching"
STAGED = "staged"
WARMING = "warming"
SWITCHING = "switching"
PROBATION = "probation"
ROLLING_BACK = "rolling-back"
STATES = (IDLE, FETCHING, STAGED, WARMING, SWITCHING, PROBATION, ROLLING_BACK)
# States in which whatever ``current`` points at may be served and nothing is half done.
AT_REST = (IDLE, PROBATION)
# States in which a candidate is worked on and nothing that is served was touched.
UNDER_WAY = (FETCHING, STAGED, WARMING)

TABLE: dict[tuple[str, str], str] = {
    (IDLE, "offer"): FETCHING,
    (IDLE, "rollback"): ROLLING_BACK,
    (FETCHING, "fetched"): STAGED,
    (FETCHING, "failed"): IDLE,
    (FETCHING, "rollback"): ROLLING_BACK,
    (STAGED, "warm"): WARMING,
    (STAGED, "failed"): IDLE,
    (STAGED, "rollback"): ROLLING_BACK,
    (WARMING, "accepted"): SWITCHING,
    (WARMING, "failed"): IDLE,
    (WARMING, "rollback"): ROLLING_BACK,
    (SWITCHING, "switched"): PROBATION,
    (SWITCHING, "failed"): IDLE,
    (PROBATION, "kept"): IDLE,
    (PROBATION, "rollback"): ROLLING_BACK,
    (ROLLING_BACK, "returned"): IDLE,
}
EVENTS = tuple(sorted({event for _, event in TABLE}))

# What to do first after a kill. Each may be done again when it is itself killed.
DROP_CANDIDATE = "drop-candidate"  # forget it; its blobs stay and are used by the next update
FINISH_SWITCH = "finish-switch"  # both links, then state probation
FINISH_ROLLBACK = "finish-rollback"  # current to previous, then state idle
POINT_CURRENT = "point-current"  # links to what the state says
MOST_WARM_UPS = 3


class Undefined(Exception):
    """An event came in a state that has no place for it: a fault in the agent."""


@dataclass(frozen=True)
class Facts:
    """What is seen on the disk after a kill; names of slots, "" for none."""

    current: str = ""
    previous: str = ""
    candidate: str = ""
    link: str = ""


def after(state: str, event: str) -> str:
    """Return the state that follows, raising Undefined where the table has none."""
    try:
        return TABLE[state, event]
    except KeyError:
        message = f"the event {event!r} has no place in the state {state!r}"
        raise Undefined(message) from None


def recover(state: str, facts: Facts) -> tuple[str, list[str]]:
    """Return the state to be in after a kill, and what to do to be in it.

    ``facts.current``, ``previous`` and ``candidate`` are what the state file says, ``link`` is
    what ``current`` points at. The state returned is at rest, so something is served if anything
    ever was.
    """
    if state in UNDER_WAY:
        return IDLE, [DROP_CANDIDATE, *_mended(facts)]
    if state == SWITCHING:
        if facts.candidate and facts.link == facts.candidate:
            return PROBATION, [FINISH_SWITCH]
        return IDLE, [DROP_CANDIDATE, POINT_CURRENT]
    if state == ROLLING_BACK:
        return IDLE, [FINISH_ROLLBACK]
    return state, _mended(facts)


def _mended(facts: Facts) -> list[str]:
    return [] if facts.link == facts.current else [POINT_CURRENT]
