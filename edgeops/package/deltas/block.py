"""Code a block of numbers as differences from old ones: what runtime/delta/typed.py reads.

Several codings are tried and the smallest is kept: only what changed or all; for floats sorted by
exponent, with the number of low bits that suits each exponent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.package.deltas.stream import number, stream
from edgeops.runtime.delta import typed
from edgeops.runtime.delta.header import TYPED

if TYPE_CHECKING:
    from edgeops.runtime.delta.typed import Kind

_ZEROS_WORTH = 0.5
_MASK_WORTH, _NEAR_BEST = 0.97, 1.05
_FEW = 256
_CUT = 4096
_MOST_HIGH = 127
_ENOUGH = 1 << 14
# High parts take time to unpack and low bits do not: a bit of the former costs a little more.
_SLOW = 1.02
_CODE_BITS = 4  # what a table of codes takes for each of them


def encode(kind_number: int, old: bytes, new: bytes, offset: int) -> bytes | None:
    """Return the record that makes ``new`` of ``old``, which lies at ``offset`` in the base.

    None when they have so little in common that no coding fits.
    """
    kind = typed.KINDS[kind_number]
    before = np.frombuffer(old, typed.UNSIGNED[kind.size])
    after = np.frombuffer(new, typed.UNSIGNED[kind.size])
    head = bytes([TYPED, kind_number]) + number(offset) + number(len(after))
    best = _coded(kind, before, after, b"", 0)
    mask = before != after
    if 0 < mask.mean() < _ZEROS_WORTH:
        marks = stream(np.packbits(mask, bitorder="little").tobytes())
        masked = _coded(kind, before[mask], after[mask], marks, typed.MASKED)
        # A mask takes time to apply: it must be worth it.
        if masked and (best is None or len(masked) < _MASK_WORTH * len(best)):
            best = masked
    return head + best if best else None


def _coded(kind: Kind, before: Any, after: Any, marks: bytes, flags: int) -> bytes | None:
    """Return flags, mask and codes of the numbers that the mask marks; None when none fits."""
    keys = typed.exponents(before, kind) if kind.bits else np.zeros(len(before), np.uint8)
    differences = typed.ordered(after, kind) - typed.ordered(before, kind)
    cuts: list[int] = []
    if kind.bits:
        flags |= typed.SORTED
        differences = differences[keys.argsort(kind="stable")]
    counts = np.bincount(keys, minlength=256 if kind.bits else 1)
    edges = np.concatenate([[0], np.cumsum(counts)])
    shifts = _shifts(kind, differences, edges)
    rows = [(k, r) for k, r in enumerate(shifts) if not k or r != shifts[k - 1]]
    if kind.bits:
        table = number(len(rows)) + bytes(value for row in rows for value in row)
        cuts = [int(edge) for edge, n in zip(edges, counts, strict=False) if n >= _CUT]
    else:
        table = bytes([shifts[0]])
    stops = [*(k for k, _ in rows[1:]), len(counts)]
    runs = [(int(edges[k]), int(edges[stop]), r) for (k, r), stop in zip(rows, stops, strict=True)]
    return _split(kind, differences, runs, (flags, marks + table, cuts))


def _shifts(kind: Kind, differences: Any, edges: Any) -> list[int]:
    """Return for each exponent how many low bits to split off; few numbers follow a neighbour."""
    signed = differences.view(typed.SIGNED[kind.size])
    counts = np.diff(edges)
    enough = np.flatnonzero(counts >= _FEW)
    if not len(enough):
        return [_shift(kind, signed)] * len(counts)
    found = {int(k): _shift(kind, signed[edges[k] : edges[k + 1]]) for k in enough}
    return [found[int(enough[np.abs(enough - k).argmin()])] for k in range(len(counts))]


def _shift(kind: Kind, differences: Any) -> int:
    """Return the number of low bits that makes the least of noise and high parts together."""
    if kind.size == 1:
        return 0
    best, least = 0, float("inf")
    differences = differences[:: max(1, len(differences) // _ENOUGH)]
    for r in range(0, 8 * kind.size, 4):
        high = (differences >> r).clip(-_MOST_HIGH - 1, _MOST_HIGH + 1)
        escaped = ((high > _MOST_HIGH) | (high < -_MOST_HIGH)).mean()
        counts = np.bincount((high + 128).astype(np.int64))
        share = counts[counts > 0] / len(high)
        bits = -_SLOW * (share * np.log2(share)).sum() + r + 8 * kind.size * escaped
        bits += _CODE_BITS * len(share) / len(high)
        if bits < least:
            best, least = r, bits
    return best


def _split(
    kind: Kind, differences: Any, runs: Any, about: tuple[int, bytes, list[int]]
) -> bytes | None:
    """Return the smallest coding of differences over the widths of the high parts, if any."""
    flags, head, cuts = about
    signed = differences.view(typed.SIGNED[kind.size]).astype(np.int64)
    high = np.empty_like(signed)
    for start, stop, r in runs:
        high[start:stop] = signed[start:stop] >> r
    codes = np.where(high < 0, -2 * high - 1, 2 * high)
    low = _low(kind, differences, runs) if kind.size > 1 else b""
    tried = []
    for place, width in enumerate(typed.WIDTHS):
        escape = (1 << width) - 1
        escaped = codes >= escape
        if escaped.mean() > _ZEROS_WORTH:
            continue
        packed = _packed(np.minimum(codes, escape).astype(np.uint8), width)
        bits = _entropy(packed) + 8 * kind.size * int(escaped.sum())
        tried.append((bits, place, packed, escaped))
    least = min((bits for bits, *_ in tried), default=0)
    made = []
    for bits, place, packed, escaped in tried:
        # What is far from the best is not worth the time of packing it.
        if bits <= _NEAR_BEST * least:
            at = [cut * typed.WIDTHS[place] // 8 for cut in cuts]
            exact = stream(differences[escaped].tobytes())
            made.append(bytes([flags | place << 2]) + head + stream(packed, at) + exact + low)
    return min(made, key=len, default=None)


def _entropy(data: bytes) -> float:
    """Return about how many bits Huffman codes make of bytes: at least one for each of them."""
    counts = np.bincount(np.frombuffer(data, np.uint8))
    share = counts[counts > 0] / len(data)
    return len(data) * max(float(-(share * np.log2(share)).sum()), 1.0)


def _packed(codes: Any, width: int) -> bytes:
    per = 8 // width
    padded = np.zeros(-(-len(codes) // per) * per, np.uint8)
    padded[: len(codes)] = codes
    columns = padded.reshape(-1, per)
    made = columns[:, 0].copy()
    for place in range(1, per):
        made |= columns[:, place] << (width * place)
    return made.tobytes()


def _low(kind: Kind, differences: Any, runs: Any) -> bytes:
    """Return the streams of the low bits: planes of whole bytes, then of four bits."""
    made = b""
    for place in range(kind.size - 1):
        parts = [differences[a:b] >> (8 * place) for a, b, r in runs if r >= 8 * (place + 1)]
        made += stream(b"".join((part & 255).astype(np.uint8).tobytes() for part in parts))
    odd = [(differences[a:b] >> (r - 4)) & 15 for a, b, r in runs if r % 8]
    if odd:
        made += stream(_packed(np.concatenate(odd).astype(np.uint8), 4))
    return made
