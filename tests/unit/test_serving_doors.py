"""The server's doors in this process: whatever comes, its connection ends and others go on."""

from __future__ import annotations

import io
import json
import struct
import threading
import time
import zipfile

import numpy as np
import pytest

from edgeops.errors import InputError
from edgeops.runtime.serving.body import NPZ, inputs_of, reply_of
from edgeops.runtime.serving.http import parse_head
from edgeops.runtime.serving.options import Options
from edgeops.runtime.serving.serving import Answer
from tests.unit._doors import connected, opened

POST = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def server(tmp_path):
    with opened(tmp_path, Options(connections=2, drain_s=30)) as server:
        yield server


def told(server, data):
    """Return the status of what is answered to these bytes, b"" where the connection just ends."""
    with connected(server) as link:
        link.sendall(data)
        status = link.recv(65536)[9:12]
    until = time.monotonic() + 20
    while server.about()["connections"] and time.monotonic() < until:
        time.sleep(0.001)
    return status


def with_body(body, kind=b"application/json"):
    return POST + b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(body), body)


def locked():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", b"secret")
    data = bytearray(buffer.getvalue())
    for sign, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(sign) + place
        struct.pack_into("<H", data, at, 1)
    return bytes(data)


def repeated():
    """Return an archive whose directory names one member ten times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", npy(np.zeros(100)))
        archive.filelist *= 10
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_archive_unpacks_to_no_more_than_was_sent():
    with pytest.raises(InputError) as caught:
        inputs_of(NPZ, repeated(), (), None)
    assert "more than it has" in caught.value.why


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: " + b"1" * 5000 + b"\r\n\r\n",
        with_body(b'{"inputs": {"x": {"base64": "", "dtype": "f4,(", "shape": [0]}}}'),
        with_body(locked(), b"application/x-npz"),
        with_body(b"\x93NUMPY\1\0\2\0((", b"application/x-npy"),
    ],
    ids=["length", "dtype", "encrypted", "header"],
)
def test_no_request_keeps_the_room_of_its_connection(server, data):
    assert [told(server, data) for _ in range(4)] == [b"400"] * 4
    assert told(server, POST[:-2].replace(b"POST", b"GET") + b"\r\n\r\n") == b"405"


def test_fault_in_answering_ends_that_connection_alone(server, monkeypatch):
    monkeypatch.setattr("edgeops.runtime.serving.routes.check", lambda *_, **__: 1 // 0)
    assert [told(server, with_body(b"{}")) for _ in range(4)] == [b""] * 4
    assert "ZeroDivisionError" in server.serving.trouble
    monkeypatch.undo()
    assert told(server, with_body(b'{"inputs": {}}')) == b"200"


def test_connection_is_turned_away_when_there_is_no_thread_for_it(server, monkeypatch):
    def none(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(server, "_start", none)
    assert [told(server, with_body(b"{}")) for _ in range(4)] == [b"503"] * 4
    monkeypatch.undo()
    assert told(server, with_body(b'{"inputs": {}}')) == b"200"


def test_nobody_is_left_waiting_at_a_door_that_closes(server):
    server.drain()
    with pytest.raises(OSError, match="refused"):
        connected(server)
    for thread in threading.enumerate():
        if thread.name == "edgeops-accept":
            thread.join(5)
            assert not thread.is_alive()


def test_fault_of_one_chore_leaves_the_others_done(server, monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(server.serving, "tick", lambda: 1 // 0)
    monkeypatch.setattr(server, "_allowed", asked.set)
    house = threading.Thread(target=server.keep_house)
    house.start()
    assert asked.wait(10)
    server.stop()
    house.join()
    assert "ZeroDivisionError" in server.serving.trouble
    monkeypatch.undo()


@pytest.mark.parametrize("line", [b"A: b\nContent-Length: 5", b"A: b\rC: d", b"A: \0"])
def test_head_has_no_lines_that_a_proxy_sees_otherwise(line):
    with pytest.raises(InputError, match="cannot be understood"):
        parse_head(POST + line)


@pytest.mark.parametrize(
    ("version", "words", "keep"),
    [
        ("1.1", "TE, close", False),
        ("1.1", "keep-alive, TE", True),
        ("1.0", "Keep-Alive, TE", True),
        ("1.0", "TE", False),
    ],
)
def test_connection_may_name_several_things(version, words, keep):
    head = parse_head(f"GET / HTTP/{version}\r\nConnection: {words}".encode())
    assert head.keep is keep


def test_outputs_of_any_name_and_form_are_answered():
    outputs = {
        "file": np.arange(6, dtype=">i2").reshape(2, 3).T,
        "allow_pickle": np.array(1.5, np.float16),
        "none": np.zeros((0, 2), bool),
        "text": np.array(["a", "bc"], object),
    }
    found = np.load(io.BytesIO(reply_of(Answer(outputs, None, None), NPZ).body))
    assert {name: found[name].tolist() for name in found} == {
        name: array.tolist() for name, array in outputs.items()
    }


def test_what_is_not_finite_may_stand_beside_texts():
    outputs = {"y": np.array([np.nan, 1]), "t": np.array([b"a"]), "o": np.array(["x", None])}
    found = json.loads(reply_of(Answer(outputs, None, None), "").body)["outputs"]
    assert found == {"y": [None, 1.0], "t": ["a"], "o": ["x", None]}
