"""The order of versions, by Semantic Versioning 2.0.0, section 11."""

from __future__ import annotations

import re

_SEMVER = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


def older(first: str, second: str) -> bool:
    """Return whether ``first`` precedes ``second``; False where one is no semantic version.

    Missing parts are zero: 1.2 is 1.2.0. Build metadata does not count.
    """
    left, right = order(first), order(second)
    return left is not None and right is not None and left < right


def order(text: str) -> tuple[object, ...] | None:
    """Return what versions are compared by, or None for what is no semantic version."""
    match = _SEMVER.fullmatch(text)
    if not match:
        return None
    numbers = tuple(int(match[part] or 0) for part in (1, 2, 3))
    if match[4] is None:
        return (*numbers, 1, ())
    # A number precedes a word, a shorter list of equal parts precedes a longer one.
    parts = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in match[4].split(".")
    )
    return (*numbers, 0, parts)
