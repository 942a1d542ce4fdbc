"""An agent that a release brought and that ends at once is given up; the one before it goes on."""

from __future__ import annotations

import errno
import json
import subprocess
import sys

import pytest

from edgeops.errors import TransportError
from edgeops.runtime.agent import log, renew
from edgeops.runtime.agent.home import Home, State
from edgeops.runtime.agent.status import status
from tests.unit._agent_faults import Cut, PowerCut, watching

FIRST = "import sys\nfrom edgeops.runtime.agent.cli import main\nsys.exit(main())\n"
# It shows that it starts, which is all that is asked of it, and ends as soon as it is to work.
BROKEN = "import sys\nsys.exit(0 if sys.argv[1] == 'status' else 7)\n"
STARTS = "import sys\nif sys.argv[1] == 'status':\n    sys.exit(0)\n" + FIRST


@pytest.fixture
def started(tmp_path):
    """Start the first program as a service does, beside the program of a release."""
    (tmp_path / "start.pyz").write_text(FIRST)
    (tmp_path / "repo").mkdir()
    (tmp_path / "home").mkdir()

    def start(program, *verb):
        (tmp_path / "home" / renew.PROGRAM).write_text(program)
        command = [sys.executable, str(tmp_path / "start.pyz"), *(verb or ("run", "--once"))]
        given = ["--home", str(tmp_path / "home"), "--repo", str(tmp_path / "repo")]
        return subprocess.run([*command, *given], check=False, timeout=120).returncode

    return start


def _events(home, name):
    return [event for event in log.read(home) if event["event"] == name]


def test_program_that_ends_at_once_is_become_three_times_and_no_more(tmp_path, started):
    assert [started(BROKEN) for _ in range(5)] == [7, 7, 7, 0, 0]
    home = tmp_path / "home"
    assert len(_events(home, "agent-renewed")) == 3
    kept = _events(home, "agent-kept")
    assert len(kept) == 2
    assert "3 times in a row" in kept[0]["why"]
    # What is another program begins to count anew.
    assert [started(BROKEN + "# 2\n") for _ in range(4)] == [7, 7, 7, 0]
    assert started(BROKEN) == 7


def test_program_that_works_is_become_each_time(tmp_path, started):
    # Its server cannot be reached: that is no fault of the program.
    assert [started(STARTS) for _ in range(5)] == [0] * 5
    home = tmp_path / "home"
    assert len(_events(home, "agent-renewed")) == 5
    assert not (home / renew.FILE).exists()


# It starts and goes on, and whatever it is to do it meets an error that it does not know.
FAILS = STARTS.replace(
    FIRST,
    "import edgeops.runtime.agent.update as update, edgeops.runtime.agent.daemon as daemon\n"
    "update.update = lambda *_, **__: 1 / 0\n"
    "daemon.next_wait = lambda *_: 0.01\n" + FIRST,
)


def test_program_that_fails_in_each_cycle_gives_way_to_the_one_before(tmp_path, started):
    (tmp_path / "start.pyz").write_text(
        "import edgeops.runtime.agent.daemon as daemon\n"
        "daemon.first_wait = lambda *_: 0\n"
        # The agent before has come back: it has shown that it goes on, and ends.
        "daemon.next_wait = lambda *_: os._exit(17)\nimport os\n" + FIRST
    )
    home = tmp_path / "home"
    (home / "agent.json").write_text('{"poll_s": 1, "retry_s": 1, "jitter": 0}')
    assert started(FAILS, "run") == 17
    assert [event["code"] for event in _events(home, "failed")] == ["bug", "bug", "root-missing"]
    assert "ZeroDivisionError" in _events(home, "agent-given-up")[0]["why"]
    assert len(_events(home, "agent-renewed")) == 1
    assert "never finished a cycle" in _events(home, "agent-kept")[0]["why"]


