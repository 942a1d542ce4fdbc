"""A device that is short of memory or threads for a while: nothing is given up for it, nobody is locked out."""

from __future__ import annotations

import errno
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from edgeops.errors import MissingError
from edgeops.runtime.serving import server as process
from edgeops.runtime.serving.doors import Server
from edgeops.runtime.serving.model import Abandoned
from edgeops.runtime.serving.options import Options
from edgeops.runtime.serving.requests import Recorder
from tests.serving import slot, switch
from tests.unit.test_serving_models import QUICK, Runner, made

ASKED = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_door_stays_open_when_there_is_no_memory_for_somebody(tmp_path, monkeypatch):
    serving, _ = made(tmp_path, Runner(1))
    server = Server(serving, Recorder(tmp_path, 0, 0, 0))
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(tmp_path / "s"))
    server.listen(door)

    def told():
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(str(tmp_path / "s"))
            link.sendall(ASKED)
            return link.recv(1 << 12)[9:12]

    def none(*_):
        raise MemoryError

    monkeypatch.setattr("edgeops.runtime.serving.doors.Connection", none)
    for _ in range(2):
        with suppress(ConnectionError):
            assert told() == b""
    monkeypatch.undo()
    assert told() == b"200"
    assert server.serving.trouble.startswith("MemoryError")
    assert server.drain()


def test_calls_that_hang_in_this_process_fill_it_with_no_more_threads(tmp_path):
    endless = threading.Event()
    options = replace(QUICK, openings=0, cooldown_s=0, call_timeout_s=1)
    serving, clock = made(tmp_path, Runner(1), options=options)
    model, ended = serving.line.current, []

    def hang():
        try:
            model.call({"do": lambda: endless.wait(30)})
        except Abandoned:
            ended.append(True)

    threads = []
    for _ in range(40):
        if not model.admits():
            continue
        threads.append(threading.Thread(target=hang))
        threads[-1].start()
        while not model._flying:
            time.sleep(0.001)
        clock.now += 2
        assert model.expire() == 1
    assert len(threads) == 16
    with pytest.raises(MissingError) as caught:
        serving.answer({})
    assert "hung" in caught.value.why
    endless.set()
    for thread in threads:
        thread.join()
    assert len(ended) == 16
    assert model.admits()  # what came back may be tried again


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files")])
def test_server_that_starts_without_memory_gives_nothing_up(tmp_path, monkeypatch, error):
    one, two = slot(tmp_path, "one", 1.0), slot(tmp_path, "two", 2.0)
    switch(tmp_path, two, one)
    given_up, tried = [], []
    monkeypatch.setattr(process, "give_up", lambda *given: given_up.append(given))

    def load(folder, _):
        tried.append(folder)
        if folder == two.resolve():
            raise error
        return Runner(1)

    monkeypatch.setattr("edgeops.runtime.serving.serving.load", load)
    serving = process.started(tmp_path, Options())
    assert given_up == []
    assert tried == [two.resolve(), one.resolve()]
    assert serving.answer({}).outputs == {"y": np.float32(1)}
    assert type(error).__name__ in serving.trouble


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "warmup-short"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "warmup-short"),
        (OSError(errno.EIO, "Input/output error"), "warmup-failed"),
        (RuntimeError("the engine is confused"), "warmup-failed"),
    ],
)
def test_candidate_that_found_no_memory_is_told_from_one_that_fails(
    tmp_path, monkeypatch, error, code
):
    def load(*_):
        raise error

    monkeypatch.setattr("edgeops.runtime.serving.candidate.load", load)
    serving, _ = made(tmp_path, Runner(1))
    verdict = serving.prepare(slot(tmp_path, "two", 2.0))
    assert (verdict.accepted, verdict.code, verdict.fix) == (False, code, "")
    assert serving.answer({}).outputs == {"y": np.float32(1)}
