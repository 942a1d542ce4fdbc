"""What a value of the document must be: readers of options, and the list of all that is wrong."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Union

from edgeops.errors import EdgeopsError, Finding, InputError, from_findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Path = tuple[Union[str, int], ...]
Read = Callable[[Any], Any]
REQUIRED = object()
MOST_NUMBERS = 65_536
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
_SHOWN = 60


class Misfit(ValueError):
    """A value or a step does not fit; the words say what it must be."""


@dataclass(frozen=True)
class Option:
    """One key of a mapping: how its value is read, and what it is when it is not there."""

    read: Read
    default: Any = REQUIRED


class Problems:
    """All that is wrong with a document, each with its path inside of it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.findings: list[Finding] = []

    def add(self, path: Path, what: str, why: str, fix: str) -> None:
        """Keep one problem; ``path`` also stands in the details, for those who know lines."""
        place = told(path)
        self.findings.append(
            Finding(
                "features-malformed",
                what,
                where=f"{self.where}: {place}" if place else self.where,
                why=why,
                fix=fix,
                details={"path": list(path)},
            )
        )

    def error(self) -> EdgeopsError:
        """Return what is raised when there are findings."""
        return from_findings(self.findings, InputError)


def told(path: Path) -> str:
    """Return a path as people write it: ``inputs.photo.steps[2].resize``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def options(
    problems: Problems, path: Path, value: Any, table: Mapping[str, Option], owner: str
) -> dict[str, Any] | None:
    """Return the options of a mapping with defaults filled in, or None after adding problems."""
    if not is_mapping(value):
        problems.add(path, f"{owner} must be a mapping (key: value)", f"it is {shown(value)}", "")
        return None
    before = len(problems.findings)
    unknown_keys(problems, path, value, table, owner)
    found: dict[str, Any] = {}
    for key, option in table.items():
        if key in value:
            try:
                found[key] = option.read(value[key])
            except Misfit as misfit:
                why = f"it is {shown(value[key])}"
                problems.add((*path, key), f"{key} must be {misfit}", why, "change the value")
        elif option.default is REQUIRED:
            problems.add(
                path, f"the key {key!r} is missing in {owner}", "it has no default", f"add {key}"
            )
        else:
            found[key] = option.default
    return found if len(problems.findings) == before else None


def unknown_keys(
    problems: Problems, path: Path, value: Mapping[Any, Any], known: Iterable[str], owner: str
) -> None:
    """Add a problem for each key that nothing reads."""
    names = list(known)
    for key in value:
        if key not in names:
            problems.add(
                (*path, str(key)),
                f"unknown key {str(key)[:_SHOWN]!r} in {owner}",
                f"valid keys: {', '.join(names)}" if names else "it takes no keys",
                nearest(str(key), names),
            )


def nearest(name: str, known: Sequence[str]) -> str:
    """Return what to do about a name that is not known."""
    near = difflib.get_close_matches(name[:_SHOWN], known, n=1)
    return f"did you mean {near[0]!r}?" if near else "remove it"


def shown(value: Any) -> str:
    """Return a value in few words."""
    if is_mapping(value):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 64:
        return "a very large number"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def is_mapping(value: Any) -> bool:
    """Return whether a value is a mapping."""
    return isinstance(value, dict) or (hasattr(value, "keys") and hasattr(value, "__getitem__"))


def whole(least: int, most: int) -> Read:
    """Return the reader of a whole number within bounds."""

    def read(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise Misfit(f"a whole number from {least} to {most}")

    return read


def number(least: float = -math.inf, above: float = -math.inf, most: float = math.inf) -> Read:
    """Return the reader of a finite number, at least ``least``, more than ``above``."""
    words = "a number" + (f" of at least {least:g}" if least > -math.inf else "")
    words += f" above {above:g}" if above > -math.inf else ""
    words += f" up to {most:g}" if most < math.inf else ""

    def read(value: Any) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                found = float(value)
            except OverflowError:
                found = math.inf
            if math.isfinite(found) and least <= found <= most and found > above:
                return found
        raise Misfit(words)

    return read


def flag(value: Any) -> bool:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    raise Misfit("true or false")


def choice(*names: str) -> Read:
    """Return the reader of one of several words."""

    def read(value: Any) -> str:
        if isinstance(value, str) and value in names:
            return value
        raise Misfit(f"one of {', '.join(names)}")

    return read


def text(value: Any) -> str:
    """Read a text."""
    if isinstance(value, str):
        return value
    raise Misfit("text")


def name(value: Any) -> str:
    """Read a name: text of 1 to 256 characters without control characters."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise Misfit("a name (text of 1 to 256 printable characters)")


def either(*reads: Read) -> Read:
    """Return the reader that takes what any of several takes."""

    def read(value: Any) -> Any:
        words = []
        for one in reads:
            try:
                return one(value)
            except Misfit as misfit:
                words.append(str(misfit))
        raise Misfit(" or ".join(words))

    return read


def listed(read: Read, least: int = 1, most: int = MOST_NUMBERS) -> Read:
    """Return the reader of a list whose members ``read`` takes; it gives a tuple."""

    def read_all(value: Any) -> tuple[Any, ...]:
        if isinstance(value, (list, tuple)) and least <= len(value) <= most:
            found = []
            for index, item in enumerate(value):
                try:
                    found.append(read(item))
                except Misfit as misfit:
                    raise Misfit(f"a list whose members are each {misfit} ([{index}])") from None
            return tuple(found)
        raise Misfit(f"a list of {least} to {most}" if least != most else f"a list of {least}")

    return read_all


def optional(read: Read) -> Read:
    """Return the reader that takes null (none) as well."""

    def read_or_none(value: Any) -> Any:
        return None if value is None else read(value)

    return read_or_none
