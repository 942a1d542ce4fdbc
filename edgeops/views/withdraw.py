"""What ``edgeops withdraw`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was withdrawn, why, and what each channel offers now."""
    name = f"{result['project']} {result['version']}"
    yield f"{name} is withdrawn from {result['repository']}: {result['withdrawn']}"
    for item in result["channels"]:
        offers = item["offers"] or "nothing: devices keep what they have"
        yield f"  {item['channel']} offers {offers}"
    if not result["changed"]:
        yield "  nothing to change: it was so already"
    for note in result["notes"]:
        yield f"  {note}"
