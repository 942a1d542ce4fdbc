"""The server: a thread a connection, on a Unix socket and, when asked, on loopback HTTP.

A call that hangs in this process holds its thread for ever. The housekeeper then has another thread
answer the request and take the connection over; should the call end after all, its thread finds
that and goes.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, InputError, MissingError, RefusedError
from edgeops.runtime.serving import routes
from edgeops.runtime.serving.http import Closed, Connection, Reply, refused
from edgeops.runtime.serving.model import Abandoned
from edgeops.runtime.serving.room import Held, Room
from edgeops.runtime.serving.turns import soon

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.runtime.serving.http import Head
    from edgeops.runtime.serving.requests import Recorder
    from edgeops.runtime.serving.serving import Serving

_TICK_S = 0.05
_ASK_S = 60.0
_BACKLOG = 128
_MOST_PARTING, _PART_S = 64, 1.0
_READ = 1 << 16


class Server:
    """Answers what comes by its sockets until it is stopped.

    ``exposed`` says that the TCP socket is meant to be reached from other machines. ``allowed`` is asked
    every minute, and raises why nothing is to be answered any more.
    """

    def __init__(
        self,
        serving: Serving,
        recorder: Recorder,
        *,
        exposed: bool = False,
        allowed: Callable[[], None] = lambda: None,
    ) -> None:
        self.serving, self._recorder, self._exposed = serving, recorder, exposed
        self._allowed, self._ask_again = allowed, 0.0
        self._options = serving.options
        self._listeners: list[socket.socket] = []
        self._room = threading.BoundedSemaphore(self._options.connections)
        self._slots = threading.Semaphore(self._options.concurrency)
        self._bodies = Room(self._options.most_bodies)
        self._open: dict[int, Connection] = {}
        self._parting: list[tuple[socket.socket, float]] = []
        self._stopping = threading.Event()
        self._begun = time.monotonic()
        self.turned_away = 0
        self.http: str | None = None

    def listen(self, link: socket.socket) -> None:
        """Take connections of a bound socket from now on."""
        link.listen(_BACKLOG)
        self._listeners.append(link)
        if link.family != socket.AF_UNIX:
            self.http = "{}:{}".format(*link.getsockname()[:2])
        name = "edgeops-accept"
        threading.Thread(target=self._accept, args=(link,), name=name, daemon=True).start()

    def keep_house(self) -> None:
        """Do what time asks for until the server is stopped."""
        while not self._stopping.wait(_TICK_S):
            for work in (self.serving.tick, self._ask, self._sweep):
                try:
                    work()
                except Exception as error:  # noqa: BLE001 - requests go on, and so does the rest
                    self.serving.trouble = f"{type(error).__name__}: {error}"

    def _ask(self) -> None:
        if time.monotonic() < self._ask_again:
            return
        self._ask_again = time.monotonic() + _ASK_S
        try:
            self._allowed()
        except MissingError as error:
            self.serving.held = error
        except EdgeopsError as error:
            # A policy that cannot be read any more is no reason to stop what serves.
            self.serving.trouble = f"{error.what}: {error.why}"
        else:
            self.serving.held = None

    def stop(self) -> None:
        """Have :meth:`keep_house` return; safe to call from a signal's handler."""
        self._stopping.set()

    def drain(self) -> bool:
        """Take nothing new, finish what has begun; returns whether all was finished in time."""
        self._stopping.set()
        for link in self._listeners:
            # Closing alone would leave the thread in accept, and who connects without an answer.
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()
        until = time.monotonic() + self._options.drain_s
        while self._open and time.monotonic() < until:
            for connection in list(self._open.values()):
                if not connection.busy:
                    _hang_up(connection)
            self.serving.tick()
            time.sleep(_TICK_S / 5)
        finished = not self._open
        for link, _ in self._parting:
            link.close()
        self.serving.close()
        return finished

    def about(self) -> dict[str, Any]:
        """Return what the status tells of the server itself."""
        return {
            "http": self.http,
            "uptime_s": round(time.monotonic() - self._begun, 3),
            "connections": len(self._open),
            "turned_away": self.turned_away,
            "stopping": self._stopping.is_set(),
        }

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            link = None
            try:
                link, _ = listener.accept()
                self._welcome(link)
            except Exception as error:  # noqa: BLE001 - without this thread nobody is let in any more
                if link is not None:
                    link.close()
                if self._stopping.is_set():
                    return
                if not isinstance(error, OSError):
                    self.serving.trouble = f"{type(error).__name__}: {error}"
                # Out of descriptors or memory: connections that end make room.
                time.sleep(_TICK_S)

    def _welcome(self, link: socket.socket) -> None:
        local = link.family == socket.AF_UNIX
        if not local:
            with suppress(OSError):  # the peer may be gone already
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        options = self._options
        connection = Connection(link, local, options.idle_s, options.read_s)
        if self._room.acquire(blocking=False):
            self._open[id(connection)] = connection
            try:
                self._start(self._serve, connection)
            except (RuntimeError, MemoryError):  # the system has no thread for it
                del self._open[id(connection)]
                self._room.release()
            else:
                return
        self._turn_away(connection)

    def _turn_away(self, connection: Connection) -> None:
        self.turned_away += 1
        connection.read_s = _TICK_S
        with suppress(OSError):
            connection.send(refused(routes.busy("too many connections")), keep=False)
        self._part(connection.link)

    def _part(self, link: socket.socket) -> None:
        """Close a connection so that the peer reads the last answer first.

        A socket that is closed with unread bytes resets, and what was sent may never be read: so what
        the peer still sends is thrown away for a moment.
        """
        with suppress(OSError):
            link.shutdown(socket.SHUT_WR)
            link.setblocking(False)
            if len(self._parting) < _MOST_PARTING and not self._stopping.is_set():
                self._parting.append((link, time.monotonic() + _PART_S))
                return
        link.close()

    def _sweep(self) -> None:
        now, kept = time.monotonic(), []
        parting, self._parting = self._parting, []
        for link, until in parting:
            if now >= until or _ended(link):
                link.close()
            else:
                kept.append((link, until))
        self._parting += kept

    def _start(self, work: Any, *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, name="edgeops-serve", daemon=True).start()

    def _serve(self, connection: Connection, first: Callable[[], bool] = lambda: True) -> None:
        """Answer a connection's requests until one of both ends it.

        ``first`` answers the one that has come already; it returns whether another may follow.
        """
        try:
            soon()
            going_on = first()
            while going_on:
                connection.busy = False
                going_on = self._one(connection)
        except Abandoned:
            return  # another thread has the connection now
        except (Closed, OSError):
            pass
        except Exception as error:  # noqa: BLE001 - a fault here must not keep the connection's room
            self.serving.trouble = f"{type(error).__name__}: {error}"
        self._end(connection)

    def _end(self, connection: Connection) -> None:
        self._part(connection.link)
        if self._open.pop(id(connection), None) is not None:
            self._room.release()

    def _one(self, connection: Connection) -> bool:
        """Answer one request; returns whether another may follow."""
        try:
            head, data, held = self._read(connection)
        except EdgeopsError as error:
            # What follows on the connection is unknown: the rest of a body, or another request.
            connection.send(refused(error), keep=False)
            return False
        try:
            if head.path == routes.PREDICT:
                going_on = self._predict(connection, head, data, held)
            else:
                going_on = self._reply(connection, head, self._other(head, data))
        except Abandoned:
            raise  # who took the request over has its room
        except BaseException:
            held.give_back()
            raise
        held.give_back()
        return going_on

    def _read(self, connection: Connection) -> tuple[Head, bytes, Held]:
        """Return a request and the room that its body takes, which is to be given back."""
        head = connection.head()
        connection.busy = True
        if self._stopping.is_set():
            raise routes.stopping()
        routes.check(head, local=connection.local, exposed=self._exposed)
        held = self._admitted(head)
        try:
            return head, connection.body(head, self._options.most_body), held
        except BaseException:  # also where the peer is gone, with its body sent in part
            held.give_back()
            raise

    def _admitted(self, head: Head) -> Held:
        """Return room for the body, before it is read; raises MissingError ``serve-no-room``."""
        if head.length > self._options.most_body:
            return Held()  # it is refused unread
        held = self._bodies.take(head.length, self._options.wait_s)
        if held is None:
            self.turned_away += 1
            raise routes.no_room(head.length)
        return held

    def _other(self, head: Head, data: bytes) -> Reply:
        try:
            if head.path in routes.CONTROL:
                return routes.controlled(self.serving, head, data)
            return routes.asked(self.serving, head, self.about())
        except EdgeopsError as error:
            return refused(error)
        except Exception as error:  # noqa: BLE001 - the one funnel of this thread
            return refused(_bug(error))

    def _predict(self, connection: Connection, head: Head, data: bytes, held: Held) -> bool:
        try:
            values = routes.inputs(self.serving, head, data)
        except EdgeopsError as error:
            return self._reply(connection, head, refused(error))
        except Exception as error:  # noqa: BLE001 - the one funnel of this thread
            return self._reply(connection, head, refused(_bug(error)))
        if not self._slots.acquire(timeout=self._options.wait_s):
            self.turned_away += 1
            return self._reply(connection, head, refused(routes.busy("too many requests at once")))
        return self._answer(connection, head, values, held)

    def _answer(
        self, connection: Connection, head: Head, values: dict[str, Any], held: Held
    ) -> bool:
        """Answer with the slot and room that were taken; who takes the request over has them then."""
        again = partial(self._answer, connection, head, values, held)
        overdue = partial(self._start, self._serve, connection, again)
        try:
            reply = routes.predicted(self.serving.answer(values, overdue), head)
        except Abandoned:
            raise
        except EdgeopsError as error:
            reply = refused(error)
        except Exception as error:  # noqa: BLE001 - the one funnel of this thread
            reply = refused(_bug(error))
        self._slots.release()
        try:
            going_on = self._reply(connection, head, reply)
            if reply.status == 200:  # noqa: PLR2004
                self._recorder.offer(values)
        finally:
            held.give_back()
        return going_on

    def _reply(self, connection: Connection, head: Head, reply: Reply) -> bool:
        keep = head.keep and not self._stopping.is_set()
        connection.send(reply, keep=keep, head_only=head.method == "HEAD")
        return keep


