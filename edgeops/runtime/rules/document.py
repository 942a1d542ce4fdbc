"""The checked form of a rules document, and how each kind of value in it is read.

Bounds keep one call short whatever a document says: see ``MOST_*``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, Finding, InputError, from_findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FILE = "rules.json"
FORMAT = "edgeops.rules/1"
MOST_ENTRIES = 64
MOST_LABELS = 100_000
_MOST_TEXT = 4096
_MOST_DEPTH = 8
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TARGET = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
OWN = ("outputs", "features", "inputs", "models")
# Words that CEL keeps for itself, its types, and the functions that rules may call.
_CEL = """in true false null as break const continue else for function if import let loop package
namespace return var void while int uint double string bytes bool list map type null_type dyn has
size matches contains startsWith endsWith all exists exists_one filter max min sum mean abs round
argmax label agreement majority timestamp duration cel optional"""
RESERVED = frozenset([*OWN, *_CEL.split()])


@dataclass(frozen=True)
class Model:
    """Another target of the bundle: ``inputs`` are names of features by name of its input."""

    target: str
    inputs: Mapping[str, str]


class Reader:
    """A mapping of the document, whose keys are taken one by one; what is left over is refused."""

    def __init__(self, value: Any, where: str, path: str) -> None:
        self.where, self.path = where, path
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self.wrong("", f"it is {kind(value)}, not a mapping by name")
        self._left = dict(value)

    def wrong(self, key: str, why: str, fix: str = "") -> EdgeopsError:
        """Return the error ``rules-malformed`` about a key, or about the mapping itself."""
        path = ".".join(part for part in (self.path, key) if part)
        return malformed(self.where, path, why, fix)

    def take(self, key: str, default: Any = None) -> Any:
        """Return a value of any kind."""
        return self._left.pop(key, default)

    def has(self, key: str) -> bool:
        """Return whether a key is there and not yet taken."""
        return key in self._left

    def text(self, key: str, default: str | None = None, most: int = _MOST_TEXT) -> str:
        """Return a text that is not empty."""
        value = self.take(key, default)
        if value == default and value is not None:
            return str(value)
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise self.wrong(key, f"it is {kind(value)}, not a text of at most {most} characters")
        return value

    def name(self, key: str) -> str:
        """Return a name that expressions can use."""
        return checked_name(self.take(key), self.where, f"{self.path}.{key}")

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        """Return one of the allowed words, the first when the key is not there."""
        value = self.take(key, allowed[0])
        if value not in allowed:
            raise self.wrong(key, f"it is {value!r}", f"use one of: {', '.join(allowed)}")
        return str(value)

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """Return a finite number within bounds."""
        value = self.take(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not low <= value <= high
        ):
            raise self.wrong(key, f"it is {shown(value)}, not a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """Return a whole number within bounds."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, f"it is {shown(value)}, not a whole number from {low} to {high}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, f"it is {kind(value)}, not true or false")
        return value

    def items(self, key: str, most: int = MOST_ENTRIES) -> list[Any]:
        """Return a list, empty when the key is not there."""
        value = self.take(key, [])
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(key, f"it is {kind(value)}, not a list of at most {most}")
        return value

    def mapping(self, key: str, most: int = MOST_ENTRIES) -> dict[str, Any]:
        """Return a mapping by name, empty when the key is not there."""
        value = self.take(key, {})
        if not isinstance(value, dict) or len(value) > most:
            raise self.wrong(key, f"it is {kind(value)}, not a mapping of at most {most}")
        if not all(isinstance(name, str) and 0 < len(name) <= _MOST_TEXT for name in value):
            raise self.wrong(key, "its keys are not all texts")
        return value

    def end(self, known: Iterable[str]) -> None:
        """Refuse keys that nobody took; ``known`` are those there may be."""
        if self._left:
            extra = next(iter(self._left))
            raise self.wrong(extra, "there is no such key", f"known here: {', '.join(known)}")


def malformed(where: str, path: str, why: str, fix: str = "") -> EdgeopsError:
    """Return the error ``rules-malformed`` about a place in a document."""
    finding = Finding(
        "rules-malformed",
        f"the rules cannot be used: {path or 'the document'} is wrong",
        where=where,
        why=why,
        fix=fix or "see docs/formats/rules.md for what may stand there",
        details={"path": path},
    )
    return from_findings([finding], InputError)


def checked_name(value: Any, where: str, path: str) -> str:
    """Return a name that expressions can use, refusing words that mean something in CEL."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise malformed(where, path, f"{shown(value)} is no name", "letters, digits and _ only")
    if value in RESERVED:
        raise malformed(where, path, f"{value!r} has a meaning of its own", "take another name")
    return value


def read_models(reader: Reader) -> dict[str, Model]:
    """Return the other models by the name that expressions see."""
    found = {}
    for name, value in reader.mapping("models", 8).items():
        path = f"models.{name}"
        checked_name(name, reader.where, path)
        about = Reader({"target": value} if isinstance(value, str) else value, reader.where, path)
        target = about.text("target")
        if not _TARGET.fullmatch(target):
            raise about.wrong("target", f"{target!r} is no name of a target")
        inputs = about.mapping("inputs")
        if not all(isinstance(feature, str) for feature in inputs.values()):
            raise about.wrong(
                "inputs", "it holds what is no name", "inputs: {MODEL_INPUT: FEATURE}"
            )
        about.end(("target", "inputs"))
        found[name] = Model(target, inputs)
    return found


def plain(value: Any, where: str, path: str, depth: int = 0) -> Any:
    """Return a constant of the document as it is, when JSON can hold it."""
    if depth > _MOST_DEPTH:
        raise malformed(where, path, f"it is nested more than {_MOST_DEPTH} deep")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str) and len(value) <= _MOST_TEXT:
        return value
    if isinstance(value, list) and len(value) <= MOST_LABELS:
        return [plain(each, where, path, depth + 1) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(each, where, path, depth + 1) for key, each in value.items()}
    raise malformed(where, path, f"{shown(value)} is no value that JSON holds")


def kind(value: Any) -> str:
    """Return in a word or two what a value of a document is."""
    if value is None:
        return "not there"
    words = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false"}
    size = f" of {len(value)}" if isinstance(value, (dict, list, str)) else ""
    return words.get(type(value), "a number") + size


def shown(value: Any) -> str:
    """Return a value for an error, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - a line of a terminal
