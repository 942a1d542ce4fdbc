"""A Fourier transform in 16 bit integers, rounded as kissfft does: what microcontrollers compute."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array]  # real and imaginary parts

_BITS = 15
_MOST = (1 << _BITS) - 1
_FOUR = 4


def rfft(frames: Array) -> Pair:
    """Return the transform of real frames [..., n] divided by n, n a power of 2; each of n // 2 + 1."""
    half = frames.shape[-1] // 2
    wide = frames.astype(np.int64)
    real, imaginary = _shared(_transform((wide[..., 0::2], wide[..., 1::2])), 2)
    made = tuple(np.zeros((*frames.shape[:-1], half + 1), np.int64) for _ in range(2))
    made[0][..., 0] = real[..., 0] + imaginary[..., 0]
    made[0][..., half] = real[..., 0] - imaginary[..., 0]
    low = np.arange(1, half // 2 + 1)
    high = half - low
    one, other = (real[..., low], imaginary[..., low]), (real[..., high], -imaginary[..., high])
    even = (one[0] + other[0], one[1] + other[1])
    odd = _times((one[0] - other[0], one[1] - other[1]), _split_turns(half))
    made[0][..., low], made[1][..., low] = (even[0] + odd[0]) >> 1, (even[1] + odd[1]) >> 1
    made[0][..., high], made[1][..., high] = (even[0] - odd[0]) >> 1, (odd[1] - even[1]) >> 1
    return made[0], made[1]


def _transform(value: Pair) -> Pair:
    """Return the complex transform by radix 4, and 2 where 4 does not divide, halved at each step."""
    size = value[0].shape[-1]
    if size == 1:
        return value
    radix = _FOUR if size % _FOUR == 0 else 2
    parts = []
    for start in range(radix):
        part = _transform((value[0][..., start::radix], value[1][..., start::radix]))
        part = _shared(part, radix)
        parts.append(_times(part, _turns(size, radix, start)) if start else part)
    made = _two(parts) if radix == 2 else _four(parts)  # noqa: PLR2004
    real = np.concatenate([part[0] for part in made], axis=-1)
    return real, np.concatenate([part[1] for part in made], axis=-1)


def _two(parts: list[Pair]) -> list[Pair]:
    (a, b), (c, d) = parts
    return [(a + c, b + d), (a - c, b - d)]


def _four(parts: list[Pair]) -> list[Pair]:
    first, one, two, three = parts
    less = (first[0] - two[0], first[1] - two[1])
    more = (first[0] + two[0], first[1] + two[1])
    total = (one[0] + three[0], one[1] + three[1])
    apart = (one[0] - three[0], one[1] - three[1])
    return [
        (more[0] + total[0], more[1] + total[1]),
        (less[0] + apart[1], less[1] - apart[0]),
        (more[0] - total[0], more[1] - total[1]),
        (less[0] - apart[1], less[1] + apart[0]),
    ]


def _rounded(value: Array) -> Array:
    return (value + (1 << (_BITS - 1))) >> _BITS


def _shared(value: Pair, by: int) -> Pair:
    """Return a value divided, as kissfft does it: times a rounded-down share of 32767."""
    share = _MOST // by
    return _rounded(value[0] * share), _rounded(value[1] * share)


def _times(one: Pair, other: Pair) -> Pair:
    return (
        _rounded(one[0] * other[0] - one[1] * other[1]),
        _rounded(one[0] * other[1] + one[1] * other[0]),
    )


@lru_cache(maxsize=64)
def _turns(size: int, radix: int, which: int) -> Pair:
    return _unit(np.arange(size // radix) * (-2.0 * math.pi * which / size))


@lru_cache(maxsize=8)
def _split_turns(half: int) -> Pair:
    return _unit(-math.pi * (np.arange(1, half // 2 + 1) / half + 0.5))


def _unit(phase: Array) -> Pair:
    return (
        np.floor(0.5 + _MOST * np.cos(phase)).astype(np.int64),
        np.floor(0.5 + _MOST * np.sin(phase)).astype(np.int64),
    )
