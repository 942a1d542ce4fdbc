"""Which processors of a device a measurement runs on, as a person writes it."""

from __future__ import annotations

import re

from edgeops.errors import UsageProblem

_CPUS = re.compile(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*")
_MOST_CPUS = 1024


def processors(text: str) -> tuple[int, ...]:
    """Return the processors that ``0,2-3`` names; raises UsageProblem ``affinity-bad``."""
    if not text:
        return ()
    found: set[int] = set()
    if _CPUS.fullmatch(text):
        for part in text.split(","):
            low, _, high = part.partition("-")
            found.update(range(int(low), min(int(high or low), _MOST_CPUS) + 1))
    if not found or max(found) >= _MOST_CPUS:
        raise UsageProblem(
            "affinity-bad",
            f"{text!r} names no processors",
            where="--affinity",
            why="processors are numbers from 0 on, with commas and ranges",
            fix="write it like --affinity 0 or --affinity 0,2-3",
        )
    return tuple(sorted(found))
