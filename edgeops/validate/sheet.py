"""A sheet of samples with captions as one SVG file, their pictures in it as PNG."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SIDE = 96
_WIDTH = 720
_LEAST = 8
_CHANNELS = (1, 3)
_LINE = 16
_CUT = 90


@dataclass(frozen=True)
class Card:
    """One sample: its picture as PNG or None, and lines of text."""

    picture: bytes | None
    lines: tuple[str, ...]


def picture(arrays: Mapping[str, Any], index: int) -> bytes | None:
    """Return a sample's input as PNG, None where no input looks like a picture.

    That is ``[samples, 1 or 3, height, width]`` or ``[samples, height, width, 1 or 3]``, 8 pixels
    a side and more. Bytes are shown as they are, other numbers from their least to their most.
    """
    import numpy as np

    for array in arrays.values():
        if array.ndim != 4 or array.dtype.kind not in "fiu":  # noqa: PLR2004 - samples, height, width, channels
            continue
        if array.shape[3] in _CHANNELS and min(array.shape[1:3]) >= _LEAST:
            pixels = array[index]
        elif array.shape[1] in _CHANNELS and min(array.shape[2:]) >= _LEAST:
            pixels = np.moveaxis(array[index], 0, -1)
        else:
            continue
        step = max(1, -(-max(pixels.shape[:2]) // (2 * _SIDE)))
        return png(_bytes(pixels[::step, ::step]))
    return None


def png(pixels: Any) -> bytes:
    """Return ``[height, width, 1 or 3]`` of uint8 as a PNG file."""
    import numpy as np

    height, width, channels = pixels.shape
    rows = np.zeros((height, width * channels + 1), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def svg(cards: Sequence[Card]) -> str:
    """Return the sheet; it loads nothing from anywhere."""
    height, parts = 8, []
    for card in cards or [Card(None, ("no sample differs",))]:
        left = 8
        if card.picture is not None:
            data = base64.b64encode(card.picture).decode()
            parts.append(
                f'<image x="8" y="{height}" width="{_SIDE}" height="{_SIDE}" '
                f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
            )
            left += _SIDE + 12
        for row, line in enumerate(card.lines):
            weight = ' font-weight="bold"' if not row else ""
            y = height + _LINE * (row + 1) - 4
            parts.append(f'<text x="{left}" y="{y}"{weight}>{_text(line)}</text>')
        height += max(_LINE * len(card.lines), _SIDE if card.picture else 0) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(line: str) -> str:
    # What XML cannot hold at all (control characters) is shown as a mark.
    plain = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
    return escape(plain if len(plain) <= _CUT else plain[: _CUT - 3] + "...")


def _bytes(pixels: Any) -> Any:
    import numpy as np

    if pixels.dtype == np.uint8:
        return pixels
    values = np.nan_to_num(pixels.astype(float), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    return ((values - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check
