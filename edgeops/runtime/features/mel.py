"""Mel filters and the cosine transform, as matrices in float64."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_HTK = 2595.0
_CORNER = 700.0
# Slaney's scale: straight up to 1 kHz, which is 15 mel of 66.67 Hz, then 27 mel a factor of 6.4.
_STRAIGHT = 200.0 / 3.0
_BREAK = 1000.0
_STEP = math.log(6.4) / 27.0


def to_mel(hertz: Array, scale: str) -> Array:
    """Return frequencies in mel."""
    if scale == "htk":
        found: Array = _HTK * np.log10(1.0 + hertz / _CORNER)
        return found
    bent = _BREAK / _STRAIGHT + np.log(np.maximum(hertz, _BREAK) / _BREAK) / _STEP
    return np.where(hertz < _BREAK, hertz / _STRAIGHT, bent)


def to_hertz(mel: Array, scale: str) -> Array:
    """Return mel as frequencies in Hz."""
    if scale == "htk":
        found: Array = _CORNER * (10.0 ** (mel / _HTK) - 1.0)
        return found
    corner = _BREAK / _STRAIGHT
    bent = _BREAK * np.exp(_STEP * (np.maximum(mel, corner) - corner))
    return np.where(mel < corner, mel * _STRAIGHT, bent)


@lru_cache(maxsize=8)
def mel_filters(
    rate: int,
    fft: int,
    bins: int,
    low: float,
    high: float,
    *,
    scale: str,
    norm: str,
    triangles: str,
) -> Array:
    """Return the filters [fft // 2 + 1, bins], triangles whose feet are even in mel.

    ``triangles`` says on which axis their sides are straight: ``hz`` or ``mel``. ``norm: slaney``
    gives each an area of 1 in Hz.
    """
    ends = to_mel(np.array([low, high]), scale)
    mels = np.linspace(ends[0], ends[1], bins + 2)
    feet = to_hertz(mels, scale)
    places = np.arange(fft // 2 + 1) * (rate / fft)
    if triangles == "mel":
        feet_used, places = mels, to_mel(places, scale)
    else:
        feet_used = feet
    left, middle, right = feet_used[:-2], feet_used[1:-1], feet_used[2:]
    rising = (places[:, None] - left) / (middle - left)
    falling = (right - places[:, None]) / (right - middle)
    found: Array = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        found = found * (2.0 / (feet[2:] - feet[:-2]))
    return found


@lru_cache(maxsize=8)
def cosines(bins: int, coefficients: int, norm: str) -> Array:
    """Return the DCT-II as a matrix [bins, coefficients]."""
    places = (np.arange(bins)[:, None] + 0.5) * np.arange(coefficients)
    found: Array = np.cos(places * (math.pi / bins)) * math.sqrt(2.0 / bins)
    if norm == "ortho":
        found[:, 0] *= math.sqrt(0.5)
    return found
