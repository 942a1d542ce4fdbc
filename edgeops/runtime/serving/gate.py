"""The warm-up gate: whether a candidate answers as fast as what it is to replace. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

READY, WARMING, TOO_SLOW = "ready", "warming", "too-slow"


@dataclass(frozen=True)
class Gate:
    """``bound_ms`` is what the mean of the last ``calls`` response times must not exceed.

    None lets any speed pass. ``tolerance`` is a share that the bound is widened by: two means of
    the same model differ by some percent. It is given up when ``deadline_s`` are over.
    """

    bound_ms: float | None
    tolerance: float = 0.1
    calls: int = 20
    deadline_s: float = 30.0

    @property
    def limit_ms(self) -> float | None:
        """The bound with its tolerance."""
        return None if self.bound_ms is None else self.bound_ms * (1 + self.tolerance)


def bound(old_hour_ms: float | None, absolute_ms: float | None) -> float | None:
    """Return the bound: the old model's mean of the past hour, on a first install the option's."""
    return absolute_ms if old_hour_ms is None else old_hour_ms


def judge(times_ms: Sequence[float], elapsed_s: float, gate: Gate) -> str:
    """Return what the response times so far say, oldest first."""
    calls = max(1, gate.calls)
    if len(times_ms) >= calls:
        limit = gate.limit_ms
        if limit is None or sum(times_ms[-calls:]) / calls <= limit:
            return READY
    return TOO_SLOW if elapsed_s >= gate.deadline_s else WARMING


def over(served: int, since_s: float, requests: int, seconds: float) -> bool:
    """Return whether a probation is over: so many requests were served, for so long."""
    return served >= requests and since_s >= seconds
