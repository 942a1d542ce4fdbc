"""Reading a repository, wherever it is: a server, a folder, or a store that a publisher has open.

A source says what a file's bytes are from some byte on; :class:`Remote` counts requests and bytes,
tries again, and ends what is endless or too slow. Nothing here decides whether bytes are right.
"""

from __future__ import annotations

import http.client
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from edgeops.errors import TransportError, TrustError
from edgeops.runtime.agent.http import PIECE, Answer, Limits, Server, Slow, bare, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Folder", "Limits", "Remote", "Stored", "open_remote"]

_OK, _PARTIAL, _REFUSED, _NOT_FOUND, _TOO_FAR = 200, 206, 400, 404, 416
_GONE = (403, _NOT_FOUND, 410)
_AGAIN = 500
_MOST_WAIT_S = 8.0


class Source(Protocol):
    """Where the files of a repository are read from."""

    def get(self, path: str, start: int = 0) -> Answer:
        """Return a file from a byte on, with an HTTP status; raises OSError or HTTPException."""

    def drain(self) -> None:
        """Make ready for the next request."""

    def close(self) -> None:
        """Let go of what is held."""


class Folder:
    """A repository in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, path: str, start: int = 0) -> Answer:
        """Return a file's pieces; 404 where there is none."""
        place = self._root / path
        if not place.is_file():
            return Answer(_NOT_FOUND, 0, 0, iter(()))
        size = place.stat().st_size
        return Answer(_PARTIAL if start else _OK, start, max(size - start, 0), _read(place, start))

    def drain(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Stored:
    """A repository in a store, as publishers have it: an object with ``get`` and ``exists``."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, path: str, start: int = 0) -> Answer:
        """Return a file's pieces; 404 where there is none."""
        if not self._store.exists(path):
            return Answer(_NOT_FOUND, 0, 0, iter(()))
        return Answer(_PARTIAL if start else _OK, start, None, self._pieces(path, start))

    def drain(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def _pieces(self, path: str, start: int) -> Iterator[bytes]:
        while piece := self._store.get(path, start, 1 << 20):
            start += len(piece)
            yield piece


def open_remote(location: str, limits: Limits | None = None) -> Remote:
    """Return the repository at an http or https address, or in a folder (also ``file://``)."""
    limits = limits or Limits()
    parts = split(location)
    if parts.scheme == "file":
        return Remote(Folder(Path(unquote(parts.path))), location, limits)
    if "://" not in location:
        return Remote(Folder(Path(location)), location, limits)
    return Remote(Server(location, limits), bare(location), limits)


class Remote:
    """A repository that counts what it was asked and what it gave; ``where`` is for errors."""

    def __init__(self, source: Source, where: str, limits: Limits | None = None) -> None:
        self._source = source
        self.where = where
        self._limits = limits or Limits()
        self.requests = 0
        self.bytes = 0

    def __enter__(self) -> Remote:  # noqa: PYI034 - Self came after Python 3.9
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def small(self, path: str, most: int) -> bytes | None:
        """Return a small file whole, None where there is none; at most ``most`` bytes are read.

        Raises TransportError ``repository-unreachable`` or ``download-slow``, TrustError
        ``download-endless``.
        """
        whole = bytearray()
        self._patiently(path, lambda: self._whole(path, most, whole))
        return bytes(whole[1:]) if whole else None

    def into(self, path: str, size: int, have: int, take: Callable[[bytes | None], None]) -> None:
        """Hand the bytes of a file from ``have`` on to ``take``, ``size`` bytes in all.

        ``take(None)`` says that the file begins again from its first byte, which is what servers
        that know no Range make necessary. Raises as :meth:`small` does, and TransportError
        ``store-missing``.
        """
        state = [have]

        def once() -> None:
            self._rest(path, size, state, take)

        self._patiently(path, once, lambda: state[0])

    def pieces(self, path: str, size: int) -> Iterator[bytes]:
        """Yield the bytes of a file, asked for once; raises as :meth:`into` does.

        Fewer than ``size`` bytes are no error here: their digest is wrong.
        """
        done = 0
        try:
            with self._asked(path, 0) as answer:
                if answer.status in _GONE:
                    raise self._missing(path)
                self._check(answer, path)
                for piece in self._counted(answer):
                    done += len(piece)
                    if done > size:
                        raise self._endless(path, size)
                    yield piece
        except Slow as error:
            raise self._slow(path, error) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(path, error) from error

    def _whole(self, path: str, most: int, whole: bytearray) -> None:
        del whole[:]
        with self._asked(path, 0) as answer:
            if answer.status in _GONE:
                return
            self._check(answer, path)
            whole += b"."  # tells an empty file from none
            for piece in self._counted(answer):
                whole += piece
                if len(whole) > most + 1:
                    raise self._endless(path, most)

    def _rest(
        self, path: str, size: int, state: list[int], take: Callable[[bytes | None], None]
    ) -> None:
        if state[0] >= size:
            return
        with self._asked(path, state[0]) as answer:
            if answer.status in _GONE:
                raise self._missing(path)
            if answer.status == _TOO_FAR or answer.start not in (0, state[0]):
                take(None)
                state[0] = 0
                raise ConnectionError("the server gave another part than it was asked for")
            self._check(answer, path)
            if answer.start != state[0]:
                take(None)
                state[0] = 0
            if answer.length is not None and answer.length > size - state[0]:
                raise self._endless(path, size)
            for piece in self._counted(answer):
                if state[0] + len(piece) > size:
                    raise self._endless(path, size)
                take(piece)
                state[0] += len(piece)
            if state[0] < size:
                raise ConnectionError(f"it ended after {state[0]} of {size} bytes")

    @contextmanager
    def _asked(self, path: str, start: int) -> Iterator[Answer]:
        self.requests += 1
        try:
            answer = self._source.get(path, start)
            yield answer
            if answer.status >= _REFUSED:
                self._discard(answer)
        except BaseException:
            self._source.close()
            raise
        self._source.drain()

    def _discard(self, answer: Answer) -> None:
        """Read what a server says beside an error, so that the connection can be used again."""
        read = 0
        for piece in self._counted(answer):
            read += len(piece)
            if read > PIECE:
                self._source.close()
                return

    def _counted(self, answer: Answer) -> Iterator[bytes]:
        for piece in answer.pieces:
            self.bytes += len(piece)
            yield piece

    def _patiently(
        self, path: str, once: Callable[[], None], done: Callable[[], int] = lambda: 0
    ) -> None:
        """Do something again until it works, is refused, or has failed too often in a row."""
        left, before = self._limits.tries, done()
        while True:
            left -= 1
            try:
                once()
            except Slow as error:
                raise self._slow(path, error) from error
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "errno", None) in _LOCAL:
                    raise
                if done() - before >= self._limits.progress:
                    left, before = self._limits.tries - 1, done()
                if left <= 0:
                    raise self._unreachable(path, error) from error
            else:
                return
            turn = self._limits.tries - left - 1
            time.sleep(min(self._limits.backoff_s * 2**turn, _MOST_WAIT_S))

    def _check(self, answer: Answer, path: str) -> None:
        if answer.status >= _AGAIN:
            raise ConnectionError(f"the server answers {answer.status}")
        if answer.status not in (_OK, _PARTIAL):
            raise self._unreachable(path, f"the server answers {answer.status}")

    def _missing(self, path: str) -> TransportError:
        return TransportError(
            "store-missing",
            f"the repository has no {path}",
            where=self.where,
            why="it is not there, or not yet: a copy may still be under way",
            fix="try again; if it stays away, publish the release again",
        )

    def _unreachable(self, path: str, why: Any) -> TransportError:
        return TransportError(
            "repository-unreachable",
            "the repository cannot be read",
            where=f"{self.where}: {path}",
            why=str(why) or type(why).__name__,
            fix="check its address and that something is published there, then try again",
        )

    def _slow(self, path: str, error: Slow) -> TransportError:
        return TransportError(
            "download-slow",
            "the server sends too slowly",
            where=f"{self.where}: {path}",
            why=f"{error}; at least {self._limits.rate:g} bytes a second are asked for",
            fix="try again later or from another network; nothing that is installed was changed",
        )

    def _endless(self, path: str, most: int) -> TrustError:
        return TrustError(
            "download-endless",
            "the server sends more than was signed",
            where=f"{self.where}: {path}",
            why=f"it may be {most} bytes at most",
            fix="do not use it: ask the publisher, the repository may have been tampered with",
        )


def _read(place: Path, start: int) -> Iterator[bytes]:
    # Opened when it is read: an answer that is refused for its length leaves nothing open.
    try:
        file = place.open("rb")
    except OSError as error:  # of the repository's disk, not of the agent's
        raise ConnectionError(f"{place}: {error.strerror or error}") from error
    with file:
        file.seek(start)
        while piece := file.read(1 << 18):
            yield piece


def _local() -> frozenset[int]:
    import errno

    return frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE})


_LOCAL = _local()
