"""Bodies of all connections together have a bound, and nobody waits for it for ever."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import replace

import pytest

from edgeops.runtime.serving import routes
from edgeops.runtime.serving.options import Options
from edgeops.runtime.serving.room import SMALL, Room
from tests.unit._doors import connected, opened

BODY = 4 * SMALL


@pytest.fixture
def server(tmp_path):
    """A server that has room for one body of this size and a half."""
    bounds = {"most_body": 2 * BODY, "most_bodies": BODY * 3 // 2}
    with opened(tmp_path, Options(drain_s=30, wait_s=0.1, **bounds)) as server:
        yield server


def head(size):
    return b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size


def answer(link):
    """Return status and head of an answer, with as much of its body as came along."""
    data = link.recv(1 << 16)
    return data[9:12], data


def request(size):
    """Return a whole request whose body has so many bytes."""
    body = b'{"inputs": {"x": 1}}'
    return head(size) + body.ljust(size)


def refused(server):
    with connected(server) as link:
        link.sendall(head(BODY))
        status, said = answer(link)
    assert (status, b"serve-no-room" in said, b"Retry-After: 1" in said) == (b"503", True, True)


def until_held(server, size):
    """Wait until bodies of so many bytes have room: threads of the server take and leave it."""
    until = time.monotonic() + 30
    while server._bodies._held != size:
        assert time.monotonic() < until, server._bodies._held
        time.sleep(0.005)


def test_body_that_has_no_room_beside_another_is_refused_unread(server):
    with connected(server) as slow:
        slow.sendall(head(BODY) + b'{"inputs"')  # and the rest later, or never
        until_held(server, BODY)
        refused(server)
        assert server.turned_away == 1
        with connected(server) as link:  # what is small is taken all the same
            link.sendall(request(SMALL))
            assert answer(link)[0] == b"200"
        slow.sendall(request(BODY)[len(head(BODY)) + 9 :])
        assert answer(slow)[0] == b"200"
    with connected(server) as link:
        for _ in range(3):
            until_held(server, 0)
            link.sendall(request(BODY))
            assert answer(link)[0] == b"200"


def test_body_waits_for_room_that_is_coming(server):
    server._options = replace(server._options, wait_s=60)
    with connected(server) as first, connected(server) as second:
        first.sendall(head(BODY))
        until_held(server, BODY)
        second.sendall(head(BODY))
        time.sleep(0.05)
        first.sendall(request(BODY)[len(head(BODY)) :])
        assert answer(first)[0] == b"200"
        second.sendall(request(BODY)[len(head(BODY)) :])
        assert answer(second)[0] == b"200"


@pytest.mark.parametrize("how", ["close", "reset", "nonsense", "large"])
def test_room_comes_back_however_a_request_ends(server, how):
    for _ in range(5):
        with connected(server) as link:
            if how == "reset":
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.sendall(head(BODY * (8 if how == "large" else 1)))
            if how == "nonsense":
                link.sendall(b"x" * BODY)
            if how in ("nonsense", "large"):
                assert answer(link)[0] == (b"400" if how == "nonsense" else b"413")
        until_held(server, 0)


def test_room_comes_back_when_a_body_cannot_be_made_into_inputs(server, monkeypatch):
    def short(*_):
        raise MemoryError

    with monkeypatch.context() as patch, connected(server) as link:
        patch.setattr(routes, "inputs", short)
        link.sendall(request(BODY))
        assert answer(link)[0] == b"500"
        until_held(server, 0)
    with connected(server) as link:
        link.sendall(request(BODY))
        assert answer(link)[0] == b"200"


def test_body_that_is_larger_than_all_room_is_let_in_alone():
    room = Room(10)
    held = room.take(SMALL + 1, 0)
    assert held is not None
    assert room.take(SMALL + 1, 0.01) is None
    held.give_back()
    held.give_back()
    assert room.take(SMALL + 1, 0) is not None


def test_room_is_never_given_out_twice():
    room, most = Room(10 * SMALL), []

    def work():
        for _ in range(50):
            held = room.take(3 * SMALL, 10)
            most.append(room._held)
            held.give_back()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 10 * SMALL
    assert room._held == 0
