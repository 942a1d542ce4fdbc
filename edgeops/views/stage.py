"""What ``edgeops stage`` shows: figures and notes of one stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the stage, its figures and its notes."""
    address = result["stage"] + (f"@{result['target']}" if result["target"] else "")
    yield f"{address}: done in {result['seconds']:.1f} s"
    width = max((len(name) for name in result["figures"]), default=0)
    for name, value in result["figures"].items():
        yield f"  {name:<{width}}  {value:.4g}"
    for note in result["notes"]:
        yield f"  {note}"
