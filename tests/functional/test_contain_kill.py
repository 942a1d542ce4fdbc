"""A conversion that is interrupted or killed leaves no process, no scratch folder and no output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.contract._badly_behaved import install
from tests.functional import _bad_models as bad

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
PATIENCE_S = 60


def alive(mark):
    """Return the processes that carry a mark in their environment, zombies left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() not in path.read_bytes():
                continue
            state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(int(path.parent.name))
    return found


def children(parent):
    """Return the processes that one started; others come and go while they are looked through."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if path.read_text().rpartition(")")[2].split()[1] == str(parent):
                found.append(int(path.parent.name))
    return found


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def running(tmp_path):
    """Start a conversion whose converter hangs and has started two processes of its own."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    install(plugins)
    work = tmp_path / "work"
    work.mkdir()
    bad.linear(work / "m.onnx", 2.0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mark = f"EDGEOPS_TEST_MARK={tmp_path.name}"
    name, value = mark.split("=")
    environment = {**os.environ, "PYTHONPATH": str(plugins), "TMPDIR": str(scratch), name: value}
    argv = [sys.executable, "-m", "edgeops", "-C", str(work), "convert", "m.onnx"]
    process = subprocess.Popen(
        [*argv, "--to", "onnxruntime", "--via", "drags", "-o", "out"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    started = until(lambda: len(list(work.glob(".out.*/pid_*"))) == 2 or process.poll() is not None)
    assert started
    assert process.poll() is None, process.stderr.read().decode()
    # edgeops, the guard, the worker, and what the worker started
    assert until(lambda: len(alive(mark)) == 5), alive(mark)
    yield process, mark, work, scratch
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        stream.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_conversion_leaves_nothing(number, running):
    process, mark, work, scratch = running
    process.send_signal(number)
    assert process.wait(PATIENCE_S) in (130, -signal.SIGTERM)
    assert until(lambda: not alive(mark))
    if number == signal.SIGINT:
        assert sorted(path.name for path in work.iterdir()) == ["m.onnx"]
        assert list(scratch.iterdir()) == []


def test_killed_conversion_takes_everything_with_it(running):
    process, mark, work, _ = running
    process.kill()
    assert until(lambda: not alive(mark))
    assert not (work / "out").exists()


def test_converter_whose_guard_is_killed_dies_too(running):
    process, mark, _, _ = running
    (guard,) = children(process.pid)
    (worker,) = children(guard)
    os.kill(guard, signal.SIGKILL)
    assert process.wait(PATIENCE_S) == 5
    assert b"convert-crashed" in process.stderr.read()
    assert until(lambda: worker not in alive(mark))
    for pid in alive(mark):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
