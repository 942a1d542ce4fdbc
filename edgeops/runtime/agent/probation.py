"""When what was switched to last is trusted: its probation is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core import lifecycle
from edgeops.runtime.agent import clock
from edgeops.runtime.agent.changes import brief, move
from edgeops.runtime.agent.home import Home
from edgeops.runtime.agent.trouble import disk

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from edgeops.runtime.agent.home import State


def confirm(home: Path) -> None:
    """Say that what serves has served its probation well; nothing happens where none is.

    Raises MissingError ``disk-full`` or ``not-writable``.
    """
    place = Home(home)
    with disk(place.path), brief(place):
        state = place.read()
        if state.state == lifecycle.PROBATION:
            move(place, state, "kept", probation=None)


def over(home: Home, state: State, now: datetime) -> bool:
    """Return whether a probation ended: its time is over, or nothing serves it any more.

    A clock that was set back ends it too: nobody could say when it would end otherwise.
    """
    terms = state.probation or {}
    since, until = clock.parse(terms.get("since")), clock.parse(terms.get("until"))
    if since is None or until is None or not (home.path / "serve.sock").exists():
        return True
    return not since <= now < until
