"""What ``edgeops report`` shows: the Markdown, then what a GitHub job reads from its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the report, or where it was written; workflow commands come last, each on its line."""
    if result["output"]:
        yield f"{result['verdict']}: the report is in {result['output']}"
    else:
        yield result["markdown"].rstrip("\n")
    yield from result["annotations"]
