"""What ``edgeops keys recipient`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield which half goes where."""
    yield f"recipient {result['recipient']}"
    yield f"public    {result['public']}   for edgeops pack --recipient"
    yield f"private   {result['private']}   for the devices alone; what is lost opens nothing"
