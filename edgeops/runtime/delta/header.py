"""The header of a delta, the limits of its parts, and the refusals of what is not a delta."""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from edgeops.errors import MissingError, TrustError

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"edgeopsD"
VERSION = 1
_LAYOUT = struct.Struct("<8sBB6xQQ32s32s")
SIZE = _LAYOUT.size
METHODS = ("tensor", "zstd")

# The operations, and what one of them may hold at most: a reader never needs more memory.
END, COPY, LITERAL, TYPED, ZSTD = range(5)
MOST_BYTES = 1 << 20
MOST_ZSTD = 2 << 20
MOST_DICTIONARY = 4 << 20
WINDOW = 1 << 15

# How the bytes of a stream are stored.
RAW, DEFLATE, DEFLATE_BASE = range(3)

if TYPE_CHECKING:
    Source = Union[bytes, bytearray, memoryview, Path]


@dataclass(frozen=True)
class Header:
    """What a delta says of itself: which file it needs and which it makes; sizes are bytes.

    ``before`` and ``after`` are digests, ``sha256:<hex>``.
    """

    method: str
    before: str
    after: str
    before_size: int
    after_size: int

    def encode(self) -> bytes:
        """Return the bytes that a delta begins with."""
        return _LAYOUT.pack(
            MAGIC,
            VERSION,
            METHODS.index(self.method),
            self.before_size,
            self.after_size,
            bytes.fromhex(self.before[7:]),
            bytes.fromhex(self.after[7:]),
        )


def methods() -> tuple[str, ...]:
    """Return the methods that can be applied here: ``zstd`` needs the package zstandard."""
    return METHODS if importlib.util.find_spec("zstandard") else METHODS[:1]


def read_header(delta: Source) -> Header:
    """Return the header of a delta; raises TrustError ``delta-malformed``."""
    if isinstance(delta, (bytes, bytearray, memoryview)):
        return parse(bytes(delta[:SIZE]))
    with delta.open("rb") as file:
        return parse(file.read(SIZE))


def parse(data: bytes) -> Header:
    """Return the header that ``data`` begins with; raises TrustError ``delta-malformed``."""
    if len(data) < SIZE:
        raise malformed(f"it ends after {len(data)} bytes, within its header")
    magic, version, method, before_size, after_size, before, after = _LAYOUT.unpack(data[:SIZE])
    if magic != MAGIC or version != VERSION or any(data[10:16]):
        raise malformed(f"it does not begin as a delta of version {VERSION} does")
    if method >= len(METHODS):
        raise malformed(f"its method is number {method}, which nobody has defined")
    return Header(
        METHODS[method], f"sha256:{before.hex()}", f"sha256:{after.hex()}", before_size, after_size
    )


def malformed(why: str, where: str = "") -> TrustError:
    """Return the error for a delta that contradicts its format or what was asked for."""
    return TrustError(
        "delta-malformed",
        "this is no delta that can be applied",
        where=where,
        why=why,
        fix="fetch the delta again, or the whole file; nothing was changed",
    )


def wrong_base(base: Path, why: str) -> TrustError:
    """Return the error for a base that is not the file that the delta was made for."""
    return TrustError(
        "delta-base-mismatch",
        f"the delta was made for another file than {base.name}",
        where=str(base),
        why=why,
        fix="fetch the whole file; nothing was changed",
    )


def zstandard_missing() -> MissingError:
    """Return the error for a zstd delta where the package is not installed."""
    return MissingError(
        "delta-zstandard-missing",
        "the delta was made with zstd, which this Python cannot read",
        why="the package zstandard is not installed",
        fix="pip install zstandard, or fetch the whole file",
    )
