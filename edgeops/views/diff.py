"""What ``edgeops diff`` shows."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LONG = 26


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the changes, grouped by where they are."""
    if not result["changes"]:
        yield f"no difference between {result['a']} and {result['b']}"
    for where, changes in groupby(result["changes"], key=itemgetter("where")):
        yield where
        rows = list(changes)
        width = max(len(row["what"]) for row in rows)
        for row in rows:
            yield f"  {row['what']:<{width}}  {_text(row['before'])} -> {_text(row['after'])}"


def _text(value: Any) -> str:
    if value is None:
        return "nothing"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONG or " " in text else text[: _LONG - 3] + "..."
