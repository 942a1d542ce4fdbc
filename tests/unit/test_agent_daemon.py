"""The agent as a service, really started: hooks, signals, waits, its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from edgeops.errors import EdgeopsError, TransportError, TrustError
from edgeops.runtime.agent import daemon, log, renew
from edgeops.runtime.agent.cli import work
from edgeops.runtime.agent.policy import Policy
from edgeops.runtime.agent.windows import parse_window

# A service whose update writes a line and then does what the test asks for.
_SERVICE = """
import sys, time
from pathlib import Path
from edgeops.errors import TransportError
from edgeops.runtime.agent.daemon import run

home, does = Path(sys.argv[1]), sys.argv[2]

def update(stopping):
    with (home / "updates").open("a") as file:
        file.write("begun\\n")
    if does == "steps":
        for _ in range(600):
            if stopping():
                (home / "clean").write_text("")
                return {"state": "idle"}
            time.sleep(0.05)
    if does == "unreachable":
        raise TransportError("repository-unreachable", "nobody there")
    return {"state": "idle", "requests": 2, "secret": "not for the log"}

sys.exit(run(home, update))
"""


@pytest.fixture
def service(tmp_path):
    started = []

    def start(does="idle", **policy):
        (tmp_path / "agent.json").write_text(
            json.dumps({"poll_s": 2, "retry_s": 1, "jitter": 0, **policy})
        )
        process = subprocess.Popen([sys.executable, "-c", _SERVICE, str(tmp_path), does])
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def _until(condition, seconds=30):
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not come about")


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _updates(home):
    path = home / "updates"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _events(home):
    return [event["event"] for event in log.read(home)]


def test_it_updates_again_and_again_until_it_is_told_to_end(tmp_path, service):
    process = service(poll_s=1)
    _until(lambda: _updates(tmp_path) >= 2)
    process.terminate()
    assert process.wait(60) == 0
    assert _events(tmp_path)[:3] == ["started", "checked", "checked"]
    assert _events(tmp_path)[-1] == "stopped"
    checked = log.read(tmp_path)[1]
    assert (checked["requests"], "secret" in checked) == (2, False)


def test_sigterm_ends_between_steps(tmp_path, service):
    process = service("steps")
    _until(lambda: _updates(tmp_path) == 1)
    process.terminate()
    assert process.wait(60) == 0
    assert (tmp_path / "clean").exists()


def test_sighup_reads_the_policy_again_and_keeps_it_when_the_new_one_is_bad(tmp_path, service):
    process = service(poll_s=3600)
    _until(lambda: "checked" in _events(tmp_path))
    (tmp_path / "agent.json").write_text("{")
    process.send_signal(signal.SIGHUP)
    _until(lambda: "policy-kept" in _events(tmp_path))
    (tmp_path / "agent.json").write_text('{"poll_s": 1, "retry_s": 1, "jitter": 0}')
    process.send_signal(signal.SIGHUP)
    _until(lambda: _updates(tmp_path) >= 2)
    assert "policy-read" in _events(tmp_path)
    process.terminate()
    assert process.wait(60) == 0


def test_a_hook_that_says_no_holds_updates_back_until_it_says_yes(tmp_path, service):
    hook = tmp_path / "hook"
    hook.write_text('#!/bin/sh\n[ -e "$EDGEOPS_HOME/idle" ] || { echo in use; exit 1; }\n')
    hook.chmod(0o755)
    process = service(hook=[str(hook)])
    _until(lambda: "not-now" in _events(tmp_path))
    assert _updates(tmp_path) == 0
    assert log.read(tmp_path)[1]["why"] == "in use"
    (tmp_path / "idle").touch()
    _until(lambda: _updates(tmp_path) == 1)
    process.terminate()
    assert process.wait(60) == 0


def test_outside_of_its_windows_it_does_nothing_and_ends_at_once(tmp_path, service):
    later = time.localtime(time.time() + 7200)
    window = time.strftime("%H:00-%H:01", later)
    process = service(windows=[window])
    _until(lambda: _events(tmp_path) == ["started"])
    process.terminate()
    assert process.wait(60) == 0
    assert _updates(tmp_path) == 0


# --- in this process


def _loop(home, update, **policy):
    signals = daemon.Signals(reader=-1)
    waits = []

    def wait(seconds, again=False):
        waits.append(round(seconds))
        signals.stop = len(waits) > 4

    loop = daemon._Loop(home, update, Policy(jitter=0.0, **policy), signals, random=lambda: 0.5)
    loop._rest = wait
    loop.go()
    return waits


def test_devices_do_not_ask_all_at_once_when_their_window_opens(tmp_path, monkeypatch):
    shown, waits, updates = [datetime.fromisoformat("2026-03-02T01:50:00")], [], []
    signals = daemon.Signals(reader=-1)

    class Clock:
        now = staticmethod(lambda: shown[-1])

    def wait(seconds, again=False):
        waits.append(round(seconds))
        shown.append(shown[-1] + timedelta(seconds=seconds))

    def update(stopping):
        updates.append(shown[-1])
        signals.stop = True
        return {}

    monkeypatch.setattr(daemon, "datetime", Clock)
    policy = Policy(windows=(parse_window("02:00-05:00"),))
    loop = daemon._Loop(tmp_path, update, policy, signals, random=lambda: 0.5)
    loop._rest = wait
    loop.go()
    assert waits[:3] == [450, 150, 450]
    assert updates == [datetime.fromisoformat("2026-03-02T02:07:30")]


def test_home_of_a_service_is_its_owners_alone(tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    with umask(0o022):
        given = {"home": tmp_path / "home", "repo": str(repo), "once": True}
        assert work("run", given) is None
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeopsError) as caught:
        work("run", {**given, "home": tmp_path / "file"})
    assert caught.value.code == "folder-is-file"


@pytest.mark.parametrize("told", [True, False])
def test_service_that_was_told_to_end_becomes_no_newer_one(tmp_path, monkeypatch, told):
    running = tmp_path / "start.pyz"
    running.write_bytes(b"old")
    (tmp_path / renew.PROGRAM).write_bytes(b"new")
    monkeypatch.setattr(sys, "argv", [str(running)])
    become, ended = [], []
    monkeypatch.setattr(renew.os, "execv", lambda *_: become.append(True))
    # SIGTERM comes while the newer program shows that it starts.
    monkeypatch.setattr(renew, "works", lambda *_: ended.append(told) or "")
    renew.Renewal(tmp_path, []).take_over(lambda: any(ended))
    assert become == ([] if told else [True])


def _raiser(*errors):
    left = list(errors)

    def update(stopping):
        error = left.pop(0) if left else None
        if error:
            raise error
        return {}

    return update


def test_a_server_that_is_away_is_asked_less_and_less_often(tmp_path):
    away = TransportError("repository-unreachable", "away")
    assert _loop(tmp_path, _raiser(away, away, away)) == [0, 60, 120, 240, 3600]
    assert _events(tmp_path) == ["started", "failed", "failed", "failed", "checked", "stopped"]


def test_a_wrong_clock_and_another_agent_are_waited_for_and_an_attack_is_not(tmp_path):
    errors = (
        TrustError("clock-wrong", "1970"),
        EdgeopsError("agent-busy", "another"),
        TrustError("metadata-tampered", "an attack"),
    )
    assert _loop(tmp_path, _raiser(*errors)) == [0, 60, 120, 3600, 3600]


def test_error_that_is_not_known_ends_no_service(tmp_path):
    errors = (KeyError("offers"), RecursionError("deep"), TransportError("download-slow", "slow"))
    assert _loop(tmp_path, _raiser(*errors)) == [0, 60, 120, 240, 3600]
    assert _events(tmp_path) == ["started", "failed", "failed", "failed", "checked", "stopped"]
    failed = log.read(tmp_path)[1]
    assert failed["code"] == "bug"
    assert "KeyError: 'offers'" in failed["what"]
    assert failed["where"].startswith("test_agent_daemon.py:")


def test_fault_of_ours_around_a_hook_ends_no_service(tmp_path):
    # No program has a zero byte in its arguments: Python refuses to start it with a ValueError.
    waits = _loop(tmp_path, _raiser(), hook=("true", "\0"))
    assert waits == [0, 60, 120, 240, 480]
    assert _events(tmp_path) == ["started", *["failed"] * 4, "stopped"]


def test_a_hook_that_is_not_there_is_said_at_the_start(tmp_path):
    (tmp_path / "agent.json").write_text('{"hook": ["/nowhere/may-update"]}')
    with pytest.raises(EdgeopsError) as caught:
        daemon.run(tmp_path, lambda stopping: {})
    assert (caught.value.code, int(caught.value.exit_code)) == ("hook-missing", 4)


def test_once_ends_after_one_update(tmp_path):
    handler = signal.getsignal(signal.SIGTERM)
    called = []
    assert daemon.run(tmp_path, lambda stopping: called.append(stopping()) or {}, once=True) == 0
    assert called == [False]
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"hook": ["false"]}, "the hook ended with exit code 1"),
        ({"windows": []}, "no window of agent.json is open"),
    ],
)
def test_once_ends_without_an_update_when_now_is_no_time_for_it(tmp_path, policy, why, monkeypatch):
    (tmp_path / "agent.json").write_text(json.dumps({k: v for k, v in policy.items() if v}))
    if "windows" in policy:
        monkeypatch.setattr(daemon, "is_open", lambda *_: False)
    called = []
    assert daemon.run(tmp_path, lambda _: called.append(1) or {}, once=True) == 0
    assert called == []
    assert [each["why"] for each in log.read(tmp_path) if each["event"] == "not-now"] == [why]


def _ask(tmp_path, script, timeout=20.0):
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\n" + script)
    hook.chmod(0o755)
    return daemon.ask_hook(Policy(hook=(str(hook),), hook_timeout_s=timeout), tmp_path)


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("exit 0", ""),
        ("yes all is well | head -c 200000; exit 0", ""),
        ("exit 3", "the hook ended with exit code 3"),
        ("echo first; echo on battery >&2; exit 1", "on battery"),
        ("kill -9 $$", "the hook ended with exit code -9"),
    ],
)
def test_hook(tmp_path, script, answer):
    assert _ask(tmp_path, script) == answer


@pytest.mark.parametrize(
    "script", ["sleep 60", "sleep 60 & exit 0", "exec >/dev/null 2>&1; sleep 60"]
)
def test_a_hook_that_hangs_is_ended_with_its_children(tmp_path, script):
    begun = time.monotonic()
    assert _ask(tmp_path, script, 0.2) == "the hook did not end within 0.2 s"
    assert time.monotonic() - begun < 30


def test_a_hook_that_vanishes_says_no(tmp_path):
    answer = daemon.ask_hook(Policy(hook=(str(tmp_path / "gone"),)), tmp_path)
    assert answer == "the hook cannot be run: No such file or directory"


# --- the log


@pytest.mark.parametrize(
    ("policy", "most"),
    [
        ("", 262_144),
        ('{"log_bytes": 8192}', 8192),
        ('{"log_bytes": "8"}', 262_144),
        ("[]", 262_144),
    ],
)
def test_the_log_is_bounded_and_keeps_the_newest(tmp_path, policy, most):
    (tmp_path / "agent.json").write_text(policy)
    for number in range(400):
        log.write(tmp_path, "event", number=number, why="x" * 1000)
    total = sum(path.stat().st_size for path in tmp_path.glob("log*"))
    assert most // 3 < total <= most
    numbers = [event["number"] for event in log.read(tmp_path)]
    assert numbers == list(range(numbers[0], 400))


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    log.write(tmp_path / "gone", "event")
    assert log.read(tmp_path / "gone") == []


def test_the_log_takes_anything_and_survives_a_line_cut_by_a_kill(tmp_path):
    log.write(tmp_path, "long", why="x" * 100_000)
    log.write(tmp_path, "odd", why="\ud800\n", path=tmp_path)
    log.write(tmp_path, "many", **{f"field{number}": "y" * 500 for number in range(50)})
    with (tmp_path / log.FILE).open("ab") as file:
        file.write(b'{"event": "cu\n')
    os.truncate(tmp_path / log.FILE, (tmp_path / log.FILE).stat().st_size - 1)
    log.write(tmp_path, "after")
    log.write(tmp_path, "later")
    assert [event["event"] for event in log.read(tmp_path)] == ["long", "odd", "many", "later"]
