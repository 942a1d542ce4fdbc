"""What ``edgeops diff`` shows."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LONG = 26
_WORDS = ("changed", "added", "removed", "unchanged")


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
    if result["changes"] and result.get("layers"):
        yield _files(result["layers"])


def _files(layers: Sequence[Mapping[str, Any]]) -> str:
    """Return how many files changed in which way, and how much of the new bundle is new."""
    counts = Counter(layer["change"] for layer in layers)
    told = ", ".join(f"{counts[word]} {word}" for word in _WORDS if counts[word])
    new = {
        layer["after"]["digest"]: layer["after"]["bytes"]
        for layer in layers
        if layer["change"] in ("added", "changed")
    }
    return f"files: {told}; {sum(new.values()):,} bytes are new"


def _text(value: Any) -> str:
    if value is None:
        return "nothing"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONG or " " in text else text[: _LONG - 3] + "..."
