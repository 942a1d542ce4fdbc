"""The digits project, run once a session; each test gets a copy of its own to break."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgeops.cli import main

# Validate's figures do not matter to these tests, so little time is spent on measuring them.
_SECONDS = "    metric: accuracy\n    seconds: 0.1\n"


@pytest.fixture(scope="session")
def digits_done(tmp_path_factory):
    """Return the digits project as ``init`` and one whole ``run`` leave it, committed to git."""
    base = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        _settle(patch, base / "tmp")
        patch.setenv("HOME", str(base))
        patch.setenv("CI", "true")
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        for who in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{who}_NAME", "Tester")
            patch.setenv(f"GIT_{who}_EMAIL", "tester@example.org")
        root = base / "digits"
        assert main(["init", str(root)]) == 0
        yaml = root / "edgeops.yaml"
        yaml.write_text(yaml.read_text().replace("    metric: accuracy\n", _SECONDS))
        assert main(["-C", str(root), "run"]) == 0
        for arguments in (["add", "--all"], ["commit", "--quiet", "-m", "first"]):
            subprocess.run(["git", *arguments], cwd=root, check=True)  # noqa: S607 - the git on the path
    return root


@pytest.fixture
def settled(tmp_path, monkeypatch):
    """Give programs that this test starts this Python's tools and a folder for temporary files.

    The lock of the device ``local`` lies in that folder too, so that no test waits for another.
    """
    _settle(monkeypatch, tmp_path / "tmp")


@pytest.fixture
def digits(digits_done, tmp_path, settled):
    """Return a private copy of the finished digits project; nothing in it is left to do."""
    return copied(digits_done, tmp_path / "digits")


def copied(source: Path, goal: Path) -> Path:
    """Copy a project with its times, links, DVC cache and git."""
    cp = shutil.which("cp")
    assert cp
    subprocess.run([cp, "-a", str(source), str(goal)], check=True)
    return goal


def _settle(patch, temporary: Path) -> None:
    temporary.mkdir(exist_ok=True)
    patch.setenv("TMPDIR", str(temporary))
    patch.setattr(tempfile, "tempdir", None)
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    patch.setenv("DVC_NO_ANALYTICS", "1")
