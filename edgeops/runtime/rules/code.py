"""What the text of an expression shows before it is compiled: its macros, what they hold, its entries.

The library tells which names and functions an expression has, but not where they stand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# Texts, raw ones, those in three quotes, and comments: what stands inside them is no code. Raw ones
# come first, since a backslash hides no quote in them.
_NO_CODE = (
    r"\b[bB]?[rR](?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n]*'|\"[^\"\n]*\")"
    r"|'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\""
    r"|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
    r"|//[^\n]*"
)
_SKIPPED = re.compile(_NO_CODE, re.DOTALL)
# A macro counts whatever its first argument is: CEL takes a name in brackets as well.
_MACRO = re.compile(
    r"\.\s*(?P<macro>all|exists_one|exists|map|filter)\s*(?P<open>\()\s*(?:(?P<binds>[A-Za-z_]\w*)\s*,)?"
)
_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
# Behind a dot a name is an entry of something else: x.features is not features.
_ENTRY = r"{skipped}|\.\s*\w+|\b{name}\b(?:\s*\.\s*(\w+)|\s*\[\s*['\"]([^'\"\\]+)['\"]\s*\])?"


class Code:
    """An expression without its texts and comments; ``bound`` are the names that macros bind."""

    def __init__(self, source: str) -> None:
        self._text = _SKIPPED.sub(lambda found: " " * len(found[0]), source)
        macros = list(_MACRO.finditer(self._text))
        self.maps = sum(found["macro"] == "map" for found in macros)
        self.bound = frozenset(found["binds"] for found in macros if found["binds"])
        self._depths = list(_depths(self._text, {found.start("open") for found in macros}))
        self.deepest = max(self._depths, default=0)

    def called(self, names: Collection[str], depth: int) -> str:
        """Return the first of these functions that is called inside so many macros, "" if none."""
        for found in _CALL.finditer(self._text):
            if found[1] in names and self._depths[found.start()] >= depth:
                return found[1]
        return ""


def _depths(text: str, openings: Collection[int]) -> Iterator[int]:
    """Yield for each character how many macros it stands in."""
    stack: list[bool] = []
    for place, character in enumerate(text):
        if character == "(":
            stack.append(place in openings)
        elif character == ")" and stack:
            stack.pop()
        yield sum(stack)


def entries(source: str, name: str) -> frozenset[str] | None:
    """Return the entries of ``name`` that an expression looks at; None where that may be all."""
    pattern = _ENTRY.format(skipped=_NO_CODE, name=name)
    looked: set[str] = set()
    for found in re.finditer(pattern, source, re.DOTALL):
        if entry := found[1] or found[2]:
            looked.add(entry)
        elif found[0] == name:
            return None
    return frozenset(looked)
