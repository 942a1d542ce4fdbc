"""The digits project from ``init`` to a device's answer, through the verbs that a person types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeops.cli import main
from edgeops.pipeline.init import template_root

pytestmark = pytest.mark.slow


def answer(capfd, *arguments):
    """Return exit code and JSON result of a verb."""
    capfd.readouterr()
    code = main([*arguments, "--json"])
    return code, json.loads(capfd.readouterr().out)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a digits project that was laid down and run, and the JSON result of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        root = tmp_path_factory.mktemp("demo") / "digits"
        assert main(["init", str(root)]) == 0
        done = subprocess.run(
            [sys.executable, "-m", "edgeops", "-C", str(root), "run", "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return root, json.loads(done.stdout)


def test_run_makes_every_stage_of_every_target(project):
    root, result = project
    assert [(stage["name"], stage["target"]) for stage in result["stages"]] == [
        ("train", None),
        ("convert", "desktop"),
        ("convert", "gateway"),
        ("quantize", "desktop"),
        ("quantize", "gateway"),
        ("validate", "desktop"),
        ("validate", "gateway"),
        ("pack", None),
        ("publish", None),
    ]
    assert {stage["status"] for stage in result["stages"]} == {"ran"}
    assert (root / "dist/digits-1.0.0.edgeops").is_file()


def test_evidence_holds_what_the_gates_ask_for(project):
    root, _ = project
    for target in ("desktop", "gateway"):
        evidence = json.loads((root / f"reports/{target}/evidence.json").read_text())
        assert evidence["verdict"] == "pass"
        assert {gate["name"] for gate in evidence["gates"]} == {
            "accuracy",
            "accuracy_drop",
            "latency_p50_ms",
            "model_mb",
            "peak_rss_mb",
        }
        assert evidence["figures"]["accuracy"]["value"] >= 0.95
        assert evidence["data"]["evaluation"]["samples"] == 500


def test_the_data_sets_share_no_sample(project):
    import numpy as np

    root, _ = project
    rows = []
    for name in ("calibration", "evaluation"):
        with np.load(root / f"data/{name}.npz") as data:
            assert sorted(data.files) == ["image", "labels"]
            assert data["image"].dtype == np.float32
            rows.append({row.tobytes() for row in data["image"]})
    assert [len(found) for found in rows] == [200, 500]
    assert rows[0] & rows[1] == set()


def test_int8_is_smaller_and_keeps_its_accuracy(project, capfd):
    root, _ = project
    figures = {
        target: json.loads((root / f"reports/{target}/metrics.json").read_text())
        for target in ("desktop", "gateway")
    }
    assert figures["gateway"]["model_mb"] < 0.5 * figures["desktop"]["model_mb"]
    assert figures["gateway"]["accuracy_drop"] <= 0.01
    code, result = answer(capfd, "-C", str(root), "targets")
    assert code == 0
    assert [row["precision"] for row in result["targets"]] == ["fp32", "int8"]


def test_a_second_run_has_nothing_to_do(project, capfd):
    root, _ = project
    code, result = answer(capfd, "-C", str(root), "run")
    assert code == 0
    assert result["up_to_date"] is True
    assert {stage["status"] for stage in result["stages"]} == {"cached"}


@pytest.mark.parametrize("target", ["desktop", "gateway"])
def test_a_device_answers_from_what_was_published(project, tmp_path, capfd, target):
    import numpy as np

    from edgeops.runtime import Predictor

    root, _ = project
    code, result = answer(
        capfd,
        "unpack",
        str(root / "releases"),
        "--channel",
        "beta",
        "--root",
        str(root / ".edgeops/keys/root.json"),
        "--target",
        target,
        "-o",
        str(tmp_path / "device"),
    )
    assert code == 0
    assert any("labels.txt" in json.dumps(item) for item in result["files"])
    labels = (tmp_path / "device/labels.txt").read_text().split()
    assert labels == list("0123456789")
    with np.load(root / "data/evaluation.npz") as data:
        scores = Predictor(tmp_path / "device").predict({"image": data["image"]})
        right = (scores["probabilities"].argmax(axis=1) == data["labels"]).mean()
    assert right >= 0.95


def test_the_bundle_is_signed_by_the_keys_of_the_project(project, capfd):
    root, _ = project
    bundle = str(root / "dist/digits-1.0.0.edgeops")
    code, result = answer(capfd, "verify", bundle, "--key", str(root / ".edgeops/keys/release.pub"))
    assert code == 0
    assert result["verified"] is True
    assert result["signed_by"]


def test_run_says_before_it_starts_that_a_clone_has_no_keys(project, tmp_path):
    """Who clones the project may measure it; publishing needs the keys, and that is said first."""
    root, _ = project
    for command in (["add", "--all"], ["commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", *command], cwd=root, check=True)  # noqa: S607 - the git on the path
    subprocess.run(["git", "clone", "--quiet", str(root), str(tmp_path / "clone")], check=True)  # noqa: S607 - as above
    clone = str(tmp_path / "clone")
    done = subprocess.run(
        [sys.executable, "-m", "edgeops", "-C", clone, "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "keys-missing" in done.stderr
    assert not (tmp_path / "clone/build/model.onnx").exists()


def test_the_templates_workflow_is_the_one_laid_down(project):
    root, _ = project
    shipped = template_root() / "common/.github/workflows/edgeops.yml"
    laid = (root / ".github/workflows/edgeops.yml").read_text()
    assert laid != shipped.read_text()
    assert "__edgeops_version__" not in laid
    assert Path(root / ".gitignore").read_text().startswith("# Signing keys")
