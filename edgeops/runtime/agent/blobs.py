"""Content-addressed storage: what is in it was checked when it came, and is checked when used."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import sha256_file
from edgeops.errors import MissingError, TrustError
from edgeops.runtime.agent import files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edgeops.core.manifest import Descriptor
    from edgeops.runtime.agent.fetch import Remote
    from edgeops.runtime.agent.home import Home

# What a disk must have left beside what is fetched, for metadata, the state and slots.
MARGIN = 1 << 20
# What a disk says of blocks that cannot be read any more.
BROKEN = (errno.EIO, errno.EBADMSG)


class Blobs:
    """The blobs of a home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def path(self, hexadecimal: str) -> Path:
        """Return where a blob lies, whether it is there or not."""
        return self._home.blobs / hexadecimal

    def has(self, blob: Descriptor) -> bool:
        """Return whether a blob is there with the right size; its bytes are checked when used."""
        try:
            return self.path(blob.hex).stat().st_size == blob.size
        except OSError:
            return False

    def rest(self, blob: Descriptor) -> int:
        """Return how many bytes of a blob an earlier download left to be fetched."""
        return max(blob.size - _size(self._home.partial / blob.hex), 0)

    def whole(self, blob: Descriptor) -> bool:
        """Return whether a blob is there and is what its name says; a damaged one is thrown away."""
        if self.has(blob) and proven(self.path(blob.hex), blob.hex):
            return True
        files.unlink(self.path(blob.hex))
        return False

    def fetch(self, remote: Remote, blob: Descriptor) -> None:
        """Have a blob in storage, going on where an earlier download ended.

        Raises TrustError ``digest-mismatch`` or ``download-endless``, TransportError
        ``store-missing``, ``repository-unreachable`` or ``download-slow``.
        """
        if self.whole(blob):
            return
        place = self._home.partial / blob.hex
        if _size(place) > blob.size:
            files.unlink(place)
        resumed = _size(place) > 0
        try:
            if not _download(remote, blob, place):
                # What an earlier download left may have been damaged since: once more, from 0.
                files.unlink(place)
                if not resumed or not _download(remote, blob, place):
                    files.unlink(place)
                    raise _mismatch(blob, remote.where)
        except TrustError:
            files.unlink(place)
            raise
        self.take(place, blob)

    def take(self, place: Path, blob: Descriptor) -> None:
        """Move a file whose bytes were checked and flushed into storage."""
        files.replace(place, self.path(blob.hex))

    def read(self, blob: Descriptor) -> bytes:
        """Return a small blob's bytes, which were checked by :meth:`fetch`."""
        return self.path(blob.hex).read_bytes()

    def collect(self, needed: Iterable[str], *, partial: bool = True) -> int:
        """Remove all blobs but those with these hex names; return how many bytes became free."""
        keep = set(needed)
        freed = 0
        folders = (self._home.blobs, self._home.partial) if partial else (self._home.blobs,)
        for folder in folders:
            for path in sorted(folder.iterdir()):
                if path.name not in keep:
                    freed += _size(path)
                    files.unlink(path)
        return freed

    def room(self, missing: int, total: int, limit: int | None) -> None:
        """Let pass what can be stored: ``missing`` bytes to write, ``total`` when it is there.

        Raises MissingError ``storage-full`` or ``disk-full``, before anything is written.
        """
        if limit is not None and total > limit:
            raise MissingError(
                "storage-full",
                f"the release does not fit into the {limit} bytes that the agent may use",
                where=str(self._home.path),
                why=f"with what stays installed it is {total} bytes",
                fix="raise --max-bytes, or let the previous release go with --evict-previous",
            )
        need = missing + MARGIN
        if need > free_bytes(self._home.path):
            why = (
                f"{missing} bytes are to be written, and {MARGIN} are kept for what is beside them"
            )
            raise disk_full(self._home.path, why, need)


def proven(path: Path, hexadecimal: str) -> bool:
    """Return whether a file is what its name says; one on bad blocks is not."""
    try:
        return sha256_file(path) == hexadecimal
    except OSError as error:
        if error.errno not in BROKEN:
            raise
        return False


def free_bytes(folder: Path) -> int:
    """Return how many bytes may still be written to the disk that holds a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def disk_full(where: Path, why: str, need: int) -> MissingError:
    """Return the error for a disk that takes no more, with the bytes that it would have to take."""
    try:
        free = free_bytes(where)
    except OSError:
        told = ""
    else:
        told = f", {_megabytes(free)} are free"
        if free >= need:
            why += "; it has room, so a quota or the number of files that it can hold is at its end"
    return MissingError(
        "disk-full",
        f"no space left on the disk of this device: {_megabytes(need)} are needed{told}",
        where=str(where),
        why=why,
        fix="free some space; what is installed goes on serving, and the next update goes on",
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _download(remote: Remote, blob: Descriptor, place: Path) -> bool:
    """Bring a partial file to its full size; return whether it is what was signed."""
    have, sha = _begun(place)
    under_way = _UnderWay(files.Sink(place, append=True), sha)
    try:
        remote.into(f"blobs/sha256/{blob.hex}", blob.size, have, under_way.take)
        under_way.sink.sync()
    finally:
        under_way.sink.close()
    return bool(under_way.sha.hexdigest() == blob.hex)


def _begun(place: Path) -> tuple[int, Any]:
    """Return the size and sha256 of a partial file; what cannot be read is thrown away."""
    sha = hashlib.sha256()
    try:
        if _size(place):
            with place.open("rb") as file:
                for piece in files.pieces(file):
                    sha.update(piece)
    except OSError as error:
        if error.errno not in BROKEN:
            raise
        files.unlink(place)
        return 0, hashlib.sha256()
    return _size(place), sha


class _UnderWay:
    """A partial file and the sha256 of what it holds."""

    def __init__(self, sink: files.Sink, sha: Any) -> None:
        self.sink = sink
        self.sha = sha

    def take(self, piece: bytes | None) -> None:
        """Append a piece; None begins the file again."""
        if piece is None:
            self.sink.close()
            self.sink, self.sha = files.Sink(self.sink.path), hashlib.sha256()
            return
        self.sink.write(piece)
        self.sha.update(piece)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mismatch(blob: Descriptor, where: str) -> TrustError:
    return TrustError(
        "digest-mismatch",
        "a file of the repository is not the one that was signed",
        where=f"{where}: blobs/sha256/{blob.hex}",
        why=f"the sha256 of its {blob.size} bytes differs",
        fix="do not use it; ask the publisher to publish the release again",
    )
