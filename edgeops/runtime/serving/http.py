"""As much of HTTP/1.1 as serving needs, on one socket: keep-alive, Content-Length, 100-continue.

What is not understood is refused and the connection closed; a head has at most 16 KiB, and a peer
that sends too slowly is cut off by the clock, not by the byte.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from edgeops.errors import (
    EdgeopsError,
    InputError,
    MissingError,
    RefusedError,
    TransportError,
    TrustError,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_MOST_HEAD = 16 << 10
_READ = 1 << 16
# Of a length; Python itself reads no number of some thousands.
_MOST_DIGITS = 18
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON = "application/json"
REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
STATUS = {
    "serve-path": 404,
    "serve-method": 405,
    "serve-length": 411,
    "serve-too-large": 413,
    "serve-media": 415,
    "serve-control": 403,
    "serve-host": 403,
    "serve-failed": 500,
}


class Closed(Exception):
    """The peer is gone, or was silent for too long."""


@dataclass(frozen=True)
class Head:
    """The first lines of a request; names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    keep: bool

    @property
    def length(self) -> int:
        """The size of the body; raises InputError ``serve-length`` or ``serve-malformed``."""
        if "transfer-encoding" in self.headers:
            raise InputError(
                "serve-length",
                "a body must say how long it is",
                where="Transfer-Encoding",
                why="bodies of unknown length cannot be bounded before they are read",
                fix="send Content-Length",
            )
        text = self.headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
            raise malformed(f"Content-Length is {text[:40]!r}")
        return int(text)


class Reply(NamedTuple):
    """An answer: status, content type, body, further headers."""

    status: int
    kind: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Connection:
    """A peer: ``local`` where it came by the Unix socket; ``busy`` while it is being answered."""

    link: socket.socket
    local: bool
    idle_s: float
    read_s: float
    busy: bool = False
    buffer: bytearray = field(default_factory=bytearray)

    def head(self) -> Head:
        """Return the head of the next request; raises Closed, InputError ``serve-malformed``."""
        until = time.monotonic() + self.idle_s
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if (len(self.buffer) if end < 0 else end) > _MOST_HEAD:
                raise malformed("its head is longer than 16 KiB")
            if end >= 0:
                text = bytes(self.buffer[:end])
                del self.buffer[: end + 4]
                return parse_head(text)
            begun = bool(self.buffer)
            self.buffer += self._more(until)
            if not begun:
                until = min(until, time.monotonic() + self.read_s)
            self.busy = True

    def body(self, head: Head, most: int) -> bytes:
        """Return the body; raises InputError ``serve-too-large`` before it is read, Closed."""
        length = head.length
        if length > most:
            raise InputError(
                "serve-too-large",
                f"the body of {length} bytes is larger than this server takes",
                where="Content-Length",
                why=f"it takes {most} bytes",
                fix="send less at once, or raise most_body",
            )
        if length > len(self.buffer) and head.headers.get("expect", "").lower() == "100-continue":
            self.link.sendall(_CONTINUE)
        if length <= len(self.buffer):
            data = bytes(self.buffer[:length])
            del self.buffer[:length]
            return data
        return self._rest(length)

    def send(self, reply: Reply, *, keep: bool, head_only: bool = False) -> None:
        """Send an answer; raises OSError when the peer is gone."""
        lines = [
            f"HTTP/1.1 {reply.status} {REASONS[reply.status]}",
            f"Content-Type: {reply.kind}",
            f"Content-Length: {len(reply.body)}",
            *(f"{name}: {value}" for name, value in reply.headers),
        ]
        if not keep:
            lines.append("Connection: close")
        data = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.link.settimeout(self.read_s)
        self.link.sendall(data if head_only else data + reply.body)

    def _rest(self, length: int) -> bytes:
        until = time.monotonic() + self.read_s
        data = bytearray(length)
        place = len(self.buffer)
        data[:place] = self.buffer
        self.buffer.clear()
        view = memoryview(data)
        while place < length:
            place += self._into(view[place:], until)
        return bytes(data)

    def _more(self, until: float) -> bytes:
        self._patience(until)
        try:
            data = self.link.recv(_READ)
        except OSError as error:
            raise Closed from error
        if not data:
            raise Closed
        return data

    def _into(self, view: memoryview, until: float) -> int:
        self._patience(until)
        try:
            count = self.link.recv_into(view)
        except OSError as error:
            raise Closed from error
        if not count:
            raise Closed
        return count

    def _patience(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise Closed
        self.link.settimeout(left)


def parse_head(text: bytes) -> Head:
    """Return the head that its lines say; raises InputError ``serve-malformed``. Pure."""
    first, *lines = text.decode("latin-1").split("\r\n")
    # A proxy in front may take what stands alone for the end of a line, and see other headers.
    if not text.count(b"\r") == text.count(b"\n") == len(lines) or b"\0" in text:
        raise malformed("its head has a CR, LF or NUL that ends no line")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):  # noqa: PLR2004
        raise malformed(f"its first line is {first[:60]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name.strip() != name:
            raise malformed(f"{line[:60]!r} is no header")
        if name in headers and name in ("content-length", "transfer-encoding", "host"):
            raise malformed(f"{name} is there twice")
        headers[name] = value.strip()
    path, _, query = words[1].partition("?")
    asked = [each.strip() for each in headers.get("connection", "").lower().split(",")]
    keep = "close" not in asked if words[2] != "HTTP/1.0" else "keep-alive" in asked
    found = {name: each[-1] for name, each in parse_qs(query).items()} if query else {}
    return Head(words[0], path, found, headers, keep)


def malformed(why: str) -> InputError:
    """Return the error for a request that cannot be understood."""
    return InputError(
        "serve-malformed",
        "the request cannot be understood",
        why=why,
        fix="send it as docs/formats/serve.md says",
    )


def answered(document: Any, status: int = 200) -> Reply:
    """Return a JSON answer."""
    return Reply(status, JSON, json.dumps(document).encode() + b"\n")


def refused(error: EdgeopsError) -> Reply:
    """Return the answer that says why there is none."""
    kinds = ((InputError, 400), (RefusedError, 409), (TrustError, 409))
    status = STATUS.get(error.code)
    if status is None:
        status = next((number for kind, number in kinds if isinstance(error, kind)), 500)
        if isinstance(error, (MissingError, TransportError)):
            status = 503
    headers = (("Retry-After", "1"),) if status == 503 else ()  # noqa: PLR2004
    document = {"error": error.to_json()["error"]}
    return Reply(status, JSON, json.dumps(document).encode() + b"\n", headers)
