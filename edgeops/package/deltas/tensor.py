"""Plan and write a tensor-aware delta: copies, differences of numbers, and the bytes between."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from edgeops.package.deltas import block
from edgeops.package.deltas.guess import guess
from edgeops.package.deltas.locate import INT8, Region
from edgeops.package.deltas.match import matches
from edgeops.package.deltas.stream import number, stream, with_dictionary
from edgeops.runtime.delta.header import COPY, LITERAL

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCK = 1 << 19
_AHEAD = 1 << 13
_MOST_LITERAL = 1 << 18
# Equal parts are searched in what is at most so long: it takes some ten times the memory.
_MOST_SEARCHED = 16 << 20
_WORTH = 0.98


class Writer:
    """Writes records; copies that follow each other become one."""

    def __init__(self, old: memoryview, new: memoryview) -> None:
        self._old, self._new = old, new
        self._made = bytearray()
        self._copy = (0, 0)

    def copy(self, origin: int, length: int) -> None:
        """Write that bytes are those of the base."""
        start, known = self._copy
        if known and start + known == origin:
            self._copy = (start, known + length)
            return
        self._flush()
        self._copy = (origin, length)

    def literal(self, start: int, stop: int, near: int) -> None:
        """Write bytes of the new file, packed knowing the base from ``near``."""
        self._flush()
        for at in range(start, stop, _MOST_LITERAL):
            data = bytes(self._new[at : min(at + _MOST_LITERAL, stop)])
            place = max(0, min(near + at - start - _AHEAD, len(self._old) - 1))
            ways = [stream(data)]
            if len(self._old):
                ways.append(
                    with_dictionary(data, bytes(self._old[place : place + (1 << 15)]), place)
                )
            self._made += bytes([LITERAL]) + number(len(data)) + min(ways, key=len)

    def numbers(self, kind: int, start: int, origin: int, length: int) -> None:
        """Write numbers as differences, block by block; as they are where that does not pay."""
        step = _BLOCK
        for at in range(0, length, step):
            size = min(step, length - at)
            old = bytes(self._old[origin + at : origin + at + size])
            new = bytes(self._new[start + at : start + at + size])
            if old == new:
                self.copy(origin + at, size)
                continue
            record = block.encode(kind, old, new, origin + at)
            if record is None or len(record) > _WORTH * size:
                self.literal(start + at, start + at + size, origin + at)
            else:
                self._flush()
                self._made += record

    def finish(self) -> bytes:
        """Return all records."""
        self._flush()
        return bytes(self._made)

    def _flush(self) -> None:
        origin, length = self._copy
        if length:
            self._made += bytes([COPY]) + number(origin) + number(length)
        self._copy = (0, 0)


def encode(
    old: memoryview, new: memoryview, regions: tuple[Sequence[Region], Sequence[Region]]
) -> bytes:
    """Return the records that make ``new`` of ``old``, whose regions are given in this order."""
    writer = Writer(old, new)
    pairs = [*_pairs(*regions), (Region(len(new), 0, INT8, ""), len(old))]
    done = origin = 0
    for region, place in pairs:
        _between(writer, (old, new), (done, region.offset), (origin, place))
        if region.length:
            writer.numbers(region.kind, region.offset, place, region.length)
        done, origin = region.offset + region.length, place + region.length
    return writer.finish()


def _pairs(old: Sequence[Region], new: Sequence[Region]) -> list[tuple[Region, int]]:
    """Return new regions and where their old numbers lie: of one name, else the next of one size."""
    named: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    sized: dict[tuple[int, int], list[Region]] = defaultdict(list)
    for region in old:
        named[region.name, region.kind, region.length].append(region.offset)
        sized[region.kind, region.length].append(region)
    names = {region.name for region in new}
    found = []
    for region in new:
        same = named[region.name, region.kind, region.length]
        renamed = [r for r in sized[region.kind, region.length] if r.name not in names]
        if same:
            found.append((region, same.pop(0)))
        elif renamed:
            found.append((region, renamed[0].offset))
            sized[region.kind, region.length].remove(renamed[0])
    return found


def _between(
    writer: Writer,
    files: tuple[memoryview, memoryview],
    new: tuple[int, int],
    old: tuple[int, int],
) -> None:
    """Write the bytes ``new`` that are no known numbers; ``old`` is where they should have been."""
    data = files[1][new[0] : new[1]]
    size = len(data)
    if not size:
        return
    origin = old[0]
    if old[1] - origin == size:
        _aligned(writer, files, (new[0], origin), size)
        return
    # Tensors of another order lead backwards: then the bytes around are all that may be like them.
    known = files[0][origin : max(old[1], origin)]
    if not known.nbytes or max(size, known.nbytes) > _MOST_SEARCHED:
        writer.literal(*new, origin)
        return
    done, last = 0, 0
    found = matches(bytes(known), bytes(data))
    for at, place, length in [*found, (size, known.nbytes, 0)]:
        if at > done and place - last == at - done:
            _aligned(writer, files, (new[0] + done, origin + last), at - done)
        elif at > done:
            writer.literal(new[0] + done, new[0] + at, origin + last)
        if length:
            writer.copy(origin + place, length)
        done, last = at + length, place + length


def _aligned(
    writer: Writer, files: tuple[memoryview, memoryview], at: tuple[int, int], size: int
) -> None:
    """Write bytes that have their old selves in place, as the numbers that they seem to be."""
    old, new = files[0][at[1] : at[1] + size], files[1][at[0] : at[0] + size]
    for start, stop, kind in guess(old, new, at[0]):
        writer.numbers(kind, at[0] + start, at[1] + start, stop - start)
