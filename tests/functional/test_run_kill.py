"""A run that is killed, anywhere: nothing runs on behind it, and the next run goes on."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from contextlib import suppress

import pytest

from edgeops.pipeline import fresh
from edgeops.pipeline.process import clear_leftovers
from tests.functional._toy import dvc, edit, run_json, started, statuses, toy, wait_for
from tests.helpers import build_tree

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
HOLD = "echo half > build/model.txt; echo $$ $PPID > pids; while test -e hold; do sleep 0.1; done; "


@pytest.fixture(autouse=True)
def reaping():
    """Take in orphans: where nobody does, DVC takes a zombie for a run that goes on."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def held(tmp_path):
    """Return a toy project whose first stage waits half way, a run that is there, and its ids."""
    root = toy(tmp_path)
    edit(root, "cp source.txt", HOLD + "cp source.txt")
    (root / "hold").touch()
    process = started(root, "--json")
    stage, repro = map(int, wait_for(root / "pids").read_text().split())
    yield root, process, stage, repro
    (root / "hold").unlink(missing_ok=True)
    if process.poll() is None:
        process.kill()
    process.communicate()


def gone(*pids: int) -> None:
    """Wait until processes are gone, taking in those that are ours."""
    end = time.monotonic() + 60
    left = set(pids)
    while left:
        assert time.monotonic() < end, f"still running: {left}"
        for pid in list(left):
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                left.remove(pid)
        time.sleep(0.05)


def goes_on(root, capsys):
    """Run again to the end and compare with what an undisturbed run makes."""
    (root / "hold").unlink(missing_ok=True)
    code, document = run_json(root, capsys)
    assert code == 0, document
    assert statuses(document) == {"train": "ran", "count": "ran", "ship": "ran"}
    assert (root / "build/model.txt").read_text() == "one\n"
    assert json.loads((root / "counts.json").read_text()) == {"letters": 3}
    assert dvc(root, "status") == "Data and pipelines are up to date.\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_ends_its_stage_and_the_next_goes_on(held, capsys, number):
    root, process, stage, repro = held
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    document = json.loads(out)
    assert document["error"]["code"] == "interrupted"
    assert document["error"]["what"] == "interrupted while train ran"
    assert statuses(document) == {"train": "failed", "count": "skipped", "ship": "skipped"}
    gone(stage, repro)
    assert fresh.check(root) is None
    goes_on(root, capsys)


@pytest.mark.slow
def test_killed_stage_is_a_failure_that_names_the_signal(held, capsys):
    root, process, stage, _ = held
    os.kill(stage, signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 10
    document = json.loads(out)
    assert document["error"]["code"] == "stage-failed"
    assert "ended by signal 9" in document["error"]["why"]
    goes_on(root, capsys)


@pytest.mark.slow
def test_killed_dvc_leaves_no_stage_behind(held, capsys):
    root, process, stage, repro = held
    os.kill(repro, signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 10
    assert statuses(json.loads(out))["train"] == "failed"
    gone(stage, repro)
    goes_on(root, capsys)


@pytest.mark.slow
def test_killed_run_takes_dvc_and_its_stage_with_it(held, capsys):
    root, process, stage, repro = held
    process.kill()
    process.communicate(timeout=120)
    gone(stage, repro)
    goes_on(root, capsys)


def test_leftovers_of_a_killed_stage_are_removed_and_nothing_else(tmp_path):
    build_tree(
        tmp_path,
        {
            "out/now.txt": "kept",
            ".out.abcd1234.new/half.txt": "x",
            ".out.abcd1234.old/before.txt": "x",
            ".out.abcd1234": "a file half written",
            ".out.backup.new/mine.txt": "not a name that edgeops makes up",
            ".other.abcd1234.new/x.txt": "of another stage",
            ".outer": "x",
        },
    )
    clear_leftovers(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".other.abcd1234.new",
        ".out.backup.new",
        ".outer",
        "out",
    ]
    assert (tmp_path / "out/now.txt").read_text() == "kept"


def test_folder_that_was_moved_aside_by_a_killed_stage_comes_back(tmp_path):
    build_tree(
        tmp_path,
        {".out.abcd1234.new/new.txt": "new", ".out.abcd1234.old/before.txt": "before"},
    )
    clear_leftovers(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert (tmp_path / "out/before.txt").read_text() == "before"


def test_folder_that_is_not_there_yet_has_no_leftovers(tmp_path):
    clear_leftovers(tmp_path / "build" / "gateway" / "converted")
    assert list(tmp_path.iterdir()) == []
