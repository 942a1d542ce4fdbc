"""Read flatbuffers that may be hostile: every offset is checked, and the work is bounded.

The encoding is that of https://flatbuffers.dev/internals: a table begins with a signed offset back
to its vtable, which says where each field lies; references are unsigned offsets forward. Offsets
may overlap in a hostile file, so that a few bytes describe an endless tree: a reader stops when it
has made more parts than the file has room for.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_FORMATS = {
    "bool": struct.Struct("<?"),
    "int8": struct.Struct("<b"),
    "uint8": struct.Struct("<B"),
    "int32": _I32,
    "uint32": _U32,
    "int64": struct.Struct("<q"),
    "uint64": struct.Struct("<Q"),
    "float32": struct.Struct("<f"),
}
_LONG = 8
_MOST_PARTS = 20_000_000


class DamagedError(ValueError):
    """The bytes contradict themselves: an offset leads nowhere, a length does not fit."""


class Flatbuffer:
    """A file of flatbuffers; ``root()`` is where reading begins."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = min(len(data) + 64, _MOST_PARTS)

    def root(self) -> Table:
        """Return the root table; raises DamagedError, as every other reader here."""
        return Table(self, self.follow(0))

    def spend(self, parts: int) -> None:
        """Count parts that were read; raises when there are more than the file has room for."""
        self._left -= parts
        if self._left < 0:
            message = "its parts overlap: it describes more than it holds"
            raise DamagedError(message)

    def number(self, kind: struct.Struct, position: int) -> int | float | bool:
        """Return the number at a position."""
        self.check(position, kind.size)
        value: int | float | bool = kind.unpack_from(self.data, position)[0]
        return value

    def follow(self, position: int) -> int:
        """Return where the reference at ``position`` leads."""
        return position + int(self.number(_U32, position))

    def check(self, position: int, size: int) -> None:
        """Raise unless ``size`` bytes lie at ``position``."""
        if position < 0 or position + size > len(self.data):
            message = f"an offset leads to byte {position + size} of {len(self.data)}"
            raise DamagedError(message)

    def vector(self, position: int, item: int) -> tuple[int, int]:
        """Return where the items of a vector begin, and their number; ``item`` is bytes each."""
        count = int(self.number(_U32, position))
        self.check(position + 4, count * item)
        return position + 4, count

    def text(self, position: int) -> str:
        """Return a string."""
        start, count = self.vector(position, 1)
        self.spend(1 + count // 64)
        return self.data[start : start + count].decode(errors="replace")


class Table:
    """One table of a flatbuffer; fields are named by their number in the schema, from 0."""

    __slots__ = ("_buffer", "_start", "_vtable", "_vtable_size")

    def __init__(self, buffer: Flatbuffer, start: int) -> None:
        buffer.spend(1)
        self._buffer = buffer
        self._start = start
        self._vtable = start - int(buffer.number(_I32, start))
        self._vtable_size = int(buffer.number(_U16, self._vtable))
        buffer.check(self._vtable, self._vtable_size)

    def _at(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot + 2 > self._vtable_size:
            return None
        offset = int(self._buffer.number(_U16, self._vtable + slot))
        return self._start + offset if offset else None

    def number(self, field: int, kind: str, default: float = 0) -> int | float:
        """Return a number of numpy's type ``kind``."""
        position = self._at(field)
        if position is None:
            return default
        return self._buffer.number(_FORMATS[kind], position)

    def integer(self, field: int, kind: str = "int32", default: int = 0) -> int:
        """Return an integer field."""
        return int(self.number(field, kind, default))

    def has(self, field: int) -> bool:
        """Return whether the file has the field."""
        return self._at(field) is not None

    def text(self, field: int) -> str:
        """Return a string field, "" when it is absent."""
        position = self._at(field)
        return "" if position is None else self._buffer.text(self._buffer.follow(position))

    def table(self, field: int) -> Table | None:
        """Return a table field."""
        position = self._at(field)
        return None if position is None else Table(self._buffer, self._buffer.follow(position))

    def tables(self, field: int) -> Iterator[Table]:
        """Yield the tables of a vector."""
        for position in self._references(field):
            yield Table(self._buffer, position)

    def texts(self, field: int) -> Iterator[str]:
        """Yield the strings of a vector."""
        for position in self._references(field):
            yield self._buffer.text(position)

    def integers(self, field: int, size: int = 4) -> tuple[int, ...]:
        """Return a vector of int32, or of int64 when ``size`` is 8."""
        start, count = self.span(field, size)
        self._buffer.spend(count)
        return struct.unpack_from(
            f"<{count}{'q' if size == _LONG else 'i'}", self._buffer.data, start
        )

    def content(self, field: int) -> bytes:
        """Return a vector of bytes."""
        start, count = self.span(field, 1)
        return self._buffer.data[start : start + count]

    def span(self, field: int, item: int) -> tuple[int, int]:
        """Return where a vector's items begin and their number, (0, 0) when it is absent."""
        position = self._at(field)
        if position is None:
            return 0, 0
        return self._buffer.vector(self._buffer.follow(position), item)

    def _references(self, field: int) -> Iterator[int]:
        start, count = self.span(field, 4)
        for index in range(count):
            yield self._buffer.follow(start + 4 * index)
