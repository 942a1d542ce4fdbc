"""Find what two pieces of bytes have in common, wherever it lies; for formats nobody knows."""

from __future__ import annotations

from typing import Any

import numpy as np

_BLOCK = 32
_LANES = _BLOCK // 8
_FACTORS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64
)
_COMPARED = 4096


def matches(old: bytes, new: bytes) -> list[tuple[int, int, int]]:
    """Return (place in new, place in old, length) of equal parts, in the order of ``new``."""
    if min(len(old), len(new)) < _BLOCK:
        return []
    known = _hashes(old)[::_BLOCK]
    order = known.argsort(kind="stable")
    ranked = known[order]
    wanted = _hashes(new)
    near = np.searchsorted(ranked, wanted).clip(max=len(ranked) - 1)
    places = np.flatnonzero(ranked[near] == wanted)
    return _greedy(old, new, places, order[near[places]] * _BLOCK)


def _greedy(old: bytes, new: bytes, places: Any, origins: Any) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    end = index = 0
    while index < len(places):
        at, origin = int(places[index]), int(origins[index])
        if found and new[at : at + _BLOCK] == old[at + found[-1][1] - found[-1][0] :][:_BLOCK]:
            origin = at + found[-1][1] - found[-1][0]
        if new[at : at + _BLOCK] != old[origin : origin + _BLOCK]:
            index += 1
            continue
        back = _equal_before(old[:origin], new[end:at])
        ahead = _equal(old[origin:], new[at:])
        found.append((at - back, origin - back, back + ahead))
        end = at + ahead
        index = int(np.searchsorted(places, end))
    return found


def _hashes(data: bytes) -> Any:
    """Return a hash of the block at every place of ``data``."""
    made = np.empty(len(data) - _BLOCK + 1, np.uint64)
    for phase in range(8):
        words = np.frombuffer(data[phase : phase + (len(data) - phase) // 8 * 8], "<u8")
        length = len(words) - _LANES + 1
        if length < 1:
            continue
        mixed = np.zeros(length, np.uint64)
        for lane in range(_LANES):
            word = words[lane : lane + length]
            mixed += (word ^ (word >> np.uint64(29))) * _FACTORS[lane]
        made[phase::8] = mixed
    return made


def _equal(old: memoryview | bytes, new: memoryview | bytes) -> int:
    """Return how many bytes are equal from the front."""
    most, length = min(len(old), len(new)), 0
    while length < most:
        size = min(_COMPARED, most - length)
        a = np.frombuffer(old, np.uint8, size, length)
        b = np.frombuffer(new, np.uint8, size, length)
        differ = np.flatnonzero(a != b)
        if len(differ):
            return length + int(differ[0])
        length += size
    return length


def _equal_before(old: bytes, new: bytes) -> int:
    return _equal(old[-_COMPARED:][::-1], new[-_COMPARED:][::-1])
