"""DVC on the project that ``init`` lays down: every command of its own, and edgeops after it."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from ruamel.yaml import YAML

from edgeops.cli import main
from tests.functional._digits import CASES, files
from tests.functional._toy import dvc, git, run_json, statuses

pytestmark = pytest.mark.slow

STEPS = [
    "train",
    *(f"{stage}@{target}" for stage in ("convert", "quantize", "validate") for target in "dg"),
    "pack",
    "publish",
]
STEPS = [step.replace("@d", "@desktop").replace("@g", "@gateway") for step in STEPS]


def test_dvc_agrees_that_nothing_is_to_do(digits):
    assert dvc(digits, "status") == "Data and pipelines are up to date.\n"
    text = dvc(digits, "repro")
    assert text.count("didn't change, skipping") == len(STEPS)
    assert "Running stage" not in text
    assert git(digits, "status", "--porcelain") == ""


def test_dvc_shows_pipeline_figures_and_plots(digits):
    graph = dvc(digits, "dag", "--mermaid")
    for step in STEPS:
        assert f'["{step}"]' in graph
    shown = json.loads(dvc(digits, "metrics", "show", "--json"))[""]["data"]
    for target in ("desktop", "gateway"):
        figures = shown[f"reports/{target}/metrics.json"]["data"]
        assert figures["accuracy"] > 0.95
        assert figures["latency_p50_ms"] > 0
    dvc(digits, "plots", "show", "--out", "plots")
    page = (digits / "plots" / "index.html").read_text()
    assert "latency_ms" in page
    assert "percentile" in page


def test_dvc_experiment_changes_one_key_and_runs_to_the_end(digits, capsys):
    dvc(
        digits, "exp", "run", "--name", "looser", "-S", "edgeops.yaml:stages.quantize.max_drop=0.02"
    )
    yaml = (digits / "edgeops.yaml").read_text()
    assert "max_drop: 0.02" in yaml
    assert "# of the metric below" in yaml, "the comments of a person stay"
    params = json.loads(dvc(digits, "params", "diff", "--json"))["edgeops.yaml"]
    assert list(params) == ["stages.quantize.max_drop"]
    assert (
        params["stages.quantize.max_drop"]["old"],
        params["stages.quantize.max_drop"]["new"],
    ) == (
        0.01,
        0.02,
    )
    dvc(digits, "metrics", "diff", "--json")
    shown = dvc(digits, "exp", "show", "--json")
    assert "looser" in shown
    code, document = run_json(digits, capsys)
    assert code == 0
    assert set(statuses(document).values()) == {"cached"}, "what the experiment computed counts"


def test_clean_clone_with_the_run_cache_computes_nothing(digits, digits_done, tmp_path, capsys):
    """A clone has no keys and no results; pulled, it needs neither key nor stage."""
    dvc(digits, "remote", "add", "--default", "store", str(tmp_path / "remote"))
    dvc(digits, "push", "--run-cache")
    git(digits, "add", "--all")
    git(digits, "commit", "--quiet", "-m", "remote")
    clone = tmp_path / "clone"
    git(digits, "clone", "--quiet", str(digits), str(clone))
    assert not (clone / "build").exists() or not list(clone.rglob("model.onnx"))
    assert not (clone / ".edgeops" / "keys").exists()
    dvc(clone, "pull", "--run-cache")
    code, document = run_json(clone, capsys)
    assert (code, document.get("error")) == (0, None)
    assert statuses(document) == dict.fromkeys(STEPS, "cached")
    assert document["up_to_date"] is True
    kept = (".dvc", ".git", ".edgeops")
    assert files(clone, without=kept) == files(digits_done, without=kept)
    assert dvc(clone, "status") == "Data and pipelines are up to date.\n"


def test_project_without_git_runs_with_dvc_alone(digits, digits_done, capsys):
    shutil.rmtree(digits / ".git")
    shutil.rmtree(digits / ".dvc")
    (digits / "dvc.lock").unlink()
    capsys.readouterr()
    assert main(["-C", str(digits), "run", "train", "convert"]) == 0
    text = capsys.readouterr().out
    assert "without git" in text
    assert YAML(typ="safe").load(digits / "dvc.lock")["stages"].keys() >= {"convert@gateway"}
    assert "no_scm = true" in (digits / ".dvc" / "config").read_text().replace("True", "true")
    built = digits / "build" / "gateway" / "converted"
    assert files(built) == files(digits_done / "build" / "gateway" / "converted")


def test_two_jobs_work_on_both_targets_and_end_like_one(digits, digits_done, capsys):
    for case in CASES:
        if case.name in ("convert", "quantize"):
            case_both(digits, case)
    code, document = run_json(digits, capsys, "--jobs", "2")
    assert (code, document.get("error")) == (0, None)
    found = statuses(document)
    for step in STEPS:
        again = step.partition("@")[0] in ("convert", "quantize")
        assert found[step] == ("ran" if again else "cached"), step
    assert files(digits) == files(digits_done)
    done = subprocess.run(
        [shutil.which("dvc"), "status"], cwd=digits, capture_output=True, text=True, check=True
    )
    assert "up to date" in done.stdout


def case_both(root, case):
    """Take the results of a stage away for both targets."""
    lock = YAML().load(root / "dvc.lock")
    for target in ("desktop", "gateway"):
        del lock["stages"][f"{case.name}@{target}"]
        shutil.rmtree(root / "build" / target / case.outs[0].rpartition("/")[2])
    with (root / "dvc.lock").open("w") as file:
        YAML().dump(lock, file)
    shutil.rmtree(root / ".dvc" / "cache" / "runs", ignore_errors=True)