# --- in this process


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begin a process: the first program, or the one of the release; return its renewal."""
    (tmp_path / "start.pyz").write_bytes(b"old")
    (tmp_path / renew.PROGRAM).write_bytes(b"new")
    monkeypatch.setattr(renew, "works", lambda *_: "")

    def start(name="start.pyz"):
        monkeypatch.setattr(sys, "argv", [str(tmp_path / name)])
        return renew.Renewal(tmp_path, [])

    return start


@pytest.fixture
def become(tmp_path, monkeypatch):
    """Return what the count was each time that the newer program was become."""
    counts = []

    def execv(*_):
        counts.append(json.loads((tmp_path / renew.FILE).read_bytes())["times"])

    monkeypatch.setattr(renew.os, "execv", execv)
    return counts


def test_count_is_on_the_disk_before_the_program_is_become(begin, become):
    for _ in range(5):
        begin().take_over()
    assert become == [1, 2, 3]


@pytest.mark.parametrize("ends", ["well", "refused"])
def test_cycle_of_the_newer_program_ends_the_count(begin, become, ends):
    for _ in range(4):
        begin().take_over()
        begin().take_over()
        try:
            with begin(renew.PROGRAM).cycle():
                if ends == "refused":
                    raise TransportError("repository-unreachable", "away")
        except TransportError:
            pass
    assert become == [1, 2] * 4


def test_cycle_of_the_first_program_ends_no_count(begin, become):
    for _ in range(5):
        first = begin()
        first.take_over()
        with first.cycle():
            pass
        first.ended()
    assert become == [1, 2, 3]


def test_program_whose_cycles_end_by_its_own_fault_is_given_up_too(begin, become):
    for _ in range(5):
        begin().take_over()
        newer = begin(renew.PROGRAM)
        with pytest.raises(ZeroDivisionError), newer.cycle():
            raise ZeroDivisionError
        newer.ended()
    assert become == [1, 2, 3]


def failing(renewal, times, error=ZeroDivisionError):
    for _ in range(times):
        with pytest.raises(error), renewal.cycle():
            raise error("x", "y") if error is TransportError else error


@pytest.fixture
def back(tmp_path, monkeypatch):
    """Return what was become, and let the first program be the one before."""
    found = []
    monkeypatch.setattr(renew.os, "execv", lambda _, words: found.append(words[1]))
    monkeypatch.setenv(renew.BEFORE, str(tmp_path / "start.pyz"))
    return found


def test_program_that_fails_in_each_cycle_is_left_for_the_one_before(tmp_path, begin, back):
    begin().take_over()
    newer = begin(renew.PROGRAM)
    failing(newer, 2)
    assert back == [str(tmp_path / renew.PROGRAM)]
    failing(newer, 1)
    assert back[1:] == [str(tmp_path / "start.pyz")]
    begin().take_over()
    assert len(back) == 2


def test_program_is_never_left_for_a_network_that_is_away_nor_once_it_has_worked(begin, back):
    begin().take_over()
    newer = begin(renew.PROGRAM)
    failing(newer, 200, TransportError)
    failing(newer, 200)
    assert len(back) == 1


@pytest.mark.parametrize("error", [OSError, MemoryError])
def test_program_is_not_left_for_what_any_other_would_meet(begin, back, error):
    begin().take_over()
    failing(begin(renew.PROGRAM), 200, error)
    assert len(back) == 1


@pytest.mark.parametrize("before", ["", "/nowhere/start.pyz", "agent.pyz"])
def test_program_with_none_before_it_goes_on(tmp_path, begin, back, monkeypatch, before):
    begin().take_over()
    monkeypatch.setenv(renew.BEFORE, str(tmp_path / before) if before else "")
    failing(begin(renew.PROGRAM), 10)
    assert len(back) == 1


def test_program_goes_on_where_it_cannot_be_noted_that_it_is_left(begin, back):
    def full(_, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    begin().take_over()
    newer = begin(renew.PROGRAM)
    with watching(full):
        failing(newer, 5)
    assert len(back) == 1
    failing(newer, 1)
    assert len(back) == 2


def test_program_before_is_the_one_that_lies_outside_of_the_home(tmp_path, begin, back):
    begin().take_over()
    newer = begin(renew.PROGRAM)
    (tmp_path / renew.PROGRAM).write_bytes(b"newer still")
    newer.take_over()
    failing(begin(renew.PROGRAM), 3)
    assert back[2:] == [str(tmp_path / "start.pyz")]


def test_program_that_was_told_to_end_before_its_first_cycle_is_not_blamed(begin, become):
    for _ in range(5):
        begin().take_over()
        begin(renew.PROGRAM).ended()
    assert become == [1] * 5


@pytest.mark.parametrize("policy", ["{", '{"hook": ["/nowhere/may-update"]}'])
def test_program_is_not_blamed_for_a_policy_that_none_can_follow(
    tmp_path, begin, monkeypatch, policy
):
    become = []
    monkeypatch.setattr(renew.os, "execv", lambda *_: become.append(True))
    (tmp_path / "agent.json").write_text(policy)
    for _ in range(5):
        begin().take_over()
    assert (len(become), (tmp_path / renew.FILE).exists()) == (5, False)
    (tmp_path / "agent.json").unlink()
    for _ in range(5):
        begin().take_over()
    assert len(become) == 5 + 3


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\xff", b"[]", b"{}", b'{"digest": 1, "times": 9}', b'{"digest": "x", "times": true}'],
)
def test_damaged_count_begins_anew(tmp_path, begin, become, damaged):
    (tmp_path / renew.FILE).write_bytes(damaged)
    for _ in range(4):
        begin().take_over()
    assert become == [1, 2, 3]


def test_count_is_whole_whenever_the_power_goes(tmp_path, begin, become):
    begin().take_over()
    before = (tmp_path / renew.FILE).read_bytes()
    for at in range(1, 20):
        (tmp_path / renew.FILE).write_bytes(before)
        try:
            with watching(Cut(at)):
                begin().take_over()
        except PowerCut:
            assert json.loads((tmp_path / renew.FILE).read_bytes())["times"] in (1, 2)
        else:
            break
    assert become == [1, 2]


def test_program_is_not_become_where_it_cannot_be_counted(tmp_path, begin, become):
    def full(_, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    first = begin()
    with watching(full):
        first.take_over()
    assert become == []
    assert "No space left" in _events(tmp_path, "agent-kept")[0]["why"]
    first.take_over()  # the disk has room again
    assert become == [1]


def test_program_on_bad_blocks_does_not_end_the_one_that_runs(tmp_path, begin, become, monkeypatch):
    first = begin()

    def fail(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(renew, "sha256_file", fail)
    first.take_over()
    assert become == []
    assert "Input/output error" in _events(tmp_path, "agent-kept")[0]["why"]


def test_status_says_that_an_agent_was_given_up_while_it_lies_there(tmp_path, begin, become):
    Home(tmp_path).write(State())
    begin().take_over()
    assert status(tmp_path)["problem"] == ""
    for _ in range(3):
        begin().take_over()
    assert "3 times in a row" in status(tmp_path)["problem"]
    (tmp_path / renew.PROGRAM).write_bytes(b"newer still")
    assert status(tmp_path)["problem"] == ""
