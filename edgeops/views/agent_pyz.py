"""What ``edgeops agent pyz`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the program and its digest."""
    yield f"{result['program']}   {result['bytes']:,} bytes"
    yield f"  {result['digest']}"
    yield "  runs on a device that has Python 3.10 or newer, numpy and an engine"
