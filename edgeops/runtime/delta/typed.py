"""Rebuild a block of numbers from the old ones and their coded differences; all in numpy.

A difference d of two numbers is split into ``(high << r) + low``: the high part, near zero, is
packed in 2, 4 or 8 bits and deflated; the r low bits are noise and stored as they are. Floats are
compared as integers in their numeric order, and sorted by their old exponent, for the size of a
difference in units of the last place follows from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeops.runtime.delta.header import MOST_BYTES, malformed

if TYPE_CHECKING:
    from edgeops.runtime.delta.reader import Base, Reader

MASKED, SORTED = 1, 2
WIDTHS = (2, 4, 8)
_NIBBLE = 4


class Kind(NamedTuple):
    """A kind of numbers: bytes each, and for floats where the exponent begins and its bits."""

    size: int
    exponent: int = 0
    bits: int = 0


KINDS = {1: Kind(1), 2: Kind(2), 3: Kind(4), 4: Kind(2, 10, 5), 5: Kind(2, 7, 8), 6: Kind(4, 23, 8)}
UNSIGNED: dict[int, Any] = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
SIGNED: dict[int, Any] = {1: np.dtype("i1"), 2: np.dtype("<i2"), 4: np.dtype("<i4")}


def read_block(reader: Reader, base: Base, left: int) -> memoryview:
    """Return the bytes of one block, at most ``left``; raises TrustError ``delta-malformed``."""
    number = reader.byte()
    if number not in KINDS:
        raise malformed(f"a block holds numbers of kind {number}, which nobody has defined")
    kind = KINDS[number]
    offset = reader.number()
    count = reader.bounded(min(MOST_BYTES, left) // kind.size, "the length of a block")
    flags = reader.byte()
    old = np.frombuffer(base.read(offset, count * kind.size), UNSIGNED[kind.size])
    if flags >> 4 or flags >> 2 >= len(WIDTHS):
        raise malformed(f"a block has the flags {flags:#x}, which nobody has defined")
    if not flags & MASKED:
        return _bytes(_changed(reader, kind, old, flags))
    mask = _mask(reader, count)
    new = old.copy()
    new[mask] = _changed(reader, kind, old[mask], flags)
    return _bytes(new)


def _bytes(values: Any) -> memoryview:
    data: memoryview = values.view(np.uint8).data
    return data


def _mask(reader: Reader, count: int) -> Any:
    packed = np.frombuffer(reader.stream((count + 7) // 8), np.uint8)
    bits = np.unpackbits(packed, bitorder="little")
    if bits[count:].any() or not bits.any():
        raise malformed("the mask of a block marks nothing, or more than the block has")
    return bits[:count].view(bool)


def _changed(reader: Reader, kind: Kind, old: Any, flags: int) -> Any:
    """Return the new numbers for ``old``, all of which may have changed."""
    new = ordered(old, kind)
    if not flags & SORTED:
        runs = [(0, len(old), _shift(reader.byte(), kind))]
        new += _differences(reader, kind, runs, flags)
        return _unordered(new, kind)
    if not kind.bits:
        raise malformed("a block of integers is sorted by an exponent that they do not have")
    keys = exponents(old, kind)
    runs = _runs(reader, kind, np.bincount(keys, minlength=256))
    differences = np.empty_like(old)
    differences[keys.argsort(kind="stable")] = _differences(reader, kind, runs, flags)
    new += differences
    return _unordered(new, kind)


def exponents(values: Any, kind: Kind) -> Any:
    """Return the exponents of floats that are given as unsigned integers."""
    shifted = values >> values.dtype.type(kind.exponent)
    if kind.bits < 8:  # noqa: PLR2004 - to become a byte cuts off the sign of the others
        shifted &= values.dtype.type((1 << kind.bits) - 1)
    return shifted.astype(np.uint8)


def _shift(value: int, kind: Kind) -> int:
    if value % _NIBBLE or value >= 8 * kind.size:
        raise malformed(f"{value} low bits are split off numbers of {8 * kind.size}")
    return value


def _runs(reader: Reader, kind: Kind, counts: Any) -> list[tuple[int, int, int]]:
    """Return (from, to, low bits) over the sorted numbers, by the table of exponents."""
    rows = [
        (reader.byte(), _shift(reader.byte(), kind)) for _ in range(reader.bounded(255, "rows"))
    ]
    starts = [start for start, _ in rows]
    if starts[0] or any(a >= b for a, b in zip(starts, starts[1:])):
        raise malformed("its table of exponents does not rise from 0")
    edges = np.concatenate([[0], np.cumsum(counts)])
    stops = [*starts[1:], len(counts)]
    return [(int(edges[a]), int(edges[b]), r) for (a, r), b in zip(rows, stops)]


def _differences(reader: Reader, kind: Kind, runs: list[tuple[int, int, int]], flags: int) -> Any:
    """Return the differences of a block as unsigned integers, modulo their width."""
    total, width = runs[-1][1], WIDTHS[flags >> 2]
    packed = np.frombuffer(reader.stream((total * width + 7) // 8), np.uint8)
    high = _TABLES[width].take(packed).view(np.int8)[:total]
    # The largest code stands for differences that are stored in full: it would be this number.
    escaped = np.flatnonzero(high == -(1 << (width - 1)))
    exact = reader.stream(len(escaped) * kind.size)
    if kind.size == 1 and not runs[0][2]:
        made = high.view(np.uint8)
    else:
        made = high.astype(SIGNED[kind.size]).view(UNSIGNED[kind.size])
        _add_low(reader, kind, runs, made)
    if len(escaped):
        made[escaped] = np.frombuffer(exact, UNSIGNED[kind.size])
    return made


def _add_low(reader: Reader, kind: Kind, runs: list[tuple[int, int, int]], made: Any) -> None:
    """Shift the high parts in place and put the low bits under them."""
    planes = []
    for place in range(kind.size - 1):
        size = sum(to - start for start, to, r in runs if r >= 8 * (place + 1))
        planes.append(np.frombuffer(reader.stream(size), np.uint8))
    odd = sum(to - start for start, to, r in runs if r % 8)
    packed = np.frombuffer(reader.stream((odd + 1) // 2), np.uint8)
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
    used, used_nibbles = [0] * len(planes), 0
    for start, to, r in runs:
        part, length = made[start:to], to - start
        part <<= made.dtype.type(r)
        for place in range(r // 8):
            low = planes[place][used[place] : used[place] + length]
            used[place] += length
            part |= low.astype(made.dtype) << made.dtype.type(8 * place)
        if r % 8:
            low = nibbles[used_nibbles : used_nibbles + length]
            used_nibbles += length
            part |= low.astype(made.dtype) << made.dtype.type(r - _NIBBLE)


def ordered(values: Any, kind: Kind) -> Any:
    """Return floats' bits as unsigned integers in the floats' order; integers as they are."""
    if not kind.bits:
        return values.copy()
    top = 8 * kind.size - 1
    flips = (values.view(SIGNED[kind.size]) >> top).view(values.dtype)
    flips |= values.dtype.type(1 << top)
    flips ^= values
    return flips


def _unordered(values: Any, kind: Kind) -> Any:
    """Return floats' bits for their integers in order, in place of these."""
    if kind.bits:
        top = 8 * kind.size - 1
        flips = (values.view(SIGNED[kind.size]) >> top).view(values.dtype)
        np.invert(flips, out=flips)
        flips |= values.dtype.type(1 << top)
        values ^= flips
    return values


def _table(width: int) -> Any:
    """Return for each byte the high parts packed in it, the first in its lowest bits."""
    codes = np.arange(256)[:, None] >> np.arange(0, 8, width) & ((1 << width) - 1)
    values = ((codes >> 1) ^ -(codes & 1)).astype(np.int8)
    return np.ascontiguousarray(values).view(f"u{8 // width}").reshape(-1)


_TABLES = {width: _table(width) for width in WIDTHS}
