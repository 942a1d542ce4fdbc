"""Models that go bad while they serve: the old one answers, and the server goes back by itself."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from edgeops.core.variant import read_variant
from edgeops.runtime.serving import server as server_module
from tests import serving
from tests.faulty_engine import gone
from tests.serving import Running, slot, switch

# Quick, so that a model that is open three times is given up within a second. Calls have long: on
# a machine that is busy a good model may be kept waiting, and only tests of hanging need less.
QUICK = {
    "cooldown_s": 0.1,
    "call_timeout_s": 20,
    "slow_floor_ms": 20,
    "warm_tolerance": 1000,
    "warm_deadline_s": 10,
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    serving.install(tmp_path / "engine", monkeypatch)
    home = tmp_path / "home"
    switch(home, slot(home, "old", 1.0))
    return home


def old(home):
    """Return the folder of the model that is there from the start."""
    return next(
        path for path in (home / "slots").iterdir() if (path / "model.txt").read_text() == "old"
    )


def swapped(home, server, **fault):
    """Bring a second model into service that turns bad once the file ``cue`` is there."""
    bad = slot(home, "new", 2.0, cue=str(home / "cue"), **fault)
    status, verdict = server.ask("/v1/prepare", {"slot": str(bad)})
    assert (status, verdict["accepted"]) == (200, True), verdict
    switch(home, bad, old(home))
    assert server.ask("/v1/commit", {"digest": verdict["figures"]["digest"]})[0] == 200
    assert server.predict() == (200, 2.0)
    return bad


def load(server, stop, found):
    while not stop.is_set():
        found.append(server.predict())


def gone_back(home, bad):
    """Wait until the agent has left a model, its state file included: the link is switched before."""
    until = time.monotonic() + 60
    while True:
        told = json.loads((home / "state.json").read_text())
        if (told["state"], told["previous"]) == ("idle", None):
            break
        assert time.monotonic() < until, told
        time.sleep(0.01)
    assert (home / "current").resolve() == old(home)
    assert list(told["refused"]) == [read_variant(bad).digest]
    return told["refused"][read_variant(bad).digest]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "isolate"),
    [
        ("hang", False),
        ("raise", False),
        ("nan", False),
        ("slow", False),
        ("hang", True),
        ("abort", True),
        ("shape", True),
    ],
)
def test_bad_model_is_left_and_refused_while_the_old_one_answers(home, kind, isolate):
    options = QUICK | ({"call_timeout_s": 1.5} if kind == "hang" else {})
    with Running(home, isolate=isolate, **options) as server:
        bad = swapped(home, server, run=kind)
        stop, lists = threading.Event(), ([], [])
        threads = [threading.Thread(target=load, args=(server, stop, found)) for found in lists]
        for thread in threads:
            thread.start()
        (home / "cue").touch()
        server.until(lambda status: status["current"]["slot"] == str(old(home)), 120)
        gone_back(home, bad)
        # What was asked before that may be answered after it, and by the bad one.
        before = [len(found) for found in lists]
        server.until(
            lambda _: all(
                len(found) > count + 1 for found, count in zip(lists, before, strict=True)
            )
        )
        stop.set()
        for thread in threads:
            thread.join()
        found = [each for found in lists for each in found]
        assert {status for status, _ in found} == {200}
        assert {answer for _, answer in found} <= {1.0, 2.0}
        assert [found[-1] for found in lists] == [(200, 1.0)] * 2
        # It is not taken again.
        status, answer = server.ask("/v1/prepare", {"slot": str(bad)})
        assert (status, answer["error"]["code"]) == (409, "model-refused")


def test_what_is_tried_again_is_followed_though_the_commit_is_lost(home):
    with Running(home, **QUICK | {"probation_s": 600}) as server:
        new = swapped(home, server, run="shape")
        (home / "cue").touch()
        server.predict()
        server.until(
            lambda status: server.predict() and status["current"]["slot"] == str(old(home))
        )
        gone_back(home, new)
        (home / "cue").unlink()
        assert server.ask("/v1/prepare", {"slot": str(new)})[0] == 409
        status, answer = server.ask("/v1/prepare", {"slot": str(new), "again": True})
        assert (status, answer["accepted"]) == (200, True)
        switch(home, new, old(home))
        server.until(lambda status: status["current"]["slot"] == str(new))
        assert server.predict() == (200, 2.0)


def test_model_with_nothing_to_fall_back_to_says_so_and_mends(home):
    switch(home, slot(home, "lone", 3.0, cue=str(home / "cue"), run="shape"))
    with Running(home, **QUICK | {"openings": 0}) as server:
        assert server.predict() == (200, 3.0)
        (home / "cue").touch()
        assert server.predict() == (503, "model-unavailable")
        assert server.ask("/v1/health") == (503, {"status": "unavailable"})
        (home / "cue").unlink()
        server.until(lambda _: server.predict() == (200, 3.0))
        while server.ask("/v1/health") != (200, {"status": "ok"}):
            server.predict()


@pytest.mark.slow
def test_child_that_is_killed_costs_no_request(home):
    with Running(home, isolate=True, **QUICK | {"openings": 0}) as server:
        new = swapped(home, server)
        for _ in range(3):
            (pid,) = [pid for pid in children(server) if served_by(pid, new.name)]
            os.kill(pid, signal.SIGKILL)
            assert server.predict() == (200, 1.0)
            server.until(lambda _: server.predict() == (200, 2.0))


def children(server):
    """Return the server's children; by their parent, for its threads, which have them, come and go."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == server.process.pid and state not in "ZX":
                found.append(int(path.parent.name))
    return found


