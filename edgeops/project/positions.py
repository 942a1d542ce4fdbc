"""YAML with a position for every key and value, so that a problem names its line and column.

``parse`` never stops at the first problem it can step over: a key that is stated twice, a key that
is no text and an unknown tag all become findings, and the rest of the document is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruamel.yaml import YAML

Path = tuple[str | int, ...]
Position = tuple[int, int]

# Aliases may unfold to more values than the file has characters; no honest project comes near.
_MAX_VALUES = 100_000
_MAX_DEPTH = 60
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_SCALARS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))
_AS_TEXT = frozenset((_TEXT, "tag:yaml.org,2002:timestamp"))


@dataclass
class Document:
    """A parsed file: ``value`` is plain data, ``keys`` and ``values`` are positions by path.

    Positions are (line, column), 1-based. ``raw`` is the text of every scalar as it was written.
    """

    file: str
    value: Any = None
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    raw: dict[Path, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def known(self, path: Path) -> Path:
        """Return the longest part of ``path`` that the file has, for places that it lacks."""
        while path and path not in self.values:
            path = path[:-1]
        return path

    def where(self, path: Path, *, key: bool = False) -> str:
        """Return ``FILE:LINE:COL`` of the value at ``path``, or of its key."""
        path = self.known(path)
        position = (self.keys if key else self.values).get(path) or self.values.get(path, (1, 1))
        return f"{self.file}:{position[0]}:{position[1]}"

    def given(self) -> tuple[str, ...]:
        """Return every key of the file as a dotted path, in the order of the file."""
        return tuple(
            ".".join(str(part) for part in path)
            for path in self.keys
            if all(isinstance(part, str) for part in path)
        )


class _TooMuch(Exception):
    """The document unfolds without end."""


def parse(text: str, file: str) -> Document:
    """Return ``text`` as a Document; an unreadable one has ``value`` None and says why."""
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    document = Document(file)
    try:
        yaml = reader()
        root = yaml.compose(text)
        if root is not None:
            document.value = _Builder(document, yaml).build(root, (), 0)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else f"{file}:1:1"
        begun = f" begun in line {error.context_mark.line + 1}," if error.context_mark else ""
        what = f"{error.context or ''}{begun} {error.problem or ''}".strip()
        document.findings.append(_syntax(place, what))
    except ReaderError as error:
        place = _place(text, error.position)
        document.findings.append(_syntax(f"{file}:{place}", f"the sign {_shown(error.character)}"))
    except (YAMLError, RecursionError, _TooMuch) as error:
        document.findings.append(_syntax(f"{file}:1:1", str(error) or "it nests too deep"))
    return document


def reader() -> YAML:
    """Return a YAML 1.2 reader, the same that DVC uses."""
    import ruamel.yaml

    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # YAML allows it; the nearest above is meant
    return yaml


class _Builder:
    """Unfolds ruamel's nodes into plain values, noting where each stands."""

    def __init__(self, document: Document, yaml: YAML) -> None:
        self._document = document
        self._yaml = yaml
        self._count = 0

    def build(self, node: Any, path: Path, depth: int) -> Any:
        self._count += 1
        if self._count > _MAX_VALUES or depth > _MAX_DEPTH:
            raise _TooMuch("it unfolds to too many values: are there aliases within aliases?")
        mark = node.start_mark
        self._document.values[path] = (mark.line + 1, mark.column + 1)
        if node.id == "mapping":
            return self._mapping(node, path, depth)
        if node.id == "sequence":
            return [
                self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)
            ]
        return self._scalar(node, path)

    def _scalar(self, node: Any, path: Path) -> Any:
        self._document.raw[path] = node.value
        tag = str(node.tag)
        if tag in _AS_TEXT:
            return node.value
        if tag in _SCALARS:
            try:
                return self._yaml.constructor.construct_object(node)
            except ValueError:
                return node.value
        self._document.findings.append(
            Finding(
                "yaml-tag",
                f"the tag {tag} is not read here",
                where=self._document.where(path),
                why="a project file holds plain values only",
                fix="remove the tag and write the value itself",
            )
        )
        return None

    def _mapping(self, node: Any, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if str(key.tag) == _MERGE:
                for source in _sources(value):
                    merged = {**self.build(source, path, depth + 1), **merged}
                continue
            if key.id != "scalar" or str(key.tag) not in _AS_TEXT:
                self._odd_key(key)
                continue
            here = (*path, key.value)
            if key.value in found:
                self._duplicate(key, here)
                continue
            self._document.keys[here] = (key.start_mark.line + 1, key.start_mark.column + 1)
            found[key.value] = self.build(value, here, depth + 1)
        mark = node.start_mark
        self._document.values[path] = (mark.line + 1, mark.column + 1)
        return {**merged, **found}

    def _duplicate(self, key: Any, path: Path) -> None:
        first = self._document.keys[path]
        self._document.findings.append(
            Finding(
                "yaml-duplicate-key",
                f"the key {key.value!r} is stated twice",
                where=self._mark(key),
                why=f"it was stated first in line {first[0]}",
                fix="keep one of the two",
            )
        )

    def _odd_key(self, key: Any) -> None:
        shown = key.value if isinstance(key.value, str) else "this"
        self._document.findings.append(
            Finding(
                "yaml-key-no-text",
                f"the key {shown!r} is no text",
                where=self._mark(key),
                why="YAML reads it as a number, a truth value or a list",
                fix=f'write it in quotes: "{shown}"' if shown != "this" else "use a name as key",
            )
        )

    def _mark(self, node: Any) -> str:
        mark = node.start_mark
        return f"{self._document.file}:{mark.line + 1}:{mark.column + 1}"


def _sources(node: Any) -> Iterator[Any]:
    for source in node.value if node.id == "sequence" else [node]:
        if source.id == "mapping":
            yield source


def _syntax(where: str, why: str) -> Finding:
    file = where.partition(":")[0]
    return Finding(
        "yaml-syntax",
        f"{file} is no valid YAML",
        where=where,
        why=why,
        fix="mend the line; indentation is spaces, and text with special signs needs quotes",
    )


def _place(text: str, offset: int) -> str:
    before = text[:offset]
    return f"{before.count(chr(10)) + 1}:{offset - (before.rfind(chr(10)) + 1) + 1}"


def _shown(character: int | str) -> str:
    return f"U+{character if isinstance(character, int) else ord(character):04X}"
