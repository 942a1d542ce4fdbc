"""One connection to a repository's server: GET with Range, every byte counted, nothing endless.

python-tuf brings urllib3, which hides the socket. A server that sends a byte now and then keeps any
timeout of a single read from ending, so this reads through a socket that knows how long the
whole answer may take.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from edgeops import __version__
from edgeops.errors import InputError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 16
_MOVED = (301, 302, 303, 307, 308)
_MOST_MOVES = 3
_MOST_DRAINED = 1 << 16
# http.client reads answers that only say "go on" for as long as they come.
_MOST_HEAD = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How patient to be: seconds, bytes a second, tries.

    An answer may be silent for ``idle_s``. From ``grace_s`` on it must have brought ``rate``
    bytes for each further second. A request is made ``tries`` times, and again as often
    after each time that it brought ``progress`` bytes.
    """

    idle_s: float = 30.0
    grace_s: float = 20.0
    rate: float = 1024.0
    tries: int = 4
    backoff_s: float = 0.5
    progress: int = 1 << 16


class Slow(OSError):
    """The answer came too slowly; trying again would not be better."""


@dataclass
class Answer:
    """A status, the first byte that the pieces begin with, their number if stated, the pieces."""

    status: int
    start: int
    length: int | None
    pieces: Iterator[bytes]


class _Socket(io.RawIOBase):
    """What http.client reads from: gives each read no more time than the whole answer has left."""

    def __init__(self, sock: socket.socket, held: Any, limits: Limits) -> None:
        self._sock = sock
        self._held = held  # keeps the socket open when http.client lets go of it
        self._limits = limits
        self._begun = time.monotonic()
        self._received = 0
        self.in_head = True

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is; raises Slow or TimeoutError, HTTPException for a head without end."""
        limits = self._limits
        if self.in_head and self._received > _MOST_HEAD:
            raise http.client.HTTPException(f"the answer has more than {_MOST_HEAD} bytes of head")
        allowed = limits.grace_s + self._received / limits.rate if limits.rate else limits.idle_s
        left = self._begun + allowed - time.monotonic() if limits.rate else limits.idle_s
        if left <= 0:
            raise Slow(f"{self._received} bytes in {allowed:.0f} s")
        self._sock.settimeout(min(left, limits.idle_s))
        try:
            count = self._sock.recv_into(buffer)
        except socket.timeout as error:
            if left <= limits.idle_s:
                raise Slow(f"{self._received} bytes in {allowed:.0f} s") from error
            raise
        self._received += count
        return count

    def close(self) -> None:
        """Let go of the socket."""
        self._held.close()
        super().close()


class _Response(http.client.HTTPResponse):
    limits = Limits()

    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._socket = _Socket(sock, self.fp, self.limits)
        self.fp = io.BufferedReader(self._socket, PIECE)

    def begin(self) -> None:
        """Read the head of the answer."""
        super().begin()
        self._socket.in_head = False


class Server:
    """Files below one http or https address, over one connection that is kept."""

    def __init__(self, address: str, limits: Limits) -> None:
        parts = split(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _no_address(bare(address))
        self._base = bare(address).rstrip("/") + "/"
        self._home = urlsplit(self._base)[:2]
        self._login = _basic(parts)
        self._limits = limits
        self._connection: http.client.HTTPConnection | None = None
        self._owner: tuple[str, str] | None = None
        self._last: Any = None

    def get(self, path: str, start: int = 0) -> Answer:
        """Ask for a file from a byte on; raises OSError or http.client.HTTPException."""
        try:
            return self._followed(urljoin(self._base, quote(path)), start)
        except ValueError as error:
            # A server may name places that are no addresses, and parts that are no numbers.
            raise http.client.HTTPException(f"the answer is none of HTTP: {error}") from error

    def _followed(self, url: str, start: int) -> Answer:
        for _ in range(_MOST_MOVES + 1):
            response = self._ask(url, start)
            place = response.headers.get("Location")
            if response.status not in _MOVED or not place:
                return _answer(response)
            self.drain()
            url = self._moved(url, place)
        raise TransportError(
            "repository-unreachable",
            "the server sends from one address to the next",
            where=url,
            why=f"more than {_MOST_MOVES} times for one file",
            fix="name the address that it ends at",
        )

    def drain(self) -> None:
        """Read what is left of a short answer, so that the connection can be used again."""
        if self._last is not None and not self._last.isclosed():
            self._last.read(_MOST_DRAINED)
            if not self._last.isclosed():
                self.close()
        self._last = None

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            if self._last is not None:
                self._last.close()
            self._connection.close()
        self._connection, self._last = None, None

    def _ask(self, url: str, start: int) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        owner = (parts.scheme, parts.netloc)
        if self._last is not None and not self._last.isclosed():
            self.close()
        kept = self._connection is not None and self._owner == owner
        if not kept:
            self.close()
        headers = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": f"edgeops-agent/{__version__}",
        }
        if self._login and owner == self._home:
            headers["Authorization"] = self._login
        if start:
            headers["Range"] = f"bytes={start}-"
        where = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            return self._send(owner, where, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            self.close()
            if not kept:
                raise
            # A connection that was kept may have been ended meanwhile: that is no fault.
            return self._send(owner, where, headers)

    def _send(
        self, owner: tuple[str, str], where: str, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = _connection(owner, self._limits)
            self._owner = owner
        self._connection.request("GET", where, headers=headers)
        self._last = self._connection.getresponse()
        response: http.client.HTTPResponse = self._last
        return response

    def _moved(self, url: str, place: str) -> str:
        target = urljoin(url, place)
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise TransportError(
                "repository-unreachable",
                "the server sends from https to an address without",
                where=url,
                why=target,
                fix="have it serve the repository by https alone",
            )
        return target


def split(address: str) -> SplitResult:
    """Return the parts of an address; raises InputError ``repository-address`` for a broken one."""
    try:
        return urlsplit(address)
    except ValueError as error:
        raise _no_address(address.rpartition("@")[2]) from error


def _no_address(bare: str) -> InputError:
    return InputError(
        "repository-address",
        f"{bare} is no address of a repository",
        where=bare,
        why="it is neither http://HOST/..., https://HOST/... nor a folder",
        fix="name what the publisher serves, or the folder itself",
    )


def bare(address: str) -> str:
    """Return an address without the name and password that may stand in it."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _basic(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    import base64

    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return f"Basic {base64.b64encode(login).decode()}"


def _connection(owner: tuple[str, str], limits: Limits) -> http.client.HTTPConnection:
    scheme, place = owner
    kind: Any = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    connection: http.client.HTTPConnection = kind(place, timeout=limits.idle_s)
    patient = type("_Patient", (_Response,), {"limits": limits})
    connection.response_class = patient
    return connection


def _answer(response: http.client.HTTPResponse) -> Answer:
    status = response.status
    if status == http.client.PARTIAL_CONTENT:
        stated = (response.headers.get("Content-Range") or "").partition(" ")[2].partition("-")[0]
        begins = int(stated) if stated.isdigit() else -1
    else:
        begins = 0
    return Answer(status, begins, response.length, _pieces(response))


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        stated = response.length
        piece = response.read1(PIECE)
        if not piece:
            if stated:
                raise http.client.IncompleteRead(b"", stated)
            return
        yield piece
