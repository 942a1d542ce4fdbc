"""Response times of a model: the last few, and the mean of the past hour, in little memory. Pure."""

from __future__ import annotations

from collections import deque

LAST = 20
_MINUTE_S = 60.0
_MINUTES = 60


class Times:
    """What is remembered of calls that ended well; ``now`` is in seconds of one clock, times in ms.

    The hour is kept as sums of minutes, so it is between 59 and 60 minutes long.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=LAST)
        self._sum = 0.0
        self._minutes: dict[int, list[float]] = {}
        self._minute: list[float] = []
        self._at = -1
        self.count = 0

    def add(self, took_ms: float, now: float) -> None:
        """Remember a call that ended now."""
        last = self._last
        if len(last) == LAST:
            self._sum -= last[0]
        last.append(took_ms)
        self._sum += took_ms
        self.count += 1
        minute = int(now // _MINUTE_S)
        if minute != self._at:
            self._at = minute
            self._minute = self._minutes.setdefault(minute, [0, 0.0])
            for old in [each for each in self._minutes if each <= minute - _MINUTES]:
                del self._minutes[old]
        self._minute[0] += 1
        self._minute[1] += took_ms

    def last(self) -> float | None:
        """Return the mean of the last 20 calls in ms, None before there were as many."""
        return self._sum / LAST if len(self._last) == LAST else None

    def forget_last(self) -> None:
        """Begin the last 20 anew, as after they were found too slow."""
        self._last.clear()
        self._sum = 0.0

    def hour(self, now: float) -> float | None:
        """Return the mean of the past hour in ms, None when there was no call."""
        since = int(now // _MINUTE_S) - _MINUTES
        kept = [each for minute, each in list(self._minutes.items()) if minute > since]
        count = sum(each[0] for each in kept)
        return sum(each[1] for each in kept) / count if count else None
