"""One tar, one form: members without times, owners or modes of their own, nothing between them.

A file is a sequence of members, each a header, the data, and zeros up to 512 bytes, ended by 1024
zero bytes. The header of a name and size is always the same (POSIX ustar; a pax record where a
size needs more than 8 GiB), so every byte of a bundle is either data, which is named by its sha256,
or is known beforehand. A reader that compares leaves no byte that could be changed unseen.
"""

from __future__ import annotations

import re
import tarfile
from typing import IO, TYPE_CHECKING

from edgeops.core.manifest import malformed
from edgeops.errors import TrustError
from edgeops.package.copy import copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeops.package.copy import Source

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_MEMBERS = 10_100
_NAME = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")
_PAX_SIZE = re.compile(rb"\d+ size=(\d{1,19})\n")


def header(name: str, size: int) -> bytes:
    """Return the header of a member: regular file, mode 0644, owner 0, time 0."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> int:
    """Return how many zero bytes follow ``size`` bytes of data."""
    return -size % BLOCK


class Writer:
    """Writes blobs named by their digest into a seekable file, each in one pass."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._written: dict[str, int] = {}

    def blob(self, source: Source, size: int) -> str:
        """Copy ``size`` bytes of ``source`` in and return their sha256 as hex characters.

        The name of a blob is its digest, known only when it is copied: the header is put in
        afterwards, and taken out again with the data when the same blob is there already. Raises
        ValueError when ``source`` has another size.
        """
        start = self._file.tell()
        room = len(header("blobs/sha256/" + "0" * 64, size))
        self._file.seek(start + room)
        name, copied = copy(source, size, self._file)
        if copied != size:
            message = f"it had {size} bytes and then {copied}: something is writing to it"
            raise ValueError(message)
        if name in self._written:
            self._file.seek(start)
            self._file.truncate()
            return name
        self._written[name] = size
        self._file.write(bytes(padding(size)))
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(header(f"blobs/sha256/{name}", size))
        self._file.seek(end)
        return name

    def member(self, name: str, data: bytes) -> None:
        """Write a member that has a name of its own."""
        self._file.write(header(name, len(data)) + data + bytes(padding(len(data))))

    def close(self) -> None:
        """Write what ends the file; it stays open."""
        self._file.write(END)


def members(file: IO[bytes], size: int, where: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset of the data and size of each member; the data is not read.

    Raises TrustError ``bundle-truncated`` when ``file``, ``size`` bytes long, ends too early, and
    ``bundle-malformed`` when it holds anything but members of this form.
    """
    position = 0
    seen: set[str] = set()
    while True:
        block = _take(file, position, BLOCK, size, where)
        if not any(block):
            break
        name, length, whole = _header(file, position, block, size, where)
        if not _NAME.fullmatch(name) or name in seen or len(seen) >= MAX_MEMBERS:
            raise malformed(where, f"it holds {name!r}, which a bundle has no place or no room for")
        seen.add(name)
        offset = position + whole
        if any(_take(file, offset + length, padding(length), size, where)):
            raise malformed(where, f"there is something behind {name}")
        yield name, offset, length
        position = offset + length + padding(length)
    if _take(file, position, len(END), size, where) != END or size != position + len(END):
        raise malformed(where, "there is something behind its end")


def _header(
    file: IO[bytes], position: int, block: bytes, size: int, where: str
) -> tuple[str, int, int]:
    whole = block
    large = None
    if block[156:157] == b"x":
        record = _take(file, position + BLOCK, BLOCK, size, where)
        match = _PAX_SIZE.match(record)
        if not match:
            raise malformed(where, f"the header at byte {position} is not of this format")
        large = int(match[1])
        block = _take(file, position + 2 * BLOCK, BLOCK, size, where)
        whole += record + block
    try:
        name = block[:100].rstrip(b"\0").decode("ascii")
        length = large if large is not None else int(block[124:135], 8)
        expected = header(name, length)
    except ValueError as error:
        raise malformed(where, f"the header at byte {position} is not of this format") from error
    if expected != whole:
        raise malformed(where, f"the header at byte {position} is not of this format")
    return name, length, len(whole)


def _take(file: IO[bytes], offset: int, length: int, size: int, where: str) -> bytes:
    if offset + length > size:
        raise TrustError(
            "bundle-truncated",
            "the bundle ends too early",
            where=where,
            why=f"it has {size} bytes and should have more than {offset + length - 1}",
            fix="download or copy the bundle again",
        )
    file.seek(offset)
    return file.read(length)
