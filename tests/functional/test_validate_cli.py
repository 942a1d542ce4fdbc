"""validate and report as a person and a CI job type them."""

from __future__ import annotations

import json
import subprocess
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.core.evidence import read_evidence
from tests.helpers import build_tree, write_tiny_data, write_tiny_model

YAML = """
    project: tiny
    version: 1.0.0
    model: model.onnx
    data: {calibration: data.npz, evaluation: data.npz}
    targets:
      gateway: {engine: onnxruntime}
      camera: {engine: onnxruntime, precision: fp16, gates: {model_mb: "<= 1"}}
    stages:
      convert: {}
      validate:
        metric: accuracy
        seconds: 0.1
        gates:
          accuracy: ">= 0.9"
          accuracy_drop: "<= 0.05"
"""


def convert(folder, out="variant", precision="fp32"):
    argv = ["convert", "model.onnx", "--to", "onnxruntime", "-o", out, "--precision", precision]
    assert main(["-C", str(folder), *argv, "--data", "data.npz"]) == 0


@pytest.fixture
def adhoc(tmp_path, capsys):
    """Return a folder with a model, data that it gets all right, and its variant."""
    write_tiny_data(tmp_path / "data.npz", write_tiny_model(tmp_path / "model.onnx"))
    convert(tmp_path)
    capsys.readouterr()
    return tmp_path


