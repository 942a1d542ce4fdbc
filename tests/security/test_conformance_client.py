"""The client under test for the TUF project's conformance suite, against a repository of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.security._world import CHANNEL, write

SCRIPT = Path(__file__).parents[2] / "scripts" / "conformance_client.py"


@pytest.fixture
def client(world, tmp_path):
    """Return what runs the client on a state of its own: its exit code and what it said."""
    (tmp_path / "state").mkdir()
    (tmp_path / "out").mkdir()

    def run(*arguments):
        command = [sys.executable, SCRIPT, "--metadata-dir", tmp_path / "state", *arguments]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    return run


def test_client_does_what_the_suite_asks(world, client, tmp_path):
    write(world.states[0], tmp_path / "repo")
    url = ("--metadata-url", f"{tmp_path}/repo/metadata")
    (tmp_path / "root.json").write_bytes(world.root)
    assert client("init", tmp_path / "root.json") == (0, "")
    assert client(*url, "refresh") == (0, "")
    state = tmp_path / "state"
    assert {path.name for path in state.glob("*.json")} == {
        "root.json",
        "timestamp.json",
        "snapshot.json",
        "targets.json",
    }
    assert (state / "root.json").read_bytes() == world.root
    channel = f"channels/{CHANNEL}.json"
    told = client(*url, "--target-name", channel, "--target-dir", tmp_path / "out", "download")
    assert told == (0, "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [channel.replace("/", "%2F")]


def test_client_says_what_it_refuses(world, client, tmp_path):
    write(world.states[0], tmp_path / "repo")
    timestamp = tmp_path / "repo" / "metadata" / "timestamp.json"
    timestamp.write_bytes(timestamp.read_bytes().replace(b'"version":', b'"version": 1'))
    (tmp_path / "root.json").write_bytes(world.root)
    assert client("init", tmp_path / "root.json") == (0, "")
    code, said = client("--metadata-url", f"{tmp_path}/repo/metadata", "refresh")
    assert code == 1
    assert said.startswith("metadata-unsigned: ")
