"""SIGKILL in the middle of each stage: what is there is whole, and the next run ends the same."""

from __future__ import annotations

import json
import os
import signal

import pytest

from edgeops.cli import main
from tests.functional import _digits
from tests.functional._digits import CASES, Running, files, whole_or_absent

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def reaping():
    """Take in the orphans of what is killed here."""
    _digits.subreaper(on=True)
    yield
    _digits.subreaper(on=False)


def case(name):
    return next(one for one in CASES if one.name == name)


def started(root, which):
    """Return a run that is in the middle of a stage."""
    which.make_stale(root)
    run = Running(root)
    run.until(which)
    return run


def run_again(root, capsys):
    """Return the statuses of the next run, by address; it must end well."""
    (root / "hold").unlink(missing_ok=True)
    capsys.readouterr()
    code = main(["-C", str(root), "run", "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err + out
    rows = json.loads(out)["stages"]
    return {
        row["name"] + (f"@{row['target']}" if row["target"] else ""): row["status"] for row in rows
    }


def served(root, capsys):
    """Return the digest of the bundle that a device gets from the published repository."""
    capsys.readouterr()
    device = ("--channel", "beta", "--root", ".edgeops/keys/root.json", "-o", "device", "--json")
    assert main(["-C", str(root), "unpack", "releases", *device]) == 0
    return json.loads(capsys.readouterr().out)["digest"]


def packed(root, capsys):
    capsys.readouterr()
    assert main(["-C", str(root), "verify", "dist/digits-1.0.0.edgeops", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["digest"]


@pytest.mark.parametrize("which", CASES, ids=lambda one: one.name)
def test_killed_run_ends_like_an_undisturbed_one_when_run_again(which, digits, digits_done, capsys):
    run = started(digits, which)
    run.kill()
    whole_or_absent(digits, digits_done)

    statuses = run_again(digits, capsys)

    assert statuses[which.address] == "ran"
    assert [address for address in statuses if statuses[address] == "failed"] == []
    before, after = files(digits_done), files(digits)
    if which.name == "validate":  # evidence has a date, and the bundle holds the evidence
        bundle = "dist/digits-1.0.0.edgeops"
        assert after.pop(bundle) != before.pop(bundle)
    assert after == before
    # Measured again, the same files stay the release that they were.
    assert served(digits, capsys) == packed(digits_done, capsys)


def test_killed_stage_is_told_and_the_next_run_mends_it(digits, digits_done, capsys):
    which = case("quantize")
    run = started(digits, which)
    for pid in run.members("edgeops", "stage", "quantize"):
        os.kill(pid, signal.SIGKILL)
    assert run.gone()
    assert run.process.returncode == 10
    assert "[stage-failed]" in run.err
    assert "ended by signal 9" in run.err
    whole_or_absent(digits, digits_done)
    assert run_again(digits, capsys)[which.address] == "ran"
    assert files(digits) == files(digits_done)


def test_killed_dvc_takes_its_stage_with_it(digits, digits_done, capsys):
    which = case("validate")
    run = started(digits, which)
    (dvc,) = run.members("edgeops.pipeline.leash")
    os.kill(dvc, signal.SIGKILL)
    assert run.gone()
    assert run.process.returncode == 10
    assert "[dvc-failed]" in run.err
    whole_or_absent(digits, digits_done)
    assert run_again(digits, capsys)[which.address] == "ran"


def test_killed_edgeops_leaves_no_process_behind(digits, digits_done, capsys):
    which = case("validate")
    run = started(digits, which)
    os.kill(run.process.pid, signal.SIGKILL)
    assert run.gone()
    whole_or_absent(digits, digits_done)
    assert run_again(digits, capsys)[which.address] == "ran"


def test_half_written_model_does_not_keep_training_from_running(digits, digits_done, capsys):
    """As a training script leaves it that is killed while it writes: nobody else can mend it."""
    model = digits / "build" / "model.onnx"
    model.write_bytes(model.read_bytes()[:30_000])
    (digits / "data" / "calibration.npz").unlink()
    assert "failed" not in run_again(digits, capsys).values()
    assert files(digits) == files(digits_done)

    with (digits / "train.py").open("a") as script:
        script.write("    raise SystemExit('nothing was trained')\n")
    model.write_bytes(b"")
    assert main(["-C", str(digits), "run"]) == 10, "refused by what trains, not by what is there"


def test_broken_data_that_no_stage_makes_is_still_refused_first(digits, capsys):
    """Only what is made anew is left out of sight: what a person wrote is looked at."""
    (digits / "labels.txt").unlink()
    (digits / "build" / "model.onnx").write_bytes(b"")
    assert main(["-C", str(digits), "run", "--json"]) == 3
    codes = {finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert codes == {"dep-missing", "include-missing"}
