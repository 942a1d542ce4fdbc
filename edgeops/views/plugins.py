"""What ``edgeops plugins`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the plugins under their kinds; broken ones with the reason."""
    rows = result["plugins"]
    width = max((len(row["name"]) for row in rows), default=0)
    kind = ""
    for row in rows:
        if row["kind"] != kind:
            kind = row["kind"]
            yield kind
        whose = "" if row["distribution"] == "edgeops" else f"  [{row['distribution']}]"
        text = f"broken: {row['broken']}" if row["broken"] else row["about"]
        yield f"  {row['name']:<{width}}  {text}{whose}"
