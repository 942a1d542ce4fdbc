"""Read a delta and its base piece by piece: every size is checked before memory is taken."""

from __future__ import annotations

import io
import os
import zlib
from typing import TYPE_CHECKING, BinaryIO

from edgeops.runtime.delta.header import DEFLATE, DEFLATE_BASE, RAW, WINDOW, malformed, wrong_base

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.runtime.delta.header import Source

_VARINT_BYTES = 9
_CONTINUES = 0x80
_SLACK = 64


class Base:
    """The old file, read by position; a file that shrinks meanwhile is refused, not a crash."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file = file
        self._path = path
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``.

        Raises TrustError ``delta-malformed`` where the file does not reach, ``delta-base-mismatch``
        when it can no longer be read.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise malformed(f"it reads to byte {offset + length} of a base of {self.size}")
        try:
            data = os.pread(self._file.fileno(), length, offset)
        except OSError as error:
            raise wrong_base(self._path, f"it cannot be read: {error.strerror}") from error
        if len(data) != length:
            raise wrong_base(self._path, "it became shorter while it was read")
        return data


class Reader:
    """The delta from front to back; every method raises TrustError ``delta-malformed``."""

    def __init__(self, delta: Source, base: Base) -> None:
        self._base = base
        if isinstance(delta, (bytes, bytearray, memoryview)):
            self._file: BinaryIO = io.BytesIO(delta)
        else:
            self._file = delta.open("rb")
        self._file.seek(0, os.SEEK_END)
        self._left = self._file.tell()
        self._file.seek(0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        if length > self._left:
            raise malformed(f"it ends where {length} more bytes were announced")
        self._left -= length
        data = self._file.read(length)
        if len(data) != length:
            raise malformed("it became shorter while it was read")
        return data

    def end(self) -> None:
        """Raise unless all bytes were read."""
        if self._left:
            raise malformed(f"{self._left} bytes follow its end")

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """Return the next number: seven bits a byte, the lowest first."""
        value = 0
        for place in range(_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & ~_CONTINUES) << (7 * place)
            if byte < _CONTINUES:
                return value
        raise malformed("a number is longer than nine bytes")

    def bounded(self, most: int, what: str) -> int:
        """Return the next number, which is at least 1 and at most ``most``."""
        value = self.number()
        if not 1 <= value <= most:
            raise malformed(f"{what} is {value}, allowed is 1 to {most}")
        return value

    def stream(self, size: int) -> bytes:
        """Return the ``size`` bytes of the next stream, unpacked; nothing is stored for none."""
        if not size:
            return b""
        codec = self.byte()
        if codec == RAW:
            return self.take(size)
        if codec == DEFLATE:
            return self._inflate(zlib.decompressobj(-zlib.MAX_WBITS), size)
        if codec == DEFLATE_BASE:
            offset = self.number()
            known = self._base.read(offset, min(WINDOW, max(self._base.size - offset, 0)))
            return self._inflate(zlib.decompressobj(-zlib.MAX_WBITS, zdict=known), size)
        raise malformed(f"a stream is stored in way {codec}, which nobody has defined")

    def _inflate(self, unpacker: zlib._Decompress, size: int) -> bytes:
        packed = self.take(self.bounded(size + _SLACK, "the size of a packed stream"))
        try:
            data = unpacker.decompress(packed, size + 1)
        except zlib.error as error:
            raise malformed(f"a packed stream is damaged: {error}") from error
        if len(data) != size or not unpacker.eof or unpacker.unused_data:
            raise malformed(f"a packed stream does not hold exactly {size} bytes")
        return data
