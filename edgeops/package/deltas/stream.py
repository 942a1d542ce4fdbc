"""Write the parts of a delta: numbers, streams in whichever way is smallest, whole records."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from edgeops.runtime.delta.header import DEFLATE, DEFLATE_BASE, RAW, WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# A way of packing: strategy and level. Matching beyond level 6 takes long on few symbols.
_WAYS = ((zlib.Z_HUFFMAN_ONLY, 9), (zlib.Z_DEFAULT_STRATEGY, 6))
_SAMPLE = 1 << 13
_SAMPLES = 4
_WORTH = 0.99
_MEMORY = 9


def number(value: int) -> bytes:
    """Return a number, seven bits a byte, the lowest first."""
    made = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def stream(data: bytes, cuts: Iterable[int] = ()) -> bytes:
    """Return a stream as it is stored: nothing for no bytes, else the smallest of some ways.

    ``cuts`` are places where the statistics of the bytes change.
    """
    if not data:
        return b""
    best = bytes([RAW]) + data
    for way in _promising(data):
        packed = _deflate(data, way, [*cuts] if way == _WAYS[0] else [])
        best = min(best, bytes([DEFLATE]) + number(len(packed)) + packed, key=len)
    return best


def with_dictionary(data: bytes, base: bytes, offset: int) -> bytes:
    """Return a stream that is packed knowing the bytes of ``base`` from ``offset``."""
    packer = zlib.compressobj(
        9, zlib.DEFLATED, -zlib.MAX_WBITS, _MEMORY, zdict=base[offset : offset + WINDOW]
    )
    packed = packer.compress(data) + packer.flush()
    return bytes([DEFLATE_BASE]) + number(offset) + number(len(packed)) + packed


def _promising(data: bytes) -> Sequence[tuple[int, int]]:
    """Return the ways worth trying: for long data the one that samples choose, none for noise."""
    if len(data) <= 2 * _SAMPLES * _SAMPLE:
        return _WAYS
    step = len(data) // _SAMPLES
    samples = [data[at : at + _SAMPLE] for at in range(0, step * _SAMPLES, step)]
    sizes = {way: sum(len(_deflate(sample, way, [])) for sample in samples) for way in _WAYS}
    best = min(_WAYS, key=sizes.__getitem__)
    return [best] if sizes[best] < _WORTH * _SAMPLES * _SAMPLE else []


def _deflate(data: bytes, way: tuple[int, int], cuts: list[int]) -> bytes:
    strategy, level = way
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, _MEMORY, strategy)
    made = bytearray()
    for start, stop in _spans(cuts, len(data)):
        made += packer.compress(data[start:stop])
        if stop < len(data):
            made += packer.flush(zlib.Z_BLOCK)
    return bytes(made + packer.flush())


def _spans(cuts: list[int], end: int) -> Iterator[tuple[int, int]]:
    start = 0
    for cut in cuts:
        if start < cut < end:
            yield start, cut
            start = cut
    yield start, end
