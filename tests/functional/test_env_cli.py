"""``edgeops env`` as a person types it: a plugin's environment made, listed, broken and removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from edgeops.cli import main
from edgeops.convert.environments.environment import declared
from edgeops.core import registry
from edgeops.core.environment import MARKER
from edgeops.runtime.worker import Worker
from tests.helpers import write_tiny_model
from tests.unit import _environments as made

HANGS = "import time\ntime.sleep(600)\n"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Return a function that installs the plugin ``tiny`` whose only package lies on the disk."""
    monkeypatch.setenv("EDGEOPS_ENVS", str(tmp_path / "envs"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugin"), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(tmp_path / "plugin"))
    (tmp_path / "wheels").mkdir()

    def install(*, version="1.0", body="ANSWER = 42\n", lock="", **changes):
        line = made.write_wheel(tmp_path / "wheels", version, body)
        made.install_plugin(tmp_path / "plugin", lock or line, **changes)
        made.forget_plugins()
        return tmp_path / "envs"

    yield install
    made.forget_plugins()


def run(capsys, *argv):
    """Run ``edgeops env`` with --json; return exit code and document."""
    code = main(["env", *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def tiny(capsys):
    """Return the row of the environment ``tiny``."""
    _, result = run(capsys, "list")
    return next(row for row in result["environments"] if row["name"] == "tiny")


def folders(place):
    return sorted(path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def in_background(*argv):
    """Start a verb in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgeops", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, within_s=60.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def test_env_is_made_used_listed_and_removed(plugin, capsys):
    place = plugin()
    assert tiny(capsys)["state"] == "missing"
    assert not place.exists()

    code, result = run(capsys, "create", "tiny")
    assert code == 0
    assert result["created"] is True
    assert result["state"] == "ready"
    assert result["tool"] in {"uv", "pip"}
    assert result["packages"] == 1
    assert result["bytes"] > 10_000
    assert result["seconds"] > 0
    with Worker(declared()["tiny"]) as worker:
        assert worker.ask("check", timeout_s=60, more=1) == {"tiny": 42, "more": 1}

    code, again = run(capsys, "create", "tiny")
    assert (code, again["created"], again["path"]) == (0, False, result["path"])
    row = tiny(capsys)
    assert row["state"] == "ready"
    assert row["bytes"] == result["bytes"]
    assert row["python"] == made.current_python()
    assert row["about"] == "a tiny package for the tests"

    code, removed = run(capsys, "remove", "tiny")
    assert code == 0
    assert removed["removed"] == [result["path"]]
    assert removed["bytes"] >= result["bytes"]
    assert 0 < removed["freed_bytes"] <= removed["bytes"]
    assert folders(place) == []
    assert run(capsys, "remove", "tiny")[1]["removed"] == []


def test_env_as_text_says_what_it_takes_before_and_what_it_freed_after(plugin, capsys):
    plugin()
    assert main(["env", "create", "tiny"]) == 0
    said = capsys.readouterr()
    assert "making tiny: about 1 MB in" in said.err
    assert "MB are free" in said.err
    assert "tiny is ready:" in said.out
    assert main(["env", "list"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["env", "remove", "tiny"]) == 0
    assert "freed" in capsys.readouterr().out


@pytest.mark.slow
def test_env_is_made_with_venv_and_pip_too(plugin, capsys):
    plugin()
    code, result = run(capsys, "create", "tiny", "--pip")
    assert (code, result["tool"], result["state"]) == (0, "pip", "ready")
    with Worker(declared()["tiny"]) as worker:
        assert worker.ask("check", timeout_s=60) == {"tiny": 42}


def test_env_is_stale_when_the_lock_changed_and_create_replaces_it(plugin, capsys):
    place = plugin()
    run(capsys, "create", "tiny")
    (old,) = folders(place)
    plugin(version="2.0", body="ANSWER = 43\n")
    row = tiny(capsys)
    assert row["state"] == "stale"
    assert row["why"] == "it was made from another lock"
    code, result = run(capsys, "create", "tiny")
    assert (code, result["created"]) == (0, True)
    (new,) = folders(place)
    assert new != old
    with Worker(declared()["tiny"]) as worker:
        assert worker.ask("check", timeout_s=60) == {"tiny": 43}


def test_env_whose_python_is_gone_is_broken_and_create_mends_it(plugin, capsys):
    plugin()
    run(capsys, "create", "tiny")
    declared()["tiny"].executable.unlink()
    assert tiny(capsys)["state"] == "broken"
    code, result = run(capsys, "create", "tiny")
    assert (code, result["created"], tiny(capsys)["state"]) == (0, True, "ready")


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        ("tinypkg==1.0 --hash=sha256:" + "0" * 64 + "\n", "hash"),
        ("nothere==1.0 --hash=sha256:" + "0" * 64 + "\n", "nothere"),
    ],
)
def test_env_that_cannot_be_installed_leaves_nothing(plugin, capsys, lock, words):
    place = plugin(lock=lock)
    code, result = run(capsys, "create", "tiny")
    assert code == 4
    assert result["error"]["code"] == "environment-failed"
    assert words in result["error"]["why"].lower()
    assert folders(place) == []
    assert tiny(capsys)["state"] == "missing"


def test_env_that_cannot_be_imported_leaves_nothing(plugin, capsys):
    place = plugin(body="import a_package_that_the_lock_forgot\n")
    code, result = run(capsys, "create", "tiny")
    assert code == 4
    assert result["error"]["code"] == "environment-failed"
    assert "a_package_that_the_lock_forgot" in result["error"]["why"]
    assert folders(place) == []


def test_env_that_fails_leaves_the_older_one(plugin, capsys):
    place = plugin()
    run(capsys, "create", "tiny")
    before = folders(place)
    plugin(version="2.0", body="import a_package_that_the_lock_forgot\n")
    assert run(capsys, "create", "tiny")[0] == 4
    assert folders(place) == before
    assert tiny(capsys)["state"] == "stale"


def test_env_larger_than_the_disk_is_refused_before_anything_is_written(plugin, capsys):
    place = plugin(megabytes=10**10)
    code, result = run(capsys, "create", "tiny")
    assert (code, result["error"]["code"]) == (4, "environment-disk")
    assert folders(place) == []


def test_env_for_a_python_that_is_not_here_says_so(plugin, capsys):
    plugin(python="3.99")
    code, result = run(capsys, "create", "tiny")
    assert (code, result["error"]["code"]) == (4, "environment-python-missing")
    assert "3.99" in result["error"]["what"]


def test_env_of_an_unknown_name_lists_those_that_are(plugin, capsys):
    plugin()
    for verb in ("create", "remove"):
        code, result = run(capsys, verb, "tinny")
        assert (code, result["error"]["code"]) == (2, "environment-unknown")
        assert "tiny" in result["error"]["why"]


def test_env_whose_making_was_killed_is_none_and_the_next_create_starts_over(plugin, capsys):
    place = plugin(body=HANGS)
    making = in_background("env", "create", "tiny")
    wait_for(lambda: any((place / name / "lib").is_dir() for name in folders(place)))
    making.send_signal(signal.SIGKILL)
    making.communicate()
    (left,) = folders(place)
    assert not (place / left / MARKER).exists()
    row = tiny(capsys)
    assert (row["state"], row["why"]) == ("broken", "its making was interrupted")

    plugin()
    code, result = run(capsys, "create", "tiny")
    assert (code, result["state"]) == (0, "ready")
    assert left not in folders(place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_env_whose_making_is_interrupted_leaves_nothing(plugin, number):
    place = plugin(body=HANGS)
    making = in_background("env", "create", "tiny")
    wait_for(lambda: any((place / name / "lib").is_dir() for name in folders(place)))
    making.send_signal(number)
    making.communicate(timeout=60)
    assert making.returncode == 130
    assert folders(place) == []


def test_two_at_once_are_one_and_a_refusal(plugin, capsys):
    place = plugin(body=HANGS)
    first = in_background("env", "create", "tiny")
    try:
        wait_for(lambda: any((place / name / "lib").is_dir() for name in folders(place)))
        assert tiny(capsys)["state"] == "being made"
        code, result = run(capsys, "create", "tiny")
        assert (code, result["error"]["code"]) == (4, "environment-busy")
        code, result = run(capsys, "remove", "tiny")
        assert (code, result["error"]["code"]) == (4, "environment-busy")
    finally:
        first.kill()
        first.communicate()


def test_converter_without_its_environment_says_the_line_that_makes_it(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("EDGEOPS_ENVS", str(tmp_path / "envs"))
    write_tiny_model(tmp_path / "m.onnx")
    for argv, name in [
        (("--to", "litert", "--via", "onnx2tf"), "onnx2tf"),
        (("--to", "paddle"), "paddle"),
    ]:
        code = main(["-C", str(tmp_path), "convert", "m.onnx", *argv, "-o", "out", "--json"])
        error = json.loads(capsys.readouterr().out)["error"]
        assert (code, error["code"]) == (4, "environment-missing")
        assert error["fix"] == f"edgeops env create {name}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx"]


def test_paddle_lite_says_that_its_converter_cannot_be_had(tmp_path, capsys):
    write_tiny_model(tmp_path / "m.onnx")
    code = main(["-C", str(tmp_path), "convert", "m.onnx", "--to", "paddle-lite", "--json"])
    error = json.loads(capsys.readouterr().out)["error"]
    assert (code, error["code"]) == (4, "paddle-lite-missing")


@pytest.mark.parametrize("name", ["onnx2tf", "paddle", "executorch", "coreml"])
def test_shipped_environment_is_locked_by_version_and_hash_and_names_no_host(name):
    environment = registry.get("converters", name).environment
    lock = environment.lock.read_text()
    assert environment.worker.is_file()
    assert len(environment.versions) > 10
    assert "://" not in lock
    assert "--index" not in lock
    assert "--find-links" not in lock
    blocks = lock.replace("\\\n", "").splitlines()
    assert all("==" in line and "--hash=sha256:" in line for line in blocks)
