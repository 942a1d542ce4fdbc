"""What an agent's home holds, from its files alone; nothing is changed, nothing is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError
from edgeops.runtime.agent import clock
from edgeops.runtime.agent.home import existing
from edgeops.runtime.agent.policy import Policy, freshness, read_policy
from edgeops.runtime.agent.renew import given_up
from edgeops.runtime.agent.trouble import disk

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.runtime.agent.home import Home, State


def status(path: Path) -> dict[str, Any]:
    """Return what ``status --json`` prints.

    Raises InputError ``home-missing``, MissingError ``not-writable`` where this user may not look.
    It answers also while an update is under way and where the state file is damaged: ``problem``
    says so then, and what is served is read from the links. It also says when the agent that the
    release brought was given up.
    """
    with disk(path):
        home = existing(path)
        return shown(home, home.read())


def shown(home: Home, state: State) -> dict[str, Any]:
    """Return a state as people and programs read it."""
    problems = [state.problem, given_up(home.path)]
    try:
        policy = read_policy(home.path)
    except EdgeopsError as error:
        policy = Policy()
        problems.append(f"{error.what}: {error.why}")
    verified, seen = clock.parse(state.last_verified), clock.parse(state.clock.get(clock.SEEN))
    return {
        "home": str(home.path),
        "state": state.state,
        "problem": "; ".join(filter(None, problems)),
        "current": state.current.to_json() if state.current else None,
        "previous": state.previous.to_json() if state.previous else None,
        "candidate": state.candidate.to_json() if state.candidate else None,
        "available": state.available,
        "refused": {name: dict(entry) for name, entry in state.refused.items()},
        "probation": state.probation,
        "device_id": state.device_id,
        "last_checked": state.last_checked,
        "last_verified": state.last_verified,
        "expires": state.expires,
        "freshness": freshness(policy, verified, clock.utc_now(), seen).to_json(),
        "serving": (home.path / "serve.sock").exists(),
        "links": {name: home.linked(getattr(home, name)) for name in ("current", "previous")},
        "bytes_downloaded": 0,
        "requests": 0,
    }
