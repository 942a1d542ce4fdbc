"""When a device updates and how long it goes on without: ``HOME/agent.json``, and what it decides.

All decisions are made from values: the policy, the time, what happened last and a random number.
What carries them out is in ``daemon``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError, MissingError
from edgeops.runtime.agent import log
from edgeops.runtime.agent.clock import SEEN, behind, parse, stamp, utc_now
from edgeops.runtime.agent.windows import Window, parse_window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

FILE = log.POLICY
STATE = "state.json"
HOUR, DAY = 3600.0, 86400.0
_YEAR = 366 * DAY


@dataclass(frozen=True)
class Policy:
    """What the owner of a device wants; times in seconds.

    ``poll_s`` is the time between updates and also the longest between tries. ``hook`` is a command
    that says by its exit code whether now is a good time. ``stop_after_s`` None: an old model goes
    on serving for ever.
    """

    poll_s: float = HOUR
    jitter: float = 0.25
    retry_s: float = 60.0
    windows: tuple[Window, ...] = ()
    hook: tuple[str, ...] = ()
    hook_timeout_s: float = 30.0
    stale_after_s: float = 7 * DAY
    stop_after_s: float | None = None
    log_bytes: int = log.LIMIT


@dataclass(frozen=True)
class Freshness:
    """How long a device has not verified anything: never, fresh, stale or stopped, and why."""

    state: str
    age_s: float | None
    why: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the field ``freshness`` of ``status``."""
        return {"state": self.state, "age_s": self.age_s, "why": self.why}


def read_policy(home: Path) -> Policy:
    """Read ``HOME/agent.json``, all defaults where there is none.

    Raises InputError ``policy-malformed`` for what is unknown, of another kind or out of bounds.
    """
    path = home / FILE
    try:
        return parse_policy(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return Policy()
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            "policy-malformed",
            "the policy of the agent cannot be followed",
            where=str(path),
            why=str(error),
            fix="mend agent.json; docs/operations.md lists what may stand in it",
        ) from error


def parse_policy(document: Mapping[str, Any]) -> Policy:
    """Return the policy in a document; raises ValueError or TypeError."""
    if not isinstance(document, dict):
        message = "it is no JSON object"
        raise TypeError(message)
    unknown = sorted(set(document) - set(_FIELDS))
    if unknown:
        message = f"{unknown[0]!r} is none of {', '.join(_FIELDS)}"
        raise ValueError(message)
    policy = Policy(**{name: _FIELDS[name](name, value) for name, value in document.items()})
    if policy.retry_s > policy.poll_s:
        message = f"retry_s ({policy.retry_s:g}) is longer than poll_s ({policy.poll_s:g})"
        raise ValueError(message)
    if policy.stop_after_s is not None and policy.stop_after_s < policy.stale_after_s:
        message = "stop_after_s is shorter than stale_after_s: nobody would be warned"
        raise ValueError(message)
    return policy


def first_wait(policy: Policy, random: float) -> float:
    """Return the seconds before the first update; ``random`` is uniform in [0, 1).

    Devices that got their power back together do not ask together.
    """
    return policy.poll_s * policy.jitter * random


def opened_wait(policy: Policy, open_s: float, random: float) -> float:
    """Return the seconds to wait in a window that just opened, and will be open for ``open_s``.

    It opens for all devices at once, and they shall not ask at once: in its first half at most.
    """
    return min(policy.poll_s * policy.jitter, open_s / 2) * random


def next_wait(policy: Policy, failures: int, random: float) -> float:
    """Return the seconds before the next update; ``random`` is uniform in [0, 1).

    After ``failures`` tries in a row that may be repeated it doubles from ``retry_s`` up to
    ``poll_s``. Each is spread evenly by ``jitter`` to both sides.
    """
    base = policy.poll_s
    if failures > 0:
        base = min(base, policy.retry_s * 2.0 ** min(failures - 1, 40))
    return base * (1 + policy.jitter * (2 * random - 1))


def freshness(
    policy: Policy, verified: datetime | None, now: datetime, seen: datetime | None
) -> Freshness:
    """Return how old the last verification is and what the policy makes of it.

    With a clock that is behind, the age cannot be known and is at least what was seen before: a
    device is not stopped by a clock alone.
    """
    if verified is None:
        return Freshness("never", None, "nothing was verified here yet", _FIX)
    wrong = behind(now, seen)
    latest = max(seen or verified, verified) if wrong else max(now, verified)
    age = (latest - verified).total_seconds()
    clock = f"; the clock is wrong: {wrong}" if wrong else ""
    since = f"last verified at {stamp(verified)}, {_days(age)} ago{clock}"
    if policy.stop_after_s is not None and age > policy.stop_after_s:
        return Freshness("stopped", age, f"{since}; stop_after_s is {policy.stop_after_s:g}", _FIX)
    if age > policy.stale_after_s:
        return Freshness("stale", age, f"{since}; stale_after_s is {policy.stale_after_s:g}", _FIX)
    return Freshness("fresh", age, clock.removeprefix("; "))


def may_serve(home: Path) -> None:
    """Let a process serve unless the policy of this home says that it is too long out of touch.

    Raises MissingError ``serving-stopped``; InputError ``policy-malformed``.
    """
    policy = read_policy(home)
    if policy.stop_after_s is None:
        return
    verified, seen = _remembered(home / STATE)
    found = freshness(policy, verified, utc_now(), seen)
    if found.state == "stopped":
        raise MissingError(
            "serving-stopped",
            "the model is not served: this device was out of touch for longer than its policy allows",
            where=str(home / FILE),
            why=found.why,
            fix=found.fix,
        )


def _remembered(path: Path) -> tuple[datetime | None, datetime | None]:
    try:
        state = json.loads(path.read_bytes())
        return parse(state.get("last_verified")), parse((state.get("clock") or {}).get(SEEN))
    except (OSError, ValueError, AttributeError):
        return None, None


_FIX = "let it reach its repository: edgeops-agent update; edgeops-agent status says what it has"


def _days(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _between(low: float, high: float, kind: type[Any] = float) -> Callable[[str, Any], Any]:
    def read(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            message = f"{name} is a number, not {value!r}"
            raise TypeError(message)
        if not low <= value <= high:
            message = f"{name} is {value!r}; it lies between {low:g} and {high:g}"
            raise ValueError(message)
        return kind(value)

    return read


def _or_none(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else read(name, value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        message = f"{name} is a list of texts, not {value!r}"
        raise TypeError(message)
    return tuple(value)


def _windows(name: str, value: Any) -> tuple[Window, ...]:
    return tuple(map(parse_window, _texts(name, value)))


_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "poll_s": _between(1, 30 * DAY),
    "jitter": _between(0, 1),
    "retry_s": _between(1, DAY),
    "windows": _windows,
    "hook": _texts,
    "hook_timeout_s": _between(0.1, HOUR),
    "stale_after_s": _between(HOUR, 10 * _YEAR),
    "stop_after_s": _or_none(_between(HOUR, 10 * _YEAR)),
    "log_bytes": _between(log.LEAST, log.MOST, int),
}
