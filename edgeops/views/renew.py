"""What ``edgeops renew`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was signed again and until when it is good."""
    what = ", ".join(result["renewed"]) or "nothing was due"
    yield f"{result['repository']}: {what}; good until {result['expires'][:10]}"
    for note in result["notes"]:
        yield f"  {note}"
