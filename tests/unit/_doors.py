"""A server's doors in this process, on a socket of its own, before models that need no engine."""

from __future__ import annotations

import socket
from contextlib import contextmanager

from edgeops.runtime.serving.doors import Server
from edgeops.runtime.serving.requests import Recorder
from tests.unit.test_serving_models import Runner, made


@contextmanager
def opened(folder, options):
    """Serve until the block ends, and see then that all that had begun was finished."""
    serving, _ = made(folder, Runner(1))
    serving.options = options
    server = Server(serving, Recorder(folder, 0, 0, 0))
    link = socket.socket(socket.AF_UNIX)
    link.bind(str(folder / "s"))
    server.listen(link)
    server.name = str(folder / "s")
    yield server
    assert server.drain()


def connected(server):
    """Return a connection to it."""
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(60)
    try:
        link.connect(server.name)
    except OSError:
        link.close()
        raise
    return link
