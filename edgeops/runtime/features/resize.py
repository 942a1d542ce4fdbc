"""Resizing in integers, so that every machine makes the same pixels.

The way of Pillow up to 12: half-pixel centres, horizontally and then vertically, weights of 22 bits,
each pass rounded to 8 bits. (Pillow 13 takes the cheaper order, which differs by 1 here and there.) With ``antialias`` the triangle grows with the factor when an image shrinks;
without, two neighbours are mixed whatever the factor.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

_BITS = 22
_BLOCK = 1 << 16
_STRIP = 64


def resize(
    image: np.ndarray[Any, Any], width: int, height: int, method: str, *, antialias: bool
) -> np.ndarray[Any, Any]:
    """Return an image [height, width, channels] of uint8 or float32 in another size.

    What comes back may lie plane by plane in memory: the layout NCHW then copies nothing.
    """
    rows, columns = image.shape[:2]
    if method == "nearest":
        image = image if rows == height else image[nearest(rows, height)]
        return image if columns == width else image[:, nearest(columns, width)]
    if (rows, columns) == (height, width):
        return image
    planes = image.transpose(2, 0, 1)
    if columns != width:
        planes = _turned(_mix(_turned(planes), *taps(columns, width, antialias)))
    if rows != height:
        planes = _mix(np.ascontiguousarray(planes), *taps(rows, height, antialias))
    return planes.transpose(1, 2, 0)


def _turned(planes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return planes with rows and columns changed, copied in strips that stay in the cache."""
    made = np.empty((planes.shape[0], planes.shape[2], planes.shape[1]), planes.dtype)
    for start in range(0, planes.shape[1], _STRIP):
        strip = slice(start, start + _STRIP)
        made[:, :, strip] = planes[:, strip].transpose(0, 2, 1)
    return made


@lru_cache(maxsize=64)
def nearest(source: int, size: int) -> np.ndarray[Any, Any]:
    """Return for each of ``size`` pixels the one of ``source`` in whose middle it lies."""
    # (i + 1/2) * source / size, rounded down, in integers: a half is the same on every machine.
    found: np.ndarray[Any, Any] = (2 * np.arange(size, dtype=np.int64) + 1) * source // (2 * size)
    return found


@lru_cache(maxsize=64)
def taps(source: int, size: int, antialias: bool) -> tuple[Any, Any]:
    """Return [taps, size] of which pixels of the source are mixed, and of their weights."""
    scale = source / size
    spread = max(scale, 1.0) if antialias else 1.0
    centre = (np.arange(size) + 0.5) * scale
    first = np.maximum((centre - spread + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + spread + 0.5).astype(np.int64), source)
    index = first[None] + np.arange(math.ceil(spread) * 2 + 1)[:, None]
    weight = np.maximum(1.0 - np.abs((index - centre + 0.5) / spread), 0.0) * (index < last)
    weight /= weight.sum(axis=0)
    used = weight.any(axis=1)
    return np.minimum(index[used], source - 1), weight[used]


def _mix(planes: np.ndarray[Any, Any], index: Any, weight: Any) -> np.ndarray[Any, Any]:
    """Return planes whose rows are weighted sums of rows, in blocks that stay in the cache."""
    whole = planes.dtype == np.uint8
    kind = np.int32 if whole else np.float32
    weight = np.floor(weight * (1 << _BITS) + 0.5).astype(np.int32) if whole else weight
    weight = weight.astype(kind)[:, :, None]
    size, length = index.shape[1], planes.shape[2]
    made = np.empty((planes.shape[0], size, length), planes.dtype)
    step = max(1, _BLOCK // length)
    for rows, out in zip(planes, made):
        for start in range(0, size, step):
            part = slice(start, start + step)
            total = np.multiply(rows[index[0, part]], weight[0, part], dtype=kind)
            for which in range(1, len(index)):
                total += np.multiply(rows[index[which, part]], weight[which, part], dtype=kind)
            if whole:
                total += 1 << (_BITS - 1)
                total >>= _BITS
            out[part] = total
    return made
