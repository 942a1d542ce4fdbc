"""What ``edgeops check`` shows when a model can be converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a ``check`` result; refusals are shown as errors."""
    yield f"supported: {result['engine']} takes all {result['nodes']} nodes ({result['precision']})"
    yield f"  convert it with: edgeops convert {result['model']} --to {result['engine']}"
