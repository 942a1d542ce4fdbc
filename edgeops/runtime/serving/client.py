"""Ask the server of a home over its Unix socket; standard library only, no numpy."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

from edgeops.errors import TransportError
from edgeops.runtime.serving.place import connected

if TYPE_CHECKING:
    import socket
    from pathlib import Path


class _Link(http.client.HTTPConnection):
    def __init__(self, link: socket.socket) -> None:
        super().__init__("localhost")
        self._there = link

    def connect(self) -> None:
        """Use the socket that is connected already."""
        self.sock = self._there


def ask(
    home: Path, path: str, document: Any = None, seconds: float = 30.0
) -> tuple[int, dict[str, Any]] | None:
    """Return status and answer of the server, None when none runs on this home.

    ``document`` None asks with GET, anything else with POST. Raises TransportError
    ``serve-unreachable`` when it does not answer.
    """
    link = connected(home, seconds)
    if link is None:
        return None
    connection = _Link(link)
    try:
        body = None if document is None else json.dumps(document)
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransportError(
            "serve-unreachable",
            "the server of this home does not answer",
            where=str(home),
            why=f"{type(error).__name__}: {error}",
            fix="see its log; when it is started again it serves HOME/current",
        ) from error
    finally:
        connection.close()
        link.close()
    return response.status, answer if isinstance(answer, dict) else {}
