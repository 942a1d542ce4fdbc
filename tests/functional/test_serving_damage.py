"""A model whose process ends after its file was damaged: the release before serves, and none is refused."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from edgeops.runtime.agent.status import status
from edgeops.runtime.agent.update import Options, update
from tests.serving import Running, X
from tests.unit._agent_repo import Repo, variant_files


@pytest.fixture
def options(tmp_path):
    repo = Repo(tmp_path / "repo")
    (tmp_path / "root.json").write_bytes(repo.root)
    chosen = Options(tmp_path / "home", str(tmp_path / "repo"), tmp_path / "root.json")
    for number in range(2):
        files = variant_files(tmp_path / str(number), seed=number)
        repo.publish(repo.bundle(f"{number}.0.0", files))
        assert update(chosen)["outcome"] == "updated"
    return chosen


def children(process):
    """Return the processes whose parent is this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            found += [int(folder.name)] if int(parent) == process else []
    return found


def test_process_that_cannot_be_started_again_for_damage_gives_way(options):
    home = options.home
    # How fast the mended model is does not matter here, and one answer is nothing to go by.
    quick = {"probation_s": 0, "probation_requests": 0, "warm_tolerance": 1000}
    with Running(home, isolate=True, **quick) as server:
        assert server.ask("/v1/predict", {"inputs": {"x": X}})[1]["version"] == "1.0.0"
        model = home / "current" / "variants" / "gateway" / "model.onnx"
        data = bytearray(model.read_bytes())
        data[len(data) // 2] ^= 1
        model.write_bytes(data)
        for pid in children(server.process.pid):
            os.kill(pid, signal.SIGKILL)
        server.until(lambda told: told["current"]["version"] == "0.0.0")
        assert server.ask("/v1/predict", {"inputs": {"x": X}})[1]["version"] == "0.0.0"
        told = status(home)
        assert (told["current"]["version"], told["refused"]) == ("0.0.0", {})
        assert update(options)["outcome"] == "updated"
        assert server.ask("/v1/predict", {"inputs": {"x": X}})[1]["version"] == "1.0.0"


def test_process_that_ends_while_nobody_asks_is_started_again(options):
    home = options.home
    with Running(home, isolate=True, cooldown_s=0.1) as server:
        (pid,) = children(server.process.pid)
        os.kill(pid, signal.SIGKILL)
        server.until(lambda told: told["current"]["faults"] == {"crashed": 1})
        server.until(lambda _: children(server.process.pid) not in ([], [pid]))
        server.until(lambda _: server.ask("/v1/predict", {"inputs": {"x": X}})[0] == 200)
