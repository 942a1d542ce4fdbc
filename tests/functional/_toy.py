"""Toy pipelines of trivial commands, and ways to run edgeops and dvc on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from edgeops.cli import main
from tests.helpers import build_tree

TOY = """
    project: toy
    version: 1.0.0
    model: build/model.txt
    stages:
      train:
        run: mkdir -p build && cp source.txt build/model.txt && echo trained
        deps: [source.txt]
        outs: [build/model.txt]
        params: [version]
      count:
        run: python count.py
        deps: [build/model.txt, count.py]
        metrics: [counts.json]
      ship:
        run: mkdir -p shipped && cp build/model.txt shipped/$(cat build/model.txt).txt
        deps: [build/model.txt, counts.json]
        persist: [shipped]
"""
COUNT = """
    import json
    text = open("build/model.txt").read()
    json.dump({"letters": len(text.strip())}, open("counts.json", "w"))
"""


def toy(root: Path, yaml: str = TOY, *, with_git: bool = True) -> Path:
    """Lay down a toy project."""
    build_tree(root, {"edgeops.yaml": yaml, "source.txt": "one\n", "count.py": COUNT})
    if with_git:
        git(root, "init", "--quiet")
    return root


def edit(root: Path, old: str, new: str) -> None:
    """Replace a text in edgeops.yaml that must be there."""
    path = root / "edgeops.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def run(root: Path, *arguments: str) -> int:
    """Run ``edgeops run`` in this process and return its exit code."""
    return main(["-C", str(root), "run", *arguments])


def run_json(root: Path, capsys, *arguments: str) -> tuple[int, dict]:
    """Run ``edgeops run --json`` and return exit code and document."""
    capsys.readouterr()
    code = run(root, *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def statuses(document: dict) -> dict[str, str]:
    """Return the status of each stage by address."""
    return {
        row["name"] + (f"@{row['target']}" if row["target"] else ""): row["status"]
        for row in document["stages"]
    }


def dvc(root: Path, *arguments: str, check: bool = True) -> str:
    """Run dvc as a person would and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(root: Path, *arguments: str) -> str:
    """Run git and return what it prints."""
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 - the git that a person would run
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def environment(**more: str) -> dict[str, str]:
    """Return the environment in which ``edgeops`` and ``python`` are those of the tests."""
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **more}


def started(root: Path, *arguments: str, **more: str) -> subprocess.Popen:
    """Start ``edgeops run`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgeops", "-C", str(root), "run", *arguments],
        cwd="/",
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, seconds: float = 120) -> Path:
    """Wait until a file is there and not empty."""
    end = time.monotonic() + seconds
    while not (path.is_file() and path.read_text().strip()):
        assert time.monotonic() < end, f"{path.name} never came"
        time.sleep(0.05)
    return path


def plugin(folder: Path, name: str, code: str) -> Path:
    """Lay down a stage plugin as pip would have installed it, for PYTHONPATH."""
    module = f"edgeops_stage_{name}"
    return build_tree(
        folder,
        {
            f"{module}.py": code,
            f"{module}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n",
            f"{module}-1.0.dist-info/entry_points.txt": (
                f"[edgeops.stages]\n{name} = {module}:Plugin\n"
            ),
        },
    )
