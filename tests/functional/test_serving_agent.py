"""The agent and the server together: an update under load, a rollback by hand, a policy that ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from edgeops.errors import RefusedError
from edgeops.package import agent_pyz
from edgeops.runtime.agent.rollback import rollback
from edgeops.runtime.agent.status import status
from edgeops.runtime.agent.update import Options, update
from edgeops.runtime.serving.client import ask
from tests.serving import PROGRAM, Running, X
from tests.unit._agent_repo import anchored, variant_files


@pytest.fixture
def repo(tmp_path):
    made = anchored(tmp_path)
    made.publish(made.bundle("1.0.0", variant_files(tmp_path / "one")))
    return made


@pytest.fixture
def options(tmp_path, repo):
    chosen = Options(tmp_path / "home", str(tmp_path / "repo"), tmp_path / "root.json")
    assert update(chosen)["outcome"] == "updated"
    return chosen


def answered(server):
    """Return the version that answers, whose numbers are its own."""
    code, answer = server.ask("/v1/predict", {"inputs": {"x": X}})
    assert code == 200, answer
    return answer["version"], np.round(answer["outputs"]["probabilities"][0], 4).tolist()


def test_update_under_load_then_back_by_hand(tmp_path, repo, options):
    quick = {"probation_requests": 5, "probation_s": 0.2, "warm_tolerance": 1000}
    with Running(options.home, **quick) as server:
        found, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                found.append(answered(server))

        thread = threading.Thread(target=load)
        thread.start()
        repo.publish(repo.bundle("1.1.0", variant_files(tmp_path / "two", seed=1)))
        assert update(options)["outcome"] == "updated"
        assert answered(server)[0] == "1.1.0"
        # The probation is over, and the agent knows.
        server.until(lambda told: told["previous"] is None)
        server.until(lambda _: status(options.home)["state"] == "idle")
        rollback(options.home)
        server.until(lambda told: told["current"]["version"] == "1.0.0")
        stop.set()
        thread.join()
        assert len(set(map(str, found))) == 2
        assert [each for each in found if each[0] == "1.1.0"]
        assert answered(server) == found[0]


def test_release_that_was_gone_back_from_is_taken_when_it_is_asked_for_again(
    tmp_path, repo, options
):
    with Running(options.home, probation_s=0, probation_requests=1, warm_tolerance=1000) as server:
        repo.publish(repo.bundle("1.1.0", variant_files(tmp_path / "two", seed=1)))
        assert update(options)["outcome"] == "updated"
        server.until(lambda told: told["current"]["version"] == "1.1.0")
        rollback(options.home)
        server.until(lambda told: told["current"]["version"] == "1.0.0")
        assert update(options)["outcome"] == "refused"
        assert update(replace(options, retry=True))["outcome"] == "updated"
        assert answered(server)[0] == "1.1.0"
        assert status(options.home)["refused"] == {}
        assert server.status()["refused"] == {}


def test_slow_release_is_refused_and_the_old_one_serves(tmp_path, repo, options):
    with Running(options.home, warm_deadline_s=0.3, warm_tolerance=0, warm_bound_ms=1e-6) as server:
        repo.publish(repo.bundle("1.1.0", variant_files(tmp_path / "two", seed=1)))
        with pytest.raises(RefusedError, match="did not pass its warm-up") as caught:
            update(options)
        assert caught.value.code == "candidate-slow"
        assert answered(server)[0] == "1.0.0"


@pytest.mark.parametrize("isolate", [False, True])
def test_serve_is_a_verb_of_the_program(options, isolate):
    flag = ["--isolate"] if isolate else []
    with Running(options.home, "--port", "0", *flag) as server:
        assert server.status()["current"]["isolated"] is isolate
        assert server.url().startswith("127.0.0.1:")
        assert answered(server)[0] == "1.0.0"
        assert server.stop() == 0


def test_policy_that_is_over_stops_serving(options):
    (options.home / "agent.json").write_text(
        json.dumps({"stop_after_s": 86400, "stale_after_s": 86400})
    )
    state = options.home / "state.json"
    told = json.loads(state.read_text())
    told["last_verified"] = "2020-01-01T00:00:00Z"
    state.write_text(json.dumps(told))
    done = subprocess.run(
        [sys.executable, "-m", PROGRAM, "serve", "--home", str(options.home), "--json"],
        capture_output=True,
        check=False,
        timeout=60,
        env=os.environ,
    )
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (4, "serving-stopped")


@pytest.mark.slow
def test_agent_that_is_one_file_serves_from_a_child(tmp_path, options):
    program = tmp_path / "agent.pyz"
    agent_pyz.make(program)
    process = subprocess.Popen(
        [sys.executable, "-I", program, "serve", "--home", options.home, "--isolate", "--json"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while ask(options.home, "/v1/health") is None:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        status, answer = ask(options.home, "/v1/predict", {"inputs": {"x": X}})
        assert (status, answer["version"]) == (200, "1.0.0")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
