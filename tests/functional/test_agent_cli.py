"""edgeops-agent and edgeops agent: from a really published bundle to a device and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from edgeops.cli import main as edgeops
from edgeops.runtime import Predictor
from edgeops.runtime.agent.cli import main as agent
from tests.unit._bundles import make_bundle

ASKED = {"x": np.zeros((1, 4), np.float32)}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with keys, and a repository with two releases; the channel offers the second."""
    root = tmp_path_factory.mktemp("published")
    assert edgeops(["-C", str(root), "keys", "init", "keys"]) == 0
    for version, seed, repo in (("1.0.0", 0, "repo"), ("1.1.0", 5, "repo")):
        bundle = make_bundle(root / version, version=version, seed=seed, key=root / "keys")
        bundle.rename(root / f"{version}.edgeops")
        publish = ["publish", f"{version}.edgeops", "--to", repo, "--channel", "stable"]
        assert edgeops(["-C", str(root), *publish, "--key", "keys"]) == 0
        if version == "1.0.0":
            subprocess.run(["cp", "-a", root / "repo", root / "first"], check=True)  # noqa: S607
    return root


@pytest.fixture
def run(capsys):
    def runner(program, *arguments):
        capsys.readouterr()
        code = program([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return runner


def options(published, home, repo="repo"):
    root = published / "keys" / "root.json"
    return ("--home", home, "--repo", published / repo, "--root", root)


def test_published_release_reaches_a_device_and_is_taken_back(published, tmp_path, run):
    home = tmp_path / "home"
    code, out, _ = run(agent, "update", *options(published, home, "first"), "--json")
    assert code == 0
    first = json.loads(out)
    assert (first["outcome"], first["current"]["version"]) == ("updated", "1.0.0")
    before = Predictor(home / "current").predict(ASKED)["probabilities"]
    code, out, _ = run(agent, "update", *options(published, home))
    assert code == 0
    assert out.startswith("updated\ncurrent:   1.1.0 (sha256:")
    after = Predictor(home / "current").predict(ASKED)["probabilities"]
    assert not np.allclose(before, after)
    code, out, _ = run(agent, "rollback", "--home", home, "--reason", "it is worse")
    assert code == 0
    assert "rolled-back: it is worse" in out
    assert np.array_equal(Predictor(home / "current").predict(ASKED)["probabilities"], before)
    code, out, _ = run(agent, "status", "--home", home, "--json")
    told = json.loads(out)
    assert told["current"] == first["current"]
    assert [entry["why"] for entry in told["refused"].values()] == ["it is worse"]
    assert run(agent, "update", *options(published, home))[1].startswith("refused: it is worse\n")
    assert run(agent, "update", *options(published, home), "--retry")[1].startswith("updated\n")


def test_both_programs_say_the_same(published, tmp_path, run):
    one, two = tmp_path / "one", tmp_path / "two"
    _, first, _ = run(agent, "update", *options(published, one), "--device-id", "d", "--json")
    _, second, _ = run(
        edgeops, "agent", "update", *options(published, two), "--device-id", "d", "--json"
    )
    assert json.loads(first) == json.loads(second)
    _, first, _ = run(agent, "status", "--home", one)
    _, second, _ = run(edgeops, "agent", "status", "--home", two)
    assert first == second


def test_relative_paths_are_below_the_folder_that_was_named(published, tmp_path, run):
    home = tmp_path / "home"
    code, _, err = run(
        edgeops,
        *("-C", published, "agent", "update", "--home", home),
        *("--repo", "repo", "--root", "keys/root.json"),
    )
    assert (code, err) == (0, "")


@pytest.mark.parametrize("program", [agent, edgeops], ids=["edgeops-agent", "edgeops agent"])
def test_refusals_have_their_code(published, tmp_path, run, program):
    verb = ("agent",) if program is edgeops else ()
    code, _, err = run(program, *verb, "status", "--home", tmp_path)
    assert code == 3
    assert "error: " in err
    assert "[home-missing]" in err
    code, out, _ = run(program, *verb, "rollback", "--home", tmp_path, "--json")
    assert (code, json.loads(out)["error"]["code"]) == (3, "home-missing")
    empty = tmp_path / "empty"
    empty.mkdir()
    home = ("--home", tmp_path / "home", "--root", published / "keys" / "root.json")
    code, out, _ = run(program, *verb, "update", *home, "--repo", empty, "--json")
    told = json.loads(out)
    assert (code, told["error"]["code"]) == (30, "repository-unreachable")
    assert told["requests"] > 0


def test_run_once_updates(published, tmp_path, run):
    home = tmp_path / "home"
    code, _, _ = run(agent, "run", *options(published, home), "--once")
    assert code == 0
    assert json.loads(run(agent, "status", "--home", home, "--json")[1])["current"]


def test_status_imports_neither_numpy_nor_tuf(published, tmp_path, run):
    run(agent, "update", *options(published, tmp_path / "home"))
    program = (
        "import sys; from edgeops.runtime.agent.cli import main; main(sys.argv[1:]);"
        "print(sorted({'numpy', 'tuf', 'urllib3', 'typer'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, "status", "--home", str(tmp_path / "home")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.splitlines()[-1] == "[]"


def test_unpack_reads_a_server_too(published, tmp_path, run):
    from tests.unit._agent_server import serving

    with serving(published / "repo") as (address, _):
        code, out, _ = run(
            edgeops,
            *("unpack", address, "--channel", "stable", "-o", tmp_path / "device", "--json"),
            *("--root", published / "keys" / "root.json"),
        )
    assert code == 0
    assert json.loads(out)["version"] == "1.1.0"
