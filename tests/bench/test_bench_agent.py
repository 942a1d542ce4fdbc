"""What a device pays: a poll with nothing new, the agent's start, a rollback. Run by ``make bench``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from edgeops.runtime.agent.rollback import rollback
from edgeops.runtime.agent.update import Options
from tests.bench.test_bench_cli import interleaved, show
from tests.unit._agent_faults import updated
from tests.unit._agent_repo import Repo, plain_files
from tests.unit._agent_server import serving

pytestmark = pytest.mark.bench

AGENT = [sys.executable, "-m", "edgeops.runtime.agent.cli"]
MOST_REQUESTS, MOST_BYTES, MOST_CPU_S = 2, 1000, 0.1
MOST_START_RATIO = 3.0
MOST_ROLLBACK_S = 1.0


@pytest.fixture
def place(tmp_path):
    repo = Repo(tmp_path / "repo")
    (tmp_path / "root.json").write_bytes(repo.root)
    options = Options(tmp_path / "home", str(tmp_path / "repo"), tmp_path / "root.json")
    repo.publish(repo.bundle("1.0.0", plain_files("one")))
    updated(options)
    big = plain_files("two")
    big["variants/gateway/model.bin"] = (bytes(50_000_000), "variant", "gateway")
    repo.publish(repo.bundle("2.0.0", big))
    updated(options)
    return tmp_path, options


def test_poll_with_nothing_new(place):
    root, options = place
    with serving(root / "repo") as (address, _):
        served = replace(options, repo=address)
        updated(served)
        costs = []
        for _ in range(9):
            begun = time.thread_time()
            result = updated(served)
            costs.append(time.thread_time() - begun)
    sys.stdout.write(
        f"\npoll with nothing new: {result['requests']} requests, {result['bytes_downloaded']} "
        f"bytes, {1000 * min(costs):.1f} ms of CPU in a process that runs\n"
    )
    assert result["outcome"] == "current"
    assert result["requests"] <= MOST_REQUESTS
    assert result["bytes_downloaded"] < MOST_BYTES
    assert min(costs) < MOST_CPU_S


def test_start_of_the_agent(place):
    root, options = place
    poll = [*AGENT, "update", "--home", str(options.home), "--repo", options.repo, "--json"]
    told = json.loads(subprocess.run(poll, check=True, capture_output=True).stdout)
    assert told["outcome"] == "current"
    commands = {
        "agent polls once": poll,
        "bare import": [sys.executable, "-c", "import tuf.ngclient"],
        "status": [*AGENT, "status", "--home", str(options.home)],
    }
    found = interleaved(commands, root, 9)
    ratio = show("start of the agent", found, "agent polls once", "bare import")
    assert ratio < MOST_START_RATIO


def test_rollback_of_a_large_release(place):
    _, options = place
    begun = time.perf_counter()
    rollback(options.home)
    took = time.perf_counter() - begun
    sys.stdout.write(f"\nrollback from 50 MB: {1000 * took:.1f} ms\n")
    assert took < MOST_ROLLBACK_S
