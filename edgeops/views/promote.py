"""What ``edgeops promote`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.views.offers import terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is offered to whom now, and whether that is new."""
    what = f"{result['project']} {result['version']} on the channel {result['channel']}"
    yield f"{what} of {result['repository']}"
    yield f"  offered to {terms(result['offer'])}"
    if not result["changed"]:
        yield "  nothing to change: it was so already"
    for note in result["notes"]:
        yield f"  {note}"