def answer(folder, capsys, *argv):
    """Return exit code and JSON document of a verb."""
    capsys.readouterr()
    code = main(["-C", str(folder), *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def measured(folder, capsys, *argv):
    short = ("--evaluation", "data.npz", "--seconds", "0.1")
    return answer(folder, capsys, "validate", "variant", *short, *argv)


def test_validate_measures_a_variant_and_judges_its_gates(adhoc, capsys):
    gates = ("--gate", "accuracy>=0.95", "--gate", "latency_p50_ms<=1000", "--gate", "model_mb<=1")
    code, result = measured(adhoc, capsys, *gates)
    assert code == 0
    assert result["verdict"] == "pass"
    assert result["metrics"]["accuracy"] == 1.0
    assert [gate["name"] for gate in result["gates"]] == ["accuracy", "latency_p50_ms", "model_mb"]
    assert {gate["verdict"] for gate in result["gates"]} == {"pass"}
    low, high = result["gates"][1]["interval"]
    assert 0 < low <= result["gates"][1]["value"] <= high
    assert "single calls in 3 fresh process(es)" in result["gates"][1]["evidence"]
    assert result["device"]["name"] == "local"
    assert result["metrics"]["model_mb"] == pytest.approx(
        (adhoc / "variant" / "model.onnx").stat().st_size / 1e6
    )


def test_validate_leaves_out_what_it_could_not_measure_and_says_why(adhoc, capsys):
    code, result = measured(adhoc, capsys)
    assert code == 0
    assert "accuracy_drop" not in result["metrics"]
    assert "latency_vs_fp32" not in result["metrics"]
    assert result["figures"]["accuracy_drop"]["absent"] == (
        "no source model was named (--source MODEL)"
    )


def test_validate_against_its_source_model(adhoc, capsys):
    gates = ("--gate", "accuracy_drop<=0", "--gate", "agreement>=1")
    code, result = measured(adhoc, capsys, "--source", "model.onnx", *gates)
    assert code == 0
    assert result["metrics"]["accuracy_drop"] == 0.0


def test_validate_in_pairs_against_its_fp32_form(adhoc, capsys):
    convert(adhoc, "half", "fp16")
    argv = ("--evaluation", "data.npz", "--seconds", "0.3", "--source", "variant")
    gate = ("--gate", "latency_vs_fp32<=100")
    code, result = answer(adhoc, capsys, "validate", "half", *argv, *gate)
    if result["metrics"].get("latency_vs_fp32") is None:
        # Somebody else uses this machine: then it says so, and nothing else.
        assert code == 12
        assert "something else used the same processor" in result["gates"][0]["why"]
        return
    assert code == 0
    assert 0.01 < result["metrics"]["latency_vs_fp32"] < 100
    assert "both loaded anew" in result["gates"][0]["method"]
    assert any("fp32 form" in note for note in result["notes"])


def test_validate_does_not_time_a_variant_against_itself(adhoc, capsys):
    code, result = measured(adhoc, capsys, "--source", "variant")
    assert code == 0
    assert result["metrics"]["latency_vs_fp32"] == 1.0
    assert "byte for byte" in result["figures"]["latency_vs_fp32"]["method"]


def test_failed_gate_is_exit_11_with_all_figures(adhoc, capsys):
    gates = ("--gate", "latency_p50_ms<=0.000001", "--gate", "accuracy>=0.5")
    code, result = measured(adhoc, capsys, *gates)
    assert code == 11
    assert result["error"]["code"] == "gate-failed"
    assert [gate["verdict"] for gate in result["gates"]] == ["fail", "pass"]
    assert result["metrics"]["accuracy"] == 1.0


def test_inconclusive_gate_is_exit_12_with_all_figures(adhoc, capsys):
    code, result = measured(adhoc, capsys, "--gate", "latency_mean_ms==1")
    assert code == 12
    assert result["error"]["code"] == "gate-inconclusive"
    assert result["verdict"] == "inconclusive"


def test_text_shows_the_table_also_when_a_gate_failed(adhoc, capsys):
    argv = ["validate", "variant", "--evaluation", "data.npz", "--seconds", "0.1"]
    assert main(["-C", str(adhoc), *argv, "--gate", "accuracy>1"]) == 11
    out, err = capsys.readouterr()
    assert out.startswith("fail  variant: onnxruntime")
    assert "accuracy" in out
    assert "error: 1 gate failed: accuracy > 1 (1 on variant) [gate-failed]" in err


def test_metric_of_the_project_itself(adhoc, capsys):
    build_tree(
        adhoc,
        {
            "mine.py": "def sure(outputs, labels):\n    return outputs['probabilities'].max(axis=1).mean()\n"
        },
    )
    code, result = measured(adhoc, capsys, "--metric", "mine:sure", "--gate", "sure>=0.3")
    assert code == 0
    assert 0.3 <= result["metrics"]["sure"] <= 1


def save(folder, name, **arrays):
    with np.load(folder / "data.npz") as data:
        np.savez(folder / name, **{"x": data["x"], **arrays})


BAD = {
    "gate-unknown": (3, ["--evaluation", "data.npz", "--gate", "acuracy>=0.9"]),
    "gate-unknown-without-source": (3, ["--evaluation", "data.npz", "--gate", "accuracy_drop<=0"]),
    "gate-option": (2, ["--evaluation", "data.npz", "--gate", "accuracy=0.9"]),
    "validate-without-data": (2, ["--gate", "accuracy>=0.9"]),
    "validate-variant-and-target": (2, ["--evaluation", "data.npz", "--target", "gateway"]),
    "labels-missing": (3, ["--evaluation", "unlabelled.npz"]),
    "labels-misfit": (3, ["--evaluation", "texts.npz"]),
    "metric-unknown": (4, ["--evaluation", "data.npz", "--metric", "acuracy"]),
    "metric-broken": (3, ["--evaluation", "data.npz", "--metric", "nowhere:score"]),
    "metric-undefined": (3, ["--evaluation", "single.npz", "--metric", "auc"]),
    "output-unknown": (3, ["--evaluation", "data.npz", "--output", "logits"]),
    "device-unknown": (4, ["--evaluation", "data.npz", "--device", "lokal"]),
    "device-address": (3, ["--evaluation", "data.npz", "--device", "local:1"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_its_text(case, adhoc, capsys, golden):
    save(adhoc, "unlabelled.npz")
    save(adhoc, "texts.npz", labels=np.array(["cat"] * 64))
    save(adhoc, "single.npz", labels=np.zeros(64, np.int64))
    code, argv = BAD[case]
    assert main(["-C", str(adhoc), "validate", "variant", *argv, "--seconds", "0.05"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    golden(f"errors/validate-{case.removeprefix('validate-')}.txt", err[err.index("error:") :])


def test_tampered_variant_is_exit_20(adhoc, capsys):
    path = adhoc / "variant" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    code, result = measured(adhoc, capsys)
    assert (code, result["error"]["code"]) == (20, "digest-mismatch")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a project in git and DVC that starts from a finished model."""
    build_tree(tmp_path, {"edgeops.yaml": YAML, ".gitignore": "/build\n/reports\n"})
    write_tiny_data(tmp_path / "data.npz", write_tiny_model(tmp_path / "model.onnx"))
    git(tmp_path, "init", "-q")
    return tmp_path


def git(folder, *argv):
    subprocess.run(["git", *argv], cwd=folder, check=True, capture_output=True)  # noqa: S607


def edit(folder, old, new):
    path = folder / "edgeops.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.slow
def test_project_is_measured_judged_reported_and_compared(project, capsys, monkeypatch):
    code, result = answer(project, capsys, "validate")
    assert code == 0
    assert result["verdict"] == "pass"
    assert set(result["targets"]) == set(result["metrics"]) == {"gateway", "camera"}
    assert {(gate["target"], gate["name"]) for gate in result["gates"]} == {
        ("gateway", "accuracy"),
        ("gateway", "accuracy_drop"),
        ("camera", "accuracy"),
        ("camera", "accuracy_drop"),
        ("camera", "model_mb"),
    }
    evidence = read_evidence(project / "reports" / "gateway" / "evidence.json")
    assert evidence.data["evaluation"]["source"] == "data.npz"
    assert evidence.figures["latency_vs_fp32"].value == 1.0
    absent = read_evidence(project / "reports" / "camera" / "evidence.json").figures
    assert absent["latency_vs_fp32"].absent == (
        "convert made fp16, so there is no fp32 form on this engine"
    )
    flat = json.loads((project / "reports" / "gateway" / "metrics.json").read_text())
    assert flat["accuracy"] == 1.0
    table = (project / "reports" / "gateway" / "latency.csv").read_text().splitlines()
    assert table[0] == "percentile,latency_ms"
    assert len(table) > 100

    code, alone = answer(project, capsys, "validate", "--target", "camera")
    assert code == 0
    assert alone["metrics"]["accuracy"] == 1.0
    assert alone["device"]["name"] == "local"

    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "one")
    edit(project, 'accuracy: ">= 0.9"', 'accuracy: "> 1"')
    code, failed = answer(project, capsys, "validate", "--target", "gateway")
    assert code == 11
    assert failed["verdict"] == "fail"
    kept = read_evidence(project / "reports" / "gateway" / "evidence.json")
    assert kept.verdict == "fail"

    summary = project / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main(["-C", str(project), "report", "--against", "HEAD", "-o", "report.md"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "fail: the report is in report.md"
    assert out[1].startswith("::error title=accuracy on gateway::accuracy is 1 and must be > 1")
    text = (project / "report.md").read_text()
    assert text == summary.read_text()
    assert text.startswith("## tiny 1.0.0 must not ship: 2 gates failed")
    assert "| validate (gateway) | rebuilt | `stages.validate.gates` | changed |" in text
    assert "convert" not in text.split("### Rebuilt")[1].split("<details>")[0].split("###")[0]

    code, report = answer(project, capsys, "report", "--against", "HEAD", "--check")
    assert code == 11
    gateway = next(one for one in report["targets"] if one["name"] == "gateway")
    assert gateway["figures"]["accuracy"]["before"] == 1.0
    assert gateway["figures"]["accuracy"]["change"] == 0.0
    assert report["against"]["name"] == "HEAD"


def test_gate_on_nothing_is_refused_before_anything_runs(project, capsys):
    edit(project, 'accuracy_drop: "<= 0.05"', 'acuracy: ">= 0.9"')
    edit(project, 'model_mb: "<= 1"', 'model_gb: "<= 1"')
    code, result = answer(project, capsys, "run", "--dry-run")
    assert code == 3
    found = [item for item in result["findings"] if item["code"] == "gate-unknown"]
    assert [item["where"] for item in found] == ["edgeops.yaml:15:7", "edgeops.yaml:7:58"]
    assert not (project / "dvc.yaml").exists()


def test_evaluation_data_that_does_not_fit_is_refused_before_anything_runs(project, capsys):
    np.savez(project / "data.npz", x=np.zeros((5, 9), np.float32))
    code, result = answer(project, capsys, "run", "--dry-run")
    assert code == 3
    codes = {item["code"] for item in result["findings"]}
    assert {"labels-missing", "data-shape"} <= codes


def test_project_without_evaluation_data_is_refused(project, capsys):
    edit(project, ", evaluation: data.npz", "")
    code, result = answer(project, capsys, "validate")
    assert code == 3
    assert "evaluation-missing" in json.dumps(result)


def test_project_without_validate_stage_is_refused(project, capsys):
    text = (project / "edgeops.yaml").read_text()
    (project / "edgeops.yaml").write_text(text[: text.index("  validate:")])
    code, result = answer(project, capsys, "validate")
    assert (code, result["error"]["code"]) == (3, "validate-missing")


def test_validate_options_without_a_variant_are_wrong_usage(project, capsys):
    code, result = answer(project, capsys, "validate", "--gate", "accuracy>=0.9")
    assert (code, result["error"]["code"]) == (2, "validate-usage")


def test_report_before_anything_was_measured_is_refused(project, capsys):
    code, result = answer(project, capsys, "report")
    assert (code, result["error"]["code"]) == (3, "report-empty")


def test_report_against_what_git_does_not_know_is_refused(project, capsys, tmp_path):
    measured_by_hand(project)
    code, result = answer(project, capsys, "report", "--against", "v9")
    assert (code, result["error"]["code"]) == (3, "against-unknown")
    (project / ".git").rename(project / "git")
    code, result = answer(project, capsys, "report", "--against", "main")
    assert (code, result["error"]["code"]) == (3, "against-no-git")


def test_report_against_a_revision_that_measured_nothing_says_so(project, capsys):
    measured_by_hand(project)
    git(project, "add", "edgeops.yaml")
    git(project, "commit", "-q", "-m", "before DVC")
    code, result = answer(project, capsys, "report", "--against", "HEAD")
    assert code == 0
    assert "it has no dvc.lock: nothing was measured then" in result["markdown"]


def test_report_as_json_file_and_document_are_the_same(project, capsys):
    measured_by_hand(project)
    code, result = answer(project, capsys, "report", "-o", "r.json", "--format", "json")
    assert code == 0
    written = json.loads((project / "r.json").read_text())
    assert written["verdict"] == result["verdict"] == "inconclusive"
    assert main(["-C", str(project), "report", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == written["targets"]


def measured_by_hand(project):
    """Measure one of two targets without DVC, through the stage itself."""
    from edgeops.core.events import Silence
    from edgeops.core.stage import StageContext
    from edgeops.project.load import load_project
    from edgeops.stages.convert import Convert
    from edgeops.stages.validate import Validate

    found = load_project(project)
    for name, stage in (("convert", Convert()), ("validate", Validate())):
        context = StageContext(project, found, name, found.targets["gateway"], Silence())
        stage.run(context, found.stages[name].options)


@pytest.mark.slow
def test_targets_may_be_measured_side_by_side(project, capsys):
    code, result = answer(project, capsys, "validate", "--jobs", "2", "--junit", "junit.xml")
    assert code == 0
    assert set(result["targets"]) == {"gateway", "camera"}
    for name, target in result["targets"].items():
        assert target["worst_files"] == [f"reports/{name}/worst.json", f"reports/{name}/worst.svg"]
    root = ET.parse(project / "junit.xml").getroot()  # noqa: S314 - we wrote it
    assert [suite.get("name") for suite in root] == ["edgeops.gateway", "edgeops.camera"]
    code, report = answer(project, capsys, "report", "--format", "junit")
    root = ET.fromstring(report["markdown"])  # noqa: S314 - we wrote it
    assert root[0].get("timestamp") > "2020"
    assert root[0].get("name") == "tiny.gateway"


def test_earlier_variant_that_is_none_shows_before_anything_is_measured(adhoc, capsys, monkeypatch):
    def measure(*_):
        pytest.fail("it was measured")

    monkeypatch.setattr("edgeops.stages.validate_measure.measure", measure)
    code, result = measured(adhoc, capsys, "--previous", "nowhere")
    assert (code, result["error"]["code"]) == (3, "variant-missing")
