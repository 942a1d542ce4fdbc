"""Guess what numbers lie in bytes of no known format: the kind whose differences are smallest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeops.package.deltas import block
from edgeops.package.deltas.locate import BFLOAT16, FLOAT16, FLOAT32, INT8, SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 16
_SAMPLE = 1 << 12
_NEAR_BEST = 1.05
_POOR, _HOPELESS = 0.3, 2.0


class Guess(NamedTuple):
    """A kind of numbers, where the first of them begins, and how well its sample was packed."""

    kind: int
    phase: int
    share: float


def guess(old: memoryview, new: memoryview, offset: int) -> Iterator[tuple[int, int, int]]:
    """Yield (from, to, kind) over two parts of one length; ``offset`` is theirs in the new file.

    Numbers usually begin at a multiple of their size in the file: that is tried first.
    """
    start, last = 0, Guess(INT8, 0, 1.0)
    for place in range(0, len(new), _PIECE):
        found = _of_piece(
            old[place : place + _PIECE], new[place : place + _PIECE], offset + place, last
        )
        size = SIZES[found.kind]
        begin = place + (found.phase - offset - place) % size
        if found.kind != last.kind or (begin - start) % size:
            yield from _whole(start, min(begin, len(new)), last.kind)
            start = min(begin, len(new))
        last = found
    yield from _whole(start, len(new), last.kind)


def _whole(start: int, stop: int, kind: int) -> Iterator[tuple[int, int, int]]:
    whole = start + (stop - start) // SIZES[kind] * SIZES[kind]
    if whole > start:
        yield start, whole, kind
    if stop > whole:
        yield whole, stop, INT8


def _of_piece(old: memoryview, new: memoryview, offset: int, last: Guess) -> Guess:
    middle = (len(new) - _SAMPLE) // 8 * 4 if len(new) > 2 * _SAMPLE else 0
    before, after = (bytes(part[middle : middle + _SAMPLE]) for part in (old, new))
    if before == after:
        return last
    offset += middle
    again = _tried(before, after, offset, last.kind, last.phase)
    if last.share < 1 and again.share < _NEAR_BEST * last.share:
        return again
    aligned = [_tried(before, after, offset, k, 0) for k in (INT8, FLOAT32, FLOAT16, BFLOAT16)]
    best = min(aligned, key=lambda each: each.share)
    if best.share < _POOR:
        return best
    ways = [(FLOAT32, 1), (FLOAT32, 2), (FLOAT32, 3), (FLOAT16, 1), (BFLOAT16, 1)]
    odd = [_tried(before, after, offset, *way) for way in ways]
    return min([best, *odd], key=lambda each: each.share)


def _tried(before: bytes, after: bytes, offset: int, kind: int, phase: int) -> Guess:
    size = SIZES[kind]
    begin = (phase - offset) % size
    stop = begin + (len(after) - begin) // size * size
    if stop <= begin:
        return Guess(kind, phase, _HOPELESS)
    made = block.encode(kind, before[begin:stop], after[begin:stop], 0)
    return Guess(kind, phase, len(made) / (stop - begin) if made else _HOPELESS)
