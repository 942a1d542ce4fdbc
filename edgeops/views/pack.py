"""What ``edgeops pack`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the bundle, its digest, and a line a file."""
    yield f"{result['bundle']}   {result['bytes']:,} bytes"
    yield f"  {result['digest']}, {'signed' if result['signed'] else 'not signed'}"
    width = max((len(layer["path"]) for layer in result["layers"]), default=0)
    for layer in result["layers"]:
        sealed = "  sealed" if layer["sealed"] else ""
        yield f"  {layer['kind']:<9} {layer['path']:<{width}} {layer['bytes']:>12,}{sealed}"
