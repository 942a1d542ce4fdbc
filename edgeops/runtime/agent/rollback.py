"""Going back to what was served before: links and one state file, no network, no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.core import lifecycle
from edgeops.errors import InputError
from edgeops.runtime.agent import clock, log
from edgeops.runtime.agent.changes import brief, finish_rollback, move, recover
from edgeops.runtime.agent.heal import heal
from edgeops.runtime.agent.home import existing
from edgeops.runtime.agent.status import shown
from edgeops.runtime.agent.trouble import disk

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.runtime.agent.home import Home, State

BY_HAND = "rolled back by hand"
# Who went back: a person, or the server that gave a release up.
ROLLED_BACK, GIVEN_UP = "rolled-back", "given-up"
# What a program that cannot load a release says of damaged files.
DAMAGE = ("digest-mismatch", "bundle-malformed")


def rollback(path: Path, reason: str = BY_HAND, code: str = ROLLED_BACK) -> dict[str, Any]:
    """Serve the previous release again and take the current one no more; return the status.

    ``code`` is remembered with the reason: ``rolled-back``, or ``given-up`` where no person asked.
    Works while an update is under way, which ends then. Raises InputError ``home-missing`` or
    ``nothing-previous``, MissingError ``disk-full`` or ``not-writable``.
    """
    with disk(path):
        return _rollback(existing(path), reason, code)


def _rollback(home: Home, reason: str, code: str) -> dict[str, Any]:
    if any(f"[{each}]" in reason for each in DAMAGE) and heal(home.path):
        # It is not the release that is at fault: the next update takes it again.
        return {"outcome": "healed", "why": reason, **shown(home, home.read())}
    with brief(home):
        state = home.read()
        if state.state not in lifecycle.UNDER_WAY:  # who is at work there finds it gone
            state = recover(home, state)
        _check(state, home)
        bad = state.current
        at = clock.stamp(clock.utc_now())
        # The same release for another target is no worse than what is gone back to.
        if bad is not None and state.previous and bad.digest != state.previous.digest:
            state = state.refuse(bad.digest, reason, at, code=code)
        state = move(home, state, "rollback", candidate=None)
        state = home.write(finish_rollback(home, state))
    log.write(
        home.path,
        "rolled-back",
        why=reason,
        version=bad.version if bad else "",
        to=state.current.version if state.current else "",
    )
    return {"outcome": "rolled-back", "why": reason, **shown(home, state)}


def _check(state: State, home: Home) -> None:
    if state.previous is None or not home.slot(state.previous).is_dir():
        raise InputError(
            "nothing-previous",
            "there is no release to go back to",
            where=str(home.path),
            why="nothing was installed before the current one, or it was gone back to already",
            fix="publish the release that shall be served, or move the channel to it",
        )