def _hang_up(connection: Connection) -> None:
    try:
        connection.link.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _ended(link: socket.socket) -> bool:
    """Throw away what came; return whether the peer has closed too."""
    try:
        for _ in range(64):
            if not link.recv(_READ):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def _bug(error: Exception) -> RefusedError:
    return RefusedError(
        "serve-failed",
        "the server failed to answer",
        why=f"{type(error).__name__}: {error}",
        fix="this is a bug in edgeops: tell its authors what was asked",
    )


def bound_tcp(address: str, *, expose: bool) -> socket.socket:
    """Return a socket bound to ``HOST:PORT``; raises InputError ``serve-address``."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    try:
        number = int(port)
        if not 0 <= number < 1 << 16:
            raise ValueError
        info = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
    except (ValueError, OSError, UnicodeError) as error:
        raise _address(address, f"it is no HOST:PORT: {error}") from error
    if not expose and not _is_loopback(str(info[4][0])):
        raise _address(address, "it can be reached from other machines, and nothing is encrypted")
    link = socket.socket(info[0], socket.SOCK_STREAM)
    try:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.bind(info[4])
    except OSError as error:
        link.close()
        raise _address(address, str(error)) from error
    return link


def _is_loopback(host: str) -> bool:
    import ipaddress

    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _address(address: str, why: str) -> InputError:
    return InputError(
        "serve-address",
        f"the server cannot listen on {address}",
        where=address,
        why=why,
        fix="name a free port of 127.0.0.1; --expose allows other addresses, behind a proxy that "
        "asks who is there",
    )
