"""Apply a delta: prove the base, write the new file beside, prove it, move it in."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edgeops.core.files import disk_errors
from edgeops.errors import TrustError
from edgeops.runtime.delta import header as form
from edgeops.runtime.delta.header import (
    Header,
    malformed,
    methods,
    parse,
    wrong_base,
    zstandard_missing,
)
from edgeops.runtime.delta.reader import Base, Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeops.runtime.delta.header import Source

_PIECE = 1 << 18
_MODE = 0o644
# Where nobody says how large the new file is, no delta may write more than this.
_MOST_GROWTH, _MOST_NEW = 4, 64 << 20


def apply(base: Path, delta: Source, out: Path, *, expect: str, size: int | None = None) -> Header:
    """Write the new version of ``base`` to ``out``, whole or not at all.

    ``expect`` is the digest (``sha256:<hex>``) and ``size`` the bytes that the new file must have,
    as something signed says. Raises TrustError ``delta-base-mismatch``, ``delta-malformed``,
    ``delta-result-mismatch``; MissingError ``delta-zstandard-missing``, ``disk-full``.
    """
    about = form.read_header(delta)
    _check_asked(about, expect, size)
    if about.method not in methods():
        raise zstandard_missing()
    with _opened(base) as file:
        _check_base(file, base, about)
        with disk_errors(out):
            _write(Base(file, base, about.before_size), delta, out, about)
    return about


def _opened(base: Path) -> BinaryIO:
    try:
        return base.open("rb")
    except OSError as error:
        raise wrong_base(base, f"it cannot be read: {error.strerror}") from error


def _check_asked(about: Header, expect: str, size: int | None) -> None:
    """Raise unless the header promises what was asked for, in a size that can be."""
    if about.after != expect:
        raise malformed(f"it makes {about.after}, asked for is {expect}")
    if size is None and about.after_size > _MOST_GROWTH * about.before_size + _MOST_NEW:
        raise malformed(f"it makes {about.after_size} bytes out of {about.before_size}")
    if size is not None and about.after_size != size:
        raise malformed(f"it makes {about.after_size} bytes, asked for are {size}")


def _check_base(file: BinaryIO, base: Path, about: Header) -> None:
    size = os.fstat(file.fileno()).st_size
    if size != about.before_size:
        raise wrong_base(base, f"it has {size} bytes, the delta needs {about.before_size}")
    digest, old = hashlib.sha256(), Base(file, base, size)
    for start in range(0, size, _PIECE):
        digest.update(old.read(start, min(_PIECE, size - start)))
    if f"sha256:{digest.hexdigest()}" != about.before:
        raise wrong_base(base, f"its sha256 is {digest.hexdigest()}, needed is {about.before[7:]}")


def _write(base: Base, delta: Source, out: Path, about: Header) -> None:
    """Write beside ``out`` and move in; nothing is left when anything is wrong."""
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{out.name[:80]}.", suffix=".part", dir=out.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            reader = Reader(delta, base)
            try:
                _rebuild(reader, base, file, about)
            finally:
                reader.close()
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(_MODE)
        beside.replace(out)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _rebuild(reader: Reader, base: Base, file: BinaryIO, about: Header) -> None:
    if parse(reader.take(form.SIZE)) != about:
        raise malformed("it changed while it was read")
    digest, left = hashlib.sha256(), about.after_size
    while True:
        operation = reader.byte()
        if operation == form.END:
            break
        for piece in _pieces(operation, reader, base, left):
            left -= len(piece)
            digest.update(piece)
            file.write(piece)
    reader.end()
    if left:
        raise malformed(f"it ends {left} bytes before the new file does")
    if f"sha256:{digest.hexdigest()}" != about.after:
        raise TrustError(
            "delta-result-mismatch",
            "the delta did not make the file that it promised",
            why=f"the sha256 is {digest.hexdigest()}, promised was {about.after[7:]}",
            fix="fetch the whole file; nothing was changed",
        )


def _pieces(operation: int, reader: Reader, base: Base, left: int) -> Iterator[bytes | memoryview]:
    """Yield what one operation writes, never more than ``left`` bytes in all."""
    if operation == form.COPY:
        offset, length = reader.number(), reader.bounded(left, "a copy")
        for start in range(0, length, _PIECE):
            yield base.read(offset + start, min(_PIECE, length - start))
    elif operation == form.LITERAL:
        yield reader.stream(reader.bounded(min(left, form.MOST_BYTES), "a literal"))
    elif operation == form.TYPED:
        from edgeops.runtime.delta.typed import read_block

        yield read_block(reader, base, left)
    elif operation == form.ZSTD:
        yield _zstd(reader, base, left)
    else:
        raise malformed(f"operation {operation} is one that nobody has defined")


def _zstd(reader: Reader, base: Base, left: int) -> bytes:
    try:
        import zstandard
    except ImportError as error:
        raise zstandard_missing() from error
    offset, known = reader.number(), reader.number()
    if known > form.MOST_DICTIONARY:
        raise malformed(f"a dictionary of {known} bytes is more than is allowed")
    length = reader.bounded(min(left, form.MOST_ZSTD), "a zstd frame's content")
    frame = reader.take(reader.bounded(length + 1024, "a zstd frame"))
    dictionary = zstandard.ZstdCompressionDict(
        base.read(offset, known), dict_type=zstandard.DICT_TYPE_RAWCONTENT
    )
    try:
        # The frame names its size; a frame that does not is refused before anything is unpacked.
        if zstandard.frame_content_size(frame) != length:
            raise malformed(f"a zstd frame does not promise {length} bytes")
        data = zstandard.ZstdDecompressor(dict_data=dictionary).decompress(
            frame, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise malformed(f"a zstd frame is damaged: {error}") from error
    if len(data) != length:
        raise malformed(f"a zstd frame does not hold {length} bytes")
    return data
