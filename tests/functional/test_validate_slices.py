"""Gates on parts of the data, evidence judged again, several targets: validate as it is typed."""

from __future__ import annotations

import json
import shutil
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.core.evidence import read_evidence
from edgeops.core.project import Data, Project, Target
from edgeops.pipeline.validated import _devices
from tests.helpers import build_tree, write_tiny_data
from tests.unit._bundles import make_variant

YAML = """
    project: tiny
    version: 1.0.0
    model: model.onnx
    data: {evaluation: data.npz}
    targets:
      gateway: {engine: onnxruntime, affinity: [0], gates: {"accuracy[light=day]": ">= 0.9"}}
    stages:
      convert: {}
      validate:
        metric: accuracy
        seconds: 0.1
        gates:
          accuracy[light=night]: ">= 0.9"
          accuracy[light=day]: ">= 0.1"
          model_mb: "<= 1"
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a folder with a variant that is right by day and wrong by night."""
    folder = tmp_path_factory.mktemp("prepared")
    make_variant(folder / "variant")
    write_tiny_data(folder / "data.npz", folder / "variant" / "model.onnx")
    with np.load(folder / "data.npz") as data:
        labels = data["labels"].copy()
        labels[40:] = (labels[40:] + 1) % 3
        light = np.array(["day"] * 40 + ["night"] * 24)
        np.savez(folder / "data.npz", x=data["x"], labels=labels, **{"slice:light": light})
    return folder


def asked(folder, capsys, *argv):
    capsys.readouterr()
    code = main(["-C", str(folder), "validate", *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


SHORT = ("variant", "--evaluation", "data.npz", "--seconds", "0.1")


def test_gate_on_a_part_of_the_data_sees_what_the_whole_hides(prepared, capsys, tmp_path):
    gates = [f"accuracy{part}>=0.6" for part in ("", "[light=day]", "[light=night]")]
    junit = tmp_path / "junit.xml"
    argv = [word for gate in gates for word in ("--gate", gate)]
    code, result = asked(prepared, capsys, *SHORT, *argv, "--junit", str(junit))
    assert code == 11
    assert {gate["name"]: (gate["value"], gate["verdict"]) for gate in result["gates"]} == {
        "accuracy": (0.625, "pass"),
        "accuracy[light=day]": (1.0, "pass"),
        "accuracy[light=night]": (0.0, "fail"),
    }
    assert {gate["digest"] for gate in result["gates"]} == {result["evidence"]}
    suite = ET.parse(junit).getroot()[0]  # noqa: S314 - we wrote it
    assert [case.get("name") for case in suite.findall("testcase[failure]")] == [
        "accuracy[light=night] >= 0.6"
    ]
    assert result["worst"][0]["index"] >= 40, "what is wrong is named"
    assert main(["-C", str(prepared), "validate", *SHORT, *argv]) == 11
    assert "accuracy[light=night]" in capsys.readouterr().out


def test_gate_on_a_part_that_is_not_there_is_refused_with_the_nearest(prepared, capsys):
    code, result = asked(prepared, capsys, *SHORT, "--gate", "accuracy[light=nigth]>=0.6")
    assert (code, result["error"]["code"]) == (3, "gate-unknown")
    assert "did you mean 'accuracy[light=night]'?" in result["error"]["fix"]


@pytest.fixture
def measured(prepared, tmp_path, capsys):
    """Return a project whose one target was measured through the stage itself."""
    build_tree(tmp_path, {"edgeops.yaml": YAML})
    shutil.copytree(prepared / "variant", tmp_path / "build" / "gateway" / "converted")
    shutil.copy(prepared / "data.npz", tmp_path)
    shutil.copy(prepared / "variant" / "model.onnx", tmp_path)
    assert main(["-C", str(tmp_path), "stage", "validate", "--target", "gateway"]) == 0
    return tmp_path


def test_evidence_is_judged_again_from_itself_alone(measured, capsys, tmp_path_factory):
    file = measured / "reports" / "gateway" / "evidence.json"
    stated = read_evidence(file)
    verdicts = {gate.name: (gate.bound, gate.verdict) for gate in stated.gates}
    assert verdicts == {
        "accuracy[light=night]": (">= 0.9", "fail"),
        "accuracy[light=day]": (">= 0.9", "pass"),
        "model_mb": ("<= 1", "pass"),
    }
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "e.json").write_bytes(file.read_bytes())
    code, result = asked(elsewhere, capsys, "--replay", "e.json")
    assert code == 11
    assert {gate["name"]: (gate["bound"], gate["verdict"]) for gate in result["gates"]} == verdicts
    assert result["evidence"] == result["replayed"]["digest"] == stated.digest
    assert {"accuracy", "accuracy_drop[light=day]", "latency_p50_ms", "peak_rss_mb"} <= set(
        result["replayed"]["recomputed"]
    )
    for name, figure in stated.figures.items():
        assert result["figures"][name]["value"] == figure.value

    code, result = asked(elsewhere, capsys, "--replay", "e.json", "--gate", "latency_p50_ms<=1000")
    assert (code, [gate["name"] for gate in result["gates"]]) == (0, ["latency_p50_ms"])
    code, result = asked(elsewhere, capsys, "--replay", "e.json", "--gate", "f1>=1")
    assert (code, result["error"]["code"]) == (3, "gate-unknown")
    assert main(["-C", str(elsewhere), "validate", "--replay", "e.json"]) == 11
    out = capsys.readouterr().out
    assert "judged again from" in out
    assert "computed again, and the same: accuracy, " in out


def test_evidence_that_is_gone_cut_off_or_edited_is_refused_with_its_text(measured, capsys, golden):
    file = measured / "reports" / "gateway" / "evidence.json"
    data = file.read_bytes()
    assert data.count(b'"value": 0.625') == 1
    bad = {
        "replay-edited": (20, data.replace(b'"value": 0.625', b'"value": 0.985')),
        "replay-empty": (3, b""),
        "replay-gone": (3, None),
    }
    place = measured / "e.json"
    place.write_bytes(data[: len(data) // 2])
    code, result = asked(measured, capsys, "--replay", "e.json")
    assert (code, result["error"]["code"]) == (3, "evidence-malformed")
    for name, (code, content) in bad.items():
        place.unlink(missing_ok=True)
        if content is not None:
            place.write_bytes(content)
        assert main(["-C", str(measured), "validate", "--replay", "e.json"]) == code
        err = capsys.readouterr().err
        text = err[err.index("error:") :].split("\n       it is not")[0] + "\n"
        golden(f"errors/{name}.txt", text)


def test_samples_to_look_at_and_partial_results_lie_beside_the_evidence(measured):
    worst = json.loads((measured / "reports" / "gateway" / "worst.json").read_text())
    assert worst["format"] == "edgeops.worst/1"
    assert (measured / "reports" / "gateway" / "worst.svg").stat().st_size > 0
    assert not (measured / ".edgeops" / "partial" / "gateway.json").exists()


@pytest.mark.parametrize(
    ("devices", "target", "jobs"),
    [
        (["local"], None, 1),
        (["local", "local"], None, 1),
        (["local", "ssh:pi", "ssh:pi", "adb"], None, 3),
        (["local", "ssh:pi"], "t1", 1),
        ([], None, 1),
    ],
)
def test_as_many_targets_are_measured_at_once_as_there_are_devices(devices, target, jobs):
    targets = {f"t{i}": Target(f"t{i}", device=device) for i, device in enumerate(devices)}
    assert _devices(Project("p", "1.0.0", "m", Data(), targets, {}), target) == jobs
