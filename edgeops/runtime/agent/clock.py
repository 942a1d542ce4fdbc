"""When the clock of a device cannot be right, and what follows; values in, verdicts out.

Signed metadata expires, so a device needs to know the time to tell a repository that nobody renews
from one that somebody holds back. A clock that is behind would let expired metadata pass; one that
is ahead makes fresh metadata look expired.

What is remembered is the newest time at which metadata was verified. It is moved by a verification
only, and metadata that was verified had not expired: a clock that was ahead for a while leaves
behind a time that is wrong by the life of a timestamp at most, never one that locks the device out.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from edgeops.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Mapping

# No agent is older than this: a clock that says less was never set (no battery, no network yet).
FLOOR = datetime(2025, 1, 1, tzinfo=timezone.utc)
# What a clock may be set back by without anybody minding: drift that NTP corrects.
SLACK = timedelta(hours=1)
# Longer than anybody leaves a repository that devices still use without a signature.
LONG = timedelta(days=366)
SEEN = "seen"
_FORM = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> datetime:
    """Return the time of this machine's clock."""
    return datetime.now(timezone.utc)


def stamp(moment: datetime) -> str:
    """Return a moment as the agent's files hold it, to the second, in UTC."""
    return moment.astimezone(timezone.utc).strftime(_FORM)


def parse(text: Any) -> datetime | None:
    """Return the moment that :func:`stamp` wrote, None when it is none: files may be damaged."""
    try:
        return datetime.strptime(text, _FORM).replace(tzinfo=timezone.utc)
    except (TypeError, ValueError):
        return None


def behind(now: datetime, seen: datetime | None) -> str:
    """Return why the clock must be behind, "" when it may be right."""
    if now < FLOOR:
        return f"it says {stamp(now)}, and this program was made after {stamp(FLOOR)}"
    if seen is not None and now < seen - SLACK:
        return f"it says {stamp(now)}, and metadata was verified here at {stamp(seen)}"
    return ""


def check(now: datetime, seen: datetime | None) -> None:
    """Let a clock pass that may be right.

    Raises TrustError ``clock-wrong``: with this clock nobody can tell whether metadata expired.
    """
    why = behind(now, seen)
    if why:
        raise TrustError(
            "clock-wrong",
            "the clock of this device is wrong, so nothing is updated; what it has goes on",
            why=why,
            fix="set the clock (timedatectl set-ntp true), or wait until the network has set it",
        )


def saw(clock: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return what to remember after metadata was verified at ``now``: the newest such time."""
    seen = parse(clock.get(SEEN))
    return {**clock, SEEN: stamp(now if seen is None else max(now, seen))}


def expired_hint(now: datetime, seen: datetime | None) -> str:
    """Return what to say where metadata looks expired and the clock may be ahead, else ""."""
    if seen is None or now - seen < LONG:
        return ""
    return (
        f"this device's clock says {stamp(now)}, {(now - seen).days} days after the last "
        "verification: if that cannot be, the clock is ahead and the repository is well"
    )
