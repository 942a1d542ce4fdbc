"""Start-up, nothing-to-do and cold-run figures, in ratios of interleaved pairs; nothing is judged.

Milliseconds depend on the machine and its mood; the ratio of two commands timed in turns hardly.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench

EDGEOPS = [sys.executable, "-m", "edgeops"]
TYPER = """
import typer
app = typer.Typer(rich_markup_mode=None)
@app.command()
def first(number: int = 1) -> None:
    "Do the first thing."
@app.command()
def second(text: str = "x") -> None:
    "Do the second thing."
app()
"""


def seconds(command, folder):
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def interleaved(pairs, folder, rounds):
    """Return the median seconds of each command, all timed in turns after one warm-up."""
    times = {name: [] for name in pairs}
    for number in range(rounds + 1):
        for name, command in pairs.items():
            took = seconds(command, folder)
            if number:
                times[name].append(took)
    return {name: statistics.median(found) for name, found in times.items()}


def show(title, found, numerator, denominator):
    ratio = found[numerator] / found[denominator]
    parts = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in found.items())
    sys.stdout.write(f"\n{title}: ratio {ratio:.2f} ({parts})\n")
    return ratio


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a digits project that was just run, and what the run said."""
    root = tmp_path_factory.mktemp("bench") / "digits"
    subprocess.run([*EDGEOPS, "init", str(root)], check=True, capture_output=True)
    start = time.perf_counter()
    done = subprocess.run(
        [*EDGEOPS, "run", "--json"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )
    return root, json.loads(done.stdout), time.perf_counter() - start


def test_version_against_bare_python(tmp_path):
    """At most 3."""
    pairs = {"version": [*EDGEOPS, "--version"], "python": [sys.executable, "-c", "pass"]}
    assert show("--version / python -c pass", interleaved(pairs, tmp_path, 11), *pairs) > 0


def test_help_against_a_bare_typer_app(tmp_path):
    """At most 1.2."""
    app = tmp_path / "app.py"
    app.write_text(TYPER)
    pairs = {"help": [*EDGEOPS, "--help"], "typer": [sys.executable, str(app), "--help"]}
    assert show("--help / bare Typer app", interleaved(pairs, tmp_path, 11), *pairs) > 0


def test_run_with_nothing_to_do_against_dvc(project):
    """At most 0.2 s where dvc takes about 2 s."""
    root, _, _ = project
    pairs = {"edgeops run": [*EDGEOPS, "run"], "dvc repro": [sys.executable, "-m", "dvc", "repro"]}
    assert show("run / dvc repro, nothing to do", interleaved(pairs, root, 5), *pairs) > 0


def test_cold_run_and_the_share_of_overhead(project):
    """At most 60 s on 2 cores; at most a quarter of it outside the stages' real work.

    A stage's work is what it says it took once its process had started, and all of a command of
    the project's own; DVC, starting processes, planning and preflight are the rest.
    """
    _, result, took = project
    work = sum(stage["work_seconds"] for stage in result["stages"])
    stages = sum(stage["seconds"] for stage in result["stages"])
    sys.stdout.write(
        f"\ncold run: {took:.1f} s, of which {1 - work / took:.0%} are not the stages' work:"
        f" {stages - work:.1f} s start their processes and let DVC save what they made,"
        f" {took - stages:.1f} s start and end the run\n"
    )
    for stage in result["stages"]:
        name = stage["name"] + (f"@{stage['target']}" if stage["target"] else "")
        sys.stdout.write(
            f"  {name:<20} {stage['seconds']:.2f} s, work {stage['work_seconds']:.2f} s\n"
        )
    assert took > 0
