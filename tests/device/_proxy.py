"""A small TCP proxy on 127.0.0.1 that counts, and that stops forwarding or closes when told to."""

from __future__ import annotations

import contextlib
import socket
import threading

_PIECE = 16_384


class Proxy:
    """Forwards connections to a port of this machine.

    ``sent`` counts bytes from the clients. ``after`` has something happen once so many came.
    """

    def __init__(self, port):
        self.target = port
        self.sent = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._flows = threading.Event()
        self._flows.set()
        self._pairs = []
        self._when = None
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def after(self, count, act):
        """Call ``act`` once, when ``count`` more bytes came from clients."""
        self._when = (self.sent + count, act)

    def freeze(self):
        """Forward nothing any more and close nothing: a cable that was pulled."""
        self._flows.clear()

    def thaw(self):
        """Forward again."""
        self._flows.set()

    def cut(self):
        """Close all connections."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self):
        """End it."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        self.thaw()
        for thread in self._threads:
            thread.join(20)
        for pair in self._pairs:
            for end in pair:
                end.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                self._pairs.append((client, server))
                for source, sink, counts in ((client, server, True), (server, client, False)):
                    thread = threading.Thread(target=self._forward, args=(source, sink, counts))
                    self._threads.append(thread)
                    thread.start()

    def _forward(self, source, sink, counts):
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                if counts:
                    self._count(len(piece))
                self._flows.wait()
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    def _count(self, more):
        self.sent += more
        if self._when and self.sent >= self._when[0]:
            _, act = self._when
            self._when = None
            act()
