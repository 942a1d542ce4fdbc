"""The opset of an ONNX file, read from its first and last bytes: the graph is stepped over.

An ONNX file is one protobuf message (onnx.proto, ModelProto): field 8 are the imported opsets, each
a message with the domain in field 1 and the version in field 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_OPSETS, _DOMAIN, _VERSION = 8, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STANDARD = (b"", b"ai.onnx")
_MAX_FIELDS = 10_000
_MAX_IMPORT = 1 << 10
_MAX_SHIFT = 63


def onnx_opset(file: IO[bytes], start: int, size: int) -> int | None:
    """Return the standard domain's opset of the ONNX file at ``start``, None when it has none."""
    try:
        found = [
            _imported(file, at, length)
            for number, at, length in _fields(file, start, start + size)
            if number == _OPSETS and length <= _MAX_IMPORT
        ]
    except ValueError:
        return None
    return next((version for domain, version in found if domain in _STANDARD), None)


def _imported(file: IO[bytes], at: int, length: int) -> tuple[bytes, int]:
    domain, version = b"", 0
    for number, place, size in _fields(file, at, at + length):
        file.seek(place)
        if number == _DOMAIN:
            domain = file.read(size)
        elif number == _VERSION:
            version = _varint(file)
    return domain, version


def _fields(file: IO[bytes], at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, place and length of each field; raises ValueError where it is no protobuf."""
    for _ in range(_MAX_FIELDS):
        if at >= end:
            return
        file.seek(at)
        key = _varint(file)
        place = file.tell()
        kind = key & 7
        if kind == _BYTES:
            length = _varint(file)
            place = file.tell()
        elif kind == _VARINT:
            _varint(file)
            length = file.tell() - place
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            length = end  # leads to the error
        if place + length > end:
            message = "a field leads beyond the end"
            raise ValueError(message)
        yield key >> 3, place, length
        at = place + length


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, _MAX_SHIFT + 1, 7):
        piece = file.read(1)
        if not piece:
            break
        value |= (piece[0] & 0x7F) << shift
        if piece[0] < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value
    message = "it is cut off"
    raise ValueError(message)
