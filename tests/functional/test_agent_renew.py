"""An agent that runs from one file becomes the one that a release brought."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from edgeops.package.agent_pyz import PLACE, content
from edgeops.runtime.agent import log
from edgeops.runtime.agent.update import Options
from tests.unit._agent_faults import updated
from tests.unit._agent_repo import Repo, variant_files

# Bytes before a zip archive are no part of it: the same program, with another digest.
OTHER = b"#!/usr/bin/env python3\n"


@pytest.fixture
def place(tmp_path):
    repo = Repo(tmp_path / "repo")
    (tmp_path / "root.json").write_bytes(repo.root)
    (tmp_path / "start.pyz").write_bytes(content())
    return tmp_path, repo


def run(root):
    """Run the first program as a service does, for one update; return what it logged."""
    command = [sys.executable, "-I", str(root / "start.pyz"), "run", "--once"]
    given = ["--home", str(root / "home"), "--repo", str(root / "repo")]
    subprocess.run(
        [*command, *given, "--root", str(root / "root.json")], check=True, timeout=120, cwd=root
    )
    return [event["event"] for event in log.read(root / "home")]


def publish(root, repo, program, version="1.0.0"):
    files = variant_files(root / version, seed=len(version))
    repo.publish(repo.bundle(version, {**files, PLACE: (program, "runtime", None)}))


@pytest.mark.slow
def test_agent_becomes_the_one_of_the_release(place):
    root, repo = place
    publish(root, repo, OTHER + content())
    events = run(root)
    assert events.count("agent-renewed") == 1
    # The program that took over ran the same command: it looked once more.
    assert next(event for event in events if event in ("updated", "checked")) == "updated"
    state = json.loads((root / "home" / "state.json").read_bytes())
    assert state["current"]["version"] == "1.0.0"
    assert (root / "home" / "agent.pyz").read_bytes().startswith(OTHER)


@pytest.mark.slow
def test_agent_that_does_not_start_is_not_become(place):
    root, repo = place
    publish(root, repo, b"no program at all")
    events = run(root)
    assert "agent-kept" in events
    assert "agent-renewed" not in events
    options = Options(root / "home", str(root / "repo"))
    assert updated(replace(options, root=None))["outcome"] == "current"
