"""Maintenance windows: when, by the clock on the wall, a device may update itself.

A window is ``[DAYS] HH:MM-HH:MM``, ``DAYS`` a list such as ``Mon-Fri,Sun``. It is read against local
time as a clock on the wall shows it. One whose end is not after its start goes over midnight and
belongs to the day on which it starts; ``00:00-00:00`` is the whole day. When clocks are put forward,
the hour that is left out belongs to no window, so one that lies within it does not open that night;
when they are put back, the hour that comes twice counts twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = 24 * 60
_TIME = "([0-9]{2}):([0-5][0-9])"
_FORM = re.compile(f"(?:([A-Za-z,-]+) )?{_TIME}-{_TIME}")


@dataclass(frozen=True)
class Window:
    """A window: weekdays (Monday is 0) on which it starts, and minutes since midnight."""

    days: frozenset[int]
    start: int
    minutes: int


def parse_window(text: str) -> Window:
    """Return the window that a text says; raises ValueError."""
    found = _FORM.fullmatch(text)
    if not found:
        message = f"{text!r} is no window such as 'Mon-Fri 22:00-05:30'"
        raise ValueError(message)
    days, *numbers = found.groups()
    start, end = (60 * int(hour) + int(minute) for hour, minute in zip(numbers[::2], numbers[1::2]))
    if max(start, end) > DAY:
        message = f"{text!r} has a time that no clock shows"
        raise ValueError(message)
    return Window(_days(days, text), start % DAY, (end - start) % DAY or DAY)


def is_open(windows: Sequence[Window], local: datetime) -> bool:
    """Return whether one of the windows is open at a local time; without windows always."""
    return not windows or any(_holds(window, _minute(local)) for window in windows)


def opens_in(windows: Sequence[Window], local: datetime) -> float:
    """Return the seconds until the next window opens, 0 where one is open.

    They are those of a day on which nobody changes the clock: ask again now and then.
    """
    if is_open(windows, local):
        return 0.0
    now = _minute(local)
    week = 7 * DAY
    least = min(
        (day * DAY + window.start - now) % week for window in windows for day in window.days
    )
    return least * 60.0 - local.second - local.microsecond / 1e6


def closes_in(windows: Sequence[Window], local: datetime) -> float:
    """Return the seconds until the window that is open longest closes, 0 where none is open."""
    week, now = 7 * DAY, _minute(local)
    left = [
        window.minutes - (now - day * DAY - window.start) % week
        for window in windows
        for day in window.days
    ]
    return max(0.0, max(left, default=0) * 60.0 - local.second - local.microsecond / 1e6)


def _holds(window: Window, now: int) -> bool:
    week = 7 * DAY
    return any((now - day * DAY - window.start) % week < window.minutes for day in window.days)


def _minute(local: datetime) -> int:
    return local.weekday() * DAY + local.hour * 60 + local.minute


def _days(text: str | None, window: str) -> frozenset[int]:
    if not text:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            start, end = DAYS.index(first), DAYS.index(last or first)
        except ValueError:
            message = f"{window!r} names a day that is none of {', '.join(DAYS)}"
            raise ValueError(message) from None
        found.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(found)