def served_by(pid, name):
    with suppress(OSError):  # it has ended meanwhile
        return name in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def test_children_end_with_a_server_that_is_killed(home):
    with Running(home, isolate=True) as server:
        (pid,) = children(server)
        server.kill()
        assert gone(pid, 30)


@pytest.mark.slow
def test_server_that_keeps_dying_goes_back(home):
    bad = slot(home, "new", 2.0, cue=str(home / "cue"), run="abort")
    switch(home, bad, old(home))
    (home / "cue").touch()
    for _ in range(3):
        with Running(home, **QUICK) as server, pytest.raises(Exception, match="does not answer"):
            server.predict()
    with Running(home, **QUICK) as server:
        assert server.predict() == (200, 1.0)
        assert (home / "current").resolve() == old(home)


def test_power_that_is_cut_is_no_death_of_the_model(home, monkeypatch):
    new = slot(home, "new", 2.0)
    switch(home, new, old(home))
    for boot in range(4):
        monkeypatch.setattr(server_module, "_boot", lambda boot=boot: str(boot))
        deaths = server_module._remember(home, clean=False, slot=new, window_s=600.0)
        assert deaths == 0
    for expected in (1, 2, 3):
        deaths = server_module._remember(home, clean=False, slot=new, window_s=600.0)
        assert deaths == expected


@pytest.mark.parametrize("when", ["prepare", "switched"])
def test_server_killed_in_a_swap_comes_back_with_old_or_new(home, when):
    new = slot(home, "new", 2.0, pause_s=0.05 if when == "prepare" else 0)
    with Running(home, **QUICK) as server:
        thread = threading.Thread(target=quietly, args=(server, new))
        thread.start()
        if when == "prepare":
            server.until(lambda status: status["candidate"] is not None)
        else:
            thread.join()
            switch(home, new, old(home))
        server.kill()
        thread.join()
    with Running(home, **QUICK) as server:
        assert server.predict() == (200, 1.0 if when == "prepare" else 2.0)


def quietly(server, folder):
    try:
        server.ask("/v1/prepare", {"slot": str(folder)})
    except Exception:  # noqa: BLE001 - the server was killed meanwhile
        return


def test_corrupted_model_is_found_when_it_is_loaded(home):
    bad = slot(home, "new", 2.0)
    switch(home, bad, old(home))
    (bad / "model.txt").write_text("flipped")
    with Running(home) as server:
        assert server.predict() == (200, 1.0)
        assert "digest-mismatch" in server.status()["trouble"]


def test_model_that_goes_bad_after_its_probation_goes_back_to_the_disk(home):
    bad = slot(home, "new", 2.0, cue=str(home / "cue"), run="shape")
    switch(home, bad, old(home))
    with Running(home, **QUICK) as server:
        assert server.predict() == (200, 2.0)
        assert server.status()["previous"] is None
        (home / "cue").touch()
        server.until(lambda _: server.predict() == (200, 1.0))
        assert "wrong-shape" in gone_back(home, bad)["why"]
