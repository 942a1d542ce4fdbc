"""Copy and hash in one pass: a large file is hashed and flushed while the next pieces are read.

sha256 is what takes longest; reading, writing and the flush to the disk happen meanwhile, each in a
thread of its own (hashlib, read, write and fdatasync all let other threads run).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import queue
import threading
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 1 << 18
_ROOM = 8
_LARGE = 8 << 20
_FLUSH = 8 << 20


class Source(Protocol):
    """Where bytes come from: a file, or a file that is sealed as it is read."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its start and return how many bytes were there, 0 at the end."""
        ...


class Failure:
    """The first exception of a thread, to be raised where it matters."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    def check(self) -> None:
        """Raise what went wrong in the thread."""
        if self.error is not None:
            raise self.error


def copy(source: Source, size: int, file: IO[bytes]) -> tuple[str, int]:
    """Copy at most ``size`` + 1 bytes into ``file``; return their sha256 and how many there were.

    One byte more than ``size`` says that the source has grown.
    """
    if size < _LARGE:
        return _small(source, size, file)
    sha = hashlib.sha256()
    buffers = [memoryview(bytearray(PIECE)) for _ in range(_ROOM)]
    free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
    for buffer in buffers:
        free.put(buffer)

    def hash_piece(piece: tuple[memoryview, int]) -> None:
        buffer, count = piece
        sha.update(buffer[:count])
        free.put(buffer)

    done = flushed = 0
    with _worker(hash_piece) as (hashing, _), _flusher(file) as (flushing, failed):
        while done <= size:
            buffer = free.get()
            count = source.readinto(buffer[: min(PIECE, size - done + 1)])
            if not count:
                break
            hashing((buffer, count))
            file.write(buffer[:count])
            done += count
            if done - flushed >= _FLUSH:
                flushed = done
                failed.check()
                flushing(None)
        failed.check()
    failed.check()
    return sha.hexdigest(), done


def _small(source: Source, size: int, file: IO[bytes]) -> tuple[str, int]:
    sha, buffer, done = hashlib.sha256(), memoryview(bytearray(min(PIECE, size + 1))), 0
    while done <= size:
        count = source.readinto(buffer[: min(len(buffer), size - done + 1)])
        if not count:
            break
        sha.update(buffer[:count])
        file.write(buffer[:count])
        done += count
    return sha.hexdigest(), done


@contextlib.contextmanager
def _flusher(file: IO[bytes]) -> Iterator[tuple[Callable[[Any], None], Failure]]:
    """Yield what begins to bring the file to its disk; in memory there is nothing to bring."""
    try:
        number = file.fileno()
    except io.UnsupportedOperation:
        yield (lambda _: None), Failure()
        return
    with _worker(lambda _: os.fdatasync(number)) as worker:
        yield worker


@contextlib.contextmanager
def _worker(work: Callable[[Any], None]) -> Iterator[tuple[Callable[[Any], None], Failure]]:
    """Yield what hands an item to a thread, and the failure of that thread; wait at the end."""
    waiting: queue.SimpleQueue[tuple[Any] | None] = queue.SimpleQueue()
    failure = Failure()

    def run() -> None:
        while (item := waiting.get()) is not None:
            try:
                work(*item)
            except OSError as error:
                failure.error = failure.error or error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield (lambda item: waiting.put((item,))), failure
    finally:
        waiting.put(None)
        thread.join()
