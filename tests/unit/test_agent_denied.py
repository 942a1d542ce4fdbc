"""What another user, or a moment that is short of something, finds in a home: nothing is forgotten."""

from __future__ import annotations

import errno
import io
import json
import os
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgeops.errors import MissingError
from edgeops.runtime.agent import daemon, files, log
from edgeops.runtime.agent.cli import main as agent
from edgeops.runtime.agent.home import Home
from edgeops.runtime.agent.policy import Policy
from edgeops.runtime.agent.rollback import rollback
from edgeops.runtime.agent.status import status
from edgeops.runtime.serving import server
from tests.unit._agent_faults import updater
from tests.unit._agent_repo import anchored, plain_files

OTHER = 65534


def library():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("engine/deep/x.py", b"")
    return {"runtime/gateway/engine-1.0-py3-none-any.whl": (out.getvalue(), "runtime", "gateway")}


@pytest.fixture
def go(tmp_path):
    repo = anchored(tmp_path)
    repo.publish(repo.bundle("1.0.0", plain_files("one")))
    go = updater(tmp_path)
    go(device_id="")
    home = Home(tmp_path / "home")
    home.write(home.read().refuse("sha256:" + "0" * 64, "it was bad", "2026-01-01T00:00:00Z"))
    return go


@contextmanager
def unreadable(number):
    """Let the state file be there and not be read."""
    real = Path.read_bytes

    def read_bytes(path):
        if path.name == "state.json":
            raise OSError(number, "not now", str(path))
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", read_bytes)
        yield


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ENOMEM])
def test_state_that_cannot_be_read_now_is_not_written_anew(tmp_path, go, number):
    state = tmp_path / "home" / "state.json"
    before = state.read_bytes()
    with unreadable(number):
        for work in (go, lambda: rollback(tmp_path / "home")):
            with pytest.raises((MissingError, OSError)):
                work()
    assert state.read_bytes() == before


def test_state_on_bad_blocks_is_damaged(tmp_path, go):
    with unreadable(errno.EIO):
        assert "damaged" in status(tmp_path / "home")["problem"]


@pytest.mark.parametrize("verb", ["status", "rollback"])
def test_home_of_another_user_is_told_so(tmp_path, go, capsys, monkeypatch, verb):
    real = Path.exists

    def exists(path):
        if path.name == "state.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "exists", exists)
    assert agent([verb, "--home", str(tmp_path / "home"), "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not-writable"


def test_server_that_may_make_no_socket_says_so(tmp_path, go, capsys, monkeypatch):
    def denied(_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(server, "_unix", denied)
    assert agent(["serve", "--home", str(tmp_path / "home")]) == 4
    assert "[not-writable]" in capsys.readouterr().err


def test_service_that_cannot_write_its_log_says_it_aloud(tmp_path, capsys):
    def fail(_):
        raise MissingError("not-writable", "the agent may not write")

    home = tmp_path / "home"
    home.write_text("no folder")
    signals = daemon.Signals(0)
    daemon._Loop(home, fail, replace(Policy(), poll_s=1), signals, once=True).go()
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [each["event"] for each in told] == ["started", "failed", "stopped"]
    home.unlink()
    home.mkdir()
    daemon._Loop(home, fail, replace(Policy(), poll_s=1), signals, once=True).go()
    assert capsys.readouterr().err == ""
    assert [each["event"] for each in log.read(home)] == ["started", "failed", "stopped"]


def owners(folder):
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator gives files away")
def test_update_by_the_administrator_leaves_all_to_the_owner_of_the_home(tmp_path):
    repo = anchored(tmp_path)
    go, home = updater(tmp_path), tmp_path / "home"
    home.mkdir()
    os.chown(home, OTHER, OTHER)
    for number in range(3):
        repo.publish(repo.bundle(f"{number}.0.0", {**plain_files(str(number)), **library()}))
        assert go()["outcome"] == "updated"
        assert owners(home) == {OTHER}
    rollback(home)
    assert owners(home) == {OTHER}


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator gives files away")
def test_disk_that_knows_no_owners_is_no_reason_to_fail(tmp_path, go, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    os.chown(tmp_path / "home", OTHER, OTHER)
    monkeypatch.setattr(os, "chown", denied)
    assert go()["outcome"] == "current"


def test_slot_that_cannot_be_removed_keeps_neither_updates_nor_others_from_going(
    tmp_path, monkeypatch
):
    repo, home = anchored(tmp_path), tmp_path / "home"
    go, real, left = updater(tmp_path), files.remove_tree, []

    def denied(path):
        if path.parent.name == "slots" and path.exists():
            left[:] = left or [path.name]
            if path.name in left:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
        real(path)

    monkeypatch.setattr(files, "remove_tree", denied)
    for number in range(6):
        repo.publish(repo.bundle(f"{number}.0.0", plain_files(str(number))))
        result = go()
        assert (result["outcome"], result["current"]["version"]) == ("updated", f"{number}.0.0")
    assert len(left) == 1
    assert len(list((home / "slots").iterdir())) == 3
    assert log.read(home)[-1]["slot"] == left[0]
