"""A web server for a folder that keeps its word or breaks it, as told; on the loopback alone."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Manners:
    """How the server answers for paths below ``at``; counts what it was asked.

    ``cut`` ends the connection after so many bytes of each answer, ``ranges`` False ignores Range,
    ``fail`` answers 503 so often, ``endless`` never stops, ``pause`` waits after each ``drip``
    bytes, ``hang`` sends nothing at all, ``chunked`` states no length, ``wrong_range`` answers with
    another part, ``close`` ends each connection, ``moved`` sends to another address.
    """

    at: str = "/blobs/"
    cut: int = 0
    ranges: bool = True
    fail: int = 0
    endless: bool = False
    drip: int = 0
    pause: float = 0.0
    hang: float = 0.0
    chunked: bool = False
    wrong_range: bool = False
    close: bool = False
    moved: str = ""
    flip: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    connections: int = 0


@contextmanager
def serving(folder: Path, manners: Manners | None = None):
    """Serve a folder; yield (address, manners)."""
    manners = manners or Manners()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            manners.connections += 1

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            manners.asked.append((self.path, self.headers.get("Range", "")))
            manners.logins.append(self.headers.get("Authorization", ""))
            with suppress(OSError):
                answer(self, folder, manners)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", manners
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, folder: Path, manners: Manners) -> None:
    """Answer one request, well-mannered outside of ``manners.at``."""
    place = folder / unquote(request.path).lstrip("/")
    if not place.is_file():
        _head(request, 404, {"Content-Length": "9"})
        request.wfile.write(b"not here\n")
        return
    data = place.read_bytes()
    odd = request.path.startswith(manners.at)
    if odd and manners.moved:
        _head(request, 302, {"Location": manners.moved + request.path, "Content-Length": "0"})
        return
    if odd and manners.fail:
        manners.fail -= 1
        _head(request, 503, {"Content-Length": "5"})
        request.wfile.write(b"later")
        return
    start, status, headers = 0, 200, {}
    stated = request.headers.get("Range")
    if stated and (manners.ranges or not odd):
        start = int(stated.removeprefix("bytes=").rstrip("-"))
        if start >= len(data):
            _head(request, 416, {"Content-Length": "0"})
            return
        if odd and manners.wrong_range:
            start = max(start - 7, 0)
        status = 206
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    body = data[start:]
    if odd:
        _badly(request, status, headers, body, manners)
        return
    _head(request, status, {**headers, "Content-Length": str(len(body))})
    request.wfile.write(body)


def _badly(
    request: BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    body: bytes,
    manners: Manners,
) -> None:
    if manners.hang:
        time.sleep(manners.hang)
        request.close_connection = True
        return
    if manners.flip:
        body = bytes([body[0] ^ 1]) + body[1:]
    if manners.chunked or manners.endless:
        _head(request, status, {**headers, "Transfer-Encoding": "chunked"})
        _chunks(request, body, manners)
        return
    if manners.close:
        headers["Connection"] = "close"
        request.close_connection = True
    _head(request, status, {**headers, "Content-Length": str(len(body))})
    if manners.cut:
        request.wfile.write(body[: manners.cut])
        request.close_connection = len(body) > manners.cut
        return
    if manners.drip:
        for at in range(0, len(body), manners.drip):
            request.wfile.write(body[at : at + manners.drip])
            time.sleep(manners.pause)
        return
    request.wfile.write(body)


def _chunks(request: BaseHTTPRequestHandler, body: bytes, manners: Manners) -> None:
    for _ in range(400 if manners.endless else 1):
        request.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
    request.wfile.write(b"0\r\n\r\n")


def _head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
