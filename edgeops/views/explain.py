"""What ``edgeops explain`` shows."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WIDTH = 96


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield one code explained, or the codes of each exit code."""
    if "code" in result:
        yield f"{result['code']}: {result['title']}"
        yield f"exit code {result['exit']}: {result['meaning']}"
        yield ""
        yield from _wrapped(result["text"])
        yield ""
        yield "What to do"
        yield from _wrapped(result["fix"])
        return
    width = max((len(code["code"]) for row in result["exits"] for code in row["codes"]), default=0)
    for row in result["exits"]:
        yield f"{row['exit']:>3}  {row['meaning']}"
        for code in row["codes"]:
            yield f"       {code['code']:<{width}}  {code['title']}"


def _wrapped(text: str) -> Iterator[str]:
    """Wrap running text; lines that are indented are commands and stay as they are."""
    for block in text.strip().split("\n"):
        if block.startswith(" ") or not block:
            yield block
        else:
            yield from textwrap.wrap(block, _WIDTH, break_long_words=False, break_on_hyphens=False)
