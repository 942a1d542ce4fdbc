"""Unpacks a wheel into a slot: a zip file is hostile until its names and sizes were looked at."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgeops.errors import TrustError
from edgeops.runtime.agent import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_FILES = 20_000
_MOST_FILE = 1 << 30
_MOST_TOTAL = 2 << 30
# Deflate reaches about 1000 to 1 on zeros; libraries and sources stay far below this.
_MOST_RATIO = 200
_SMALL = 1 << 20
_PIECE = 1 << 18
# What Python's library says of broken files in other packings differs from all it says else.
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What a disk says of names that are too long, taken, or lie below a file; or of a broken offset.
_NAMES = frozenset(
    {errno.EINVAL, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ}
)


def unpack_wheel(wheel: Path, site: Path) -> None:
    """Unpack a wheel below ``site``, beside what other wheels put there.

    Raises TrustError ``wheel-unsafe`` for anything that leads outside, is a symbolic link, stands
    there twice, or is larger than a wheel may be.
    """
    with _opened(wheel) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith("/"):
                _extract(archive, entry, site)


def unpacked_bytes(wheel: Path) -> int:
    """Return what a wheel says that its files have together; raises as :func:`unpack_wheel` does."""
    with _opened(wheel) as archive:
        return sum(entry.file_size for entry in archive.infolist())


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            _check(wheel, archive.infolist())
            yield archive
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        LookupError,
        ValueError,
        OverflowError,
        RuntimeError,
        EOFError,
    ) as error:
        raise _unsafe(wheel, f"it is no sound archive: {error}") from error
    except OSError as error:
        if error.errno not in _NAMES:
            raise
        raise _unsafe(wheel, f"a name in it cannot be one: {error}") from error


def _check(wheel: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > _MOST_FILES:
        raise _unsafe(wheel, f"it has {len(entries)} files, more than {_MOST_FILES}")
    seen: set[str] = set()
    total = packed = 0
    for entry in entries:
        name = entry.filename.removesuffix("/")
        parts = name.split("/")
        if not name.isprintable() or "\\" in name or ":" in name:
            raise _unsafe(wheel, f"a file has the name {name!r}")
        if PurePosixPath(name).is_absolute() or any(part in ("", ".", "..") for part in parts):
            raise _unsafe(wheel, f"{name!r} leads outside it")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(wheel, f"{name!r} is no file but a link or a device")
        if entry.compress_type not in _PACKED:
            raise _unsafe(wheel, f"{name!r} is packed in a way that wheels are not")
        if name.casefold() in seen:
            raise _unsafe(wheel, f"{name!r} stands there twice")
        seen.add(name.casefold())
        total, packed = total + entry.file_size, packed + entry.compress_size
        large = entry.file_size > max(_SMALL, _MOST_RATIO * entry.compress_size)
        if entry.file_size > _MOST_FILE or large:
            raise _unsafe(wheel, f"{name!r} would be {entry.file_size} bytes")
    if total > _MOST_TOTAL or total > max(_SMALL * 8, _MOST_RATIO * packed):
        raise _unsafe(wheel, f"it would be {total} bytes")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, site: Path) -> None:
    """Write one file; zipfile itself ends where more comes than the entry says."""
    place = site / entry.filename
    files.mkdir(place.parent)
    if place.exists():
        raise ValueError(f"{entry.filename} is there already, from another wheel")
    with archive.open(entry) as source, files.Sink(place) as sink:
        while piece := source.read(_PIECE):
            sink.write(piece)
        sink.sync()


def _unsafe(wheel: Path, why: str) -> TrustError:
    return TrustError(
        "wheel-unsafe",
        "a library of the release cannot be unpacked safely",
        where=wheel.name,
        why=why,
        fix="do not use this release: ask the publisher; what is installed goes on serving",
    )
