"""Ctrl-C in the middle of each stage: 130, nothing left running, and ``run`` goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from edgeops.cli import main
from tests.functional import _digits
from tests.functional._digits import CASES, Running, files, whole_or_absent
from tests.helpers import write_tiny_data, write_tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def reaping():
    """Take in the orphans of what is interrupted here."""
    _digits.subreaper(on=True)
    yield
    _digits.subreaper(on=False)


def address(row):
    return f"{row['name']}@{row['target']}" if row["target"] else row["name"]


@pytest.mark.parametrize("which", CASES, ids=lambda one: one.name)
def test_interrupted_run_ends_with_130_and_goes_on_where_it_was(which, digits, digits_done, capsys):
    which.make_stale(digits)
    run = Running(digits, "--json")
    run.until(which)
    os.killpg(run.process.pid, signal.SIGINT)  # what a terminal sends to its foreground group

    assert run.gone(), run.members()
    assert run.process.returncode == 130, run.err
    document = json.loads(run.out)
    assert document["error"]["code"] == "interrupted"
    assert document["error"]["what"] == f"interrupted while {which.address} ran"
    assert document["error"]["fix"].startswith("run the same command again")
    statuses = {address(row): row["status"] for row in document["stages"]}
    assert statuses[which.address] == "failed"
    assert "Traceback" not in run.err
    whole_or_absent(digits, digits_done)

    (digits / "hold").unlink(missing_ok=True)
    capsys.readouterr()
    assert main(["-C", str(digits), "run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["stages"]
    statuses = {address(row): row["status"] for row in rows}
    # Cached where the stage had just ended on a busy machine, and DVC kept what it had made.
    assert statuses[which.address] in {"ran", "cached"}
    assert all(statuses[one.address] == "cached" for one in CASES[: CASES.index(which)])
    before, after = files(digits_done), files(digits)
    if which.name == "validate":  # evidence has a date, and the bundle holds the evidence
        del before["dist/digits-1.0.0.edgeops"], after["dist/digits-1.0.0.edgeops"]
    assert after == before


def test_interrupt_is_told_in_words(digits, capsys, golden):
    which = CASES[0]
    which.make_stale(digits)
    run = Running(digits)
    run.until(which)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.gone()
    assert run.process.returncode == 130
    golden("errors/run-interrupted.txt", run.err[run.err.index("error:") :])


def test_second_interrupt_is_not_needed_and_does_no_harm(digits, digits_done):
    which = next(one for one in CASES if one.name == "validate")
    which.make_stale(digits)
    run = Running(digits)
    run.until(which)
    os.killpg(run.process.pid, signal.SIGINT)
    time.sleep(0.05)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.gone()
    assert run.process.returncode == 130, run.err
    assert "Traceback" not in run.err
    whole_or_absent(digits, digits_done)


@pytest.mark.parametrize(
    ("verb", "sign"),
    [
        (("convert", "model.onnx", "--to", "onnxruntime", "-o", "out"), "converting"),
        (
            (
                *("quantize", "model.onnx", "--to", "onnxruntime"),
                "-o",
                "out",
                "--calibration",
                "data.npz",
            ),
            "try 1",
        ),
        (("run",), "train: running"),
        (("init", "out"), "setting up git"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_interrupted_verb_says_so_and_leaves_nothing(verb, sign, tmp_path, settled):
    # Large enough that no verb is done before it is interrupted, on a machine that is busy.
    model = write_tiny_model(tmp_path / "model.onnx", hidden=50_000)
    write_tiny_data(tmp_path / "data.npz", model)
    if verb == ("run",):
        (tmp_path / "edgeops.yaml").write_text(
            "project: p\nversion: 1.0.0\nmodel: model.onnx\nstages: {train: {run: sleep 60}}\n"
        )
    before = {path.name for path in tmp_path.iterdir()}
    command = [sys.executable, "-m", "edgeops", "-C", str(tmp_path), *verb]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    text = ""
    while sign not in text:
        line = child.stderr.readline()
        assert line, text
        text += line
    os.killpg(child.pid, signal.SIGINT)
    text += child.communicate(timeout=120)[1]

    assert child.returncode == 130, text
    assert "[interrupted]" in text
    assert "Traceback" not in text
    if verb != ("run",):
        assert {path.name for path in tmp_path.iterdir()} == before
