"""Every change that the agent makes to the disk, a step at a time.

Each step is told to :data:`watch` before it is made, so that tests can cut the power or fill the
disk at any of them. Steps are ``open``, ``write`` (twice for each piece of data: before it and in
the middle of it), ``fsync``, ``replace``, ``link``, ``symlink``, ``unlink``, ``mkdir``, ``rmdir``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Callable, Optional

if TYPE_CHECKING:
    from collections.abc import Iterator

Watch = Callable[[str, Path], None]
watch: Optional[Watch] = None  # noqa: UP045 - evaluated by Python 3.9
_MODE = 0o644
_NEW = ".new-"


def _step(name: str, path: Path) -> None:
    if watch is not None:
        watch(name, path)


class Sink:
    """A file being written; ``path`` names it from the first byte on."""

    def __init__(self, path: Path, *, append: bool = False) -> None:
        _step("open", path)
        self.path = path
        self._file: IO[bytes] = path.open("ab" if append else "wb")
        give(path)

    def write(self, data: bytes) -> None:
        """Append bytes; a kill may leave any part of them."""
        half = len(data) // 2
        for piece in (data[:half], data[half:]):
            _step("write", self.path)
            self._file.write(piece)
        self._file.flush()

    def sync(self) -> None:
        """Return when what was written is on the disk."""
        _step("fsync", self.path)
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file; it is not flushed to the disk by this."""
        self._file.close()

    def __enter__(self) -> Sink:  # noqa: PYI034 - Self came after Python 3.9
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write(path: Path, data: bytes, *, mode: int = _MODE) -> None:
    """Write ``data`` beside ``path``, flush it to the disk and move it in."""
    beside = path.with_name(_NEW + path.name)
    with Sink(beside) as sink:
        sink.write(data)
        sink.sync()
    beside.chmod(mode)
    replace(beside, path)


def append(path: Path, data: bytes) -> None:
    """Append to a file that nothing depends on: it is not flushed to the disk."""
    with Sink(path, append=True) as sink:
        sink.write(data)


def replace(source: Path, place: Path) -> None:
    """Rename a file or an empty place's folder, and flush the folder that holds it."""
    _step("replace", place)
    source.replace(place)
    sync_folder(place.parent)


def link(source: Path, place: Path) -> None:
    """Give a file a second name; copy it where the disk cannot do that."""
    _step("link", place)
    try:
        os.link(source, place)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with source.open("rb") as file, Sink(place) as sink:
            for piece in pieces(file):
                sink.write(piece)
            sink.sync()


def symlink(target: str, place: Path) -> None:
    """Let ``place`` point at ``target``, in one step also where it points elsewhere."""
    beside = place.with_name(_NEW + place.name)
    unlink(beside)
    _step("symlink", beside)
    beside.symlink_to(target)
    give(beside)
    replace(beside, place)


def open_lock(path: Path) -> int:
    """Return a handle of a file to be locked, which is made where it is not there."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    give(path)
    return handle


def unlink(path: Path) -> None:
    """Remove a file or symbolic link that may be there."""
    if os.path.lexists(path):
        _step("unlink", path)
        path.unlink()


def mkdir(path: Path) -> None:
    """Make a folder and those above it."""
    if not path.is_dir():
        mkdir(path.parent)
        _step("mkdir", path)
        path.mkdir(exist_ok=True)
        give(path)


def give(path: Path) -> None:
    """Give what the system's administrator made to the owner of the folder that it is in.

    One update by hand with sudo would leave what the service, which runs as that owner, can never
    remove again. Where the disk knows no owners it stays as it is.
    """
    if os.geteuid() == 0:
        with suppress(OSError):
            folder = path.parent.stat()
            if folder.st_uid:
                os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, one file at a time; symbolic links are not followed."""
    if path.is_symlink() or not path.is_dir():
        unlink(path)
        return
    for entry in sorted(path.iterdir()):
        remove_tree(entry)
    _step("rmdir", path)
    path.rmdir()


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    _step("fsync", folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def pieces(file: IO[bytes], size: int = 1 << 18) -> Iterator[bytes]:
    """Yield a file's bytes from where it stands."""
    while piece := file.read(size):
        yield piece


def _no_links() -> frozenset[int]:
    import errno

    return frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


_NO_LINKS = _no_links()
