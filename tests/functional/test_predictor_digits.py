"""The digits project with raw data: features and rules through every stage, to the device."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.errors import ExitCode
from edgeops.runtime import Predictor

FEATURES = """format: edgeops.features/1
inputs:
  pixels:
    kind: tensor
    dtype: uint8
    shape: [64]
    steps: [{normalize: {std: 16}}]
outputs:
  image: {from: pixels}
"""
RULES = """format: edgeops.rules/1
steps:
  - {name: top, kind: classification, top: 2}
rules:
  - name: sure
    when: top[0].score > 0.9
    answer: {digit: "top[0].index", name: "top[0].label", sure: true}
  - answer: {digit: "top[0].index", name: "top[0].label", sure: false, other: "top[1].label"}
fallback: {digit: -1, name: unknown, sure: false}
"""
CHANGES = {
    "edgeops.yaml": [
        (
            "  evaluation: data/evaluation.npz",
            "  features: features.yaml\n  evaluation: data/evaluation.npz",
        ),
        (
            "    metric: accuracy\n",
            "    metric: accuracy\n    rules: rules.yaml\n    output: digit\n    seconds: 0.1\n",
        ),
        ("include: [labels.txt]", "include: [labels.txt, features.yaml, rules.yaml]"),
    ],
    "train.py": [
        (
            "path, image=images, labels=labels",
            "path, pixels=(images * 16).astype(np.uint8), labels=labels",
        ),
    ],
}

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path, monkeypatch, settled):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    root = tmp_path / "digits"
    assert main(["init", str(root)]) == 0
    for name, changes in CHANGES.items():
        text = (root / name).read_text()
        for before, after in changes:
            assert before in text
            text = text.replace(before, after, 1)
        (root / name).write_text(text)
    (root / "features.yaml").write_text(FEATURES)
    (root / "rules.yaml").write_text(RULES)
    return root


def test_raw_digits_from_training_to_the_device(project, capsys):
    root = str(project)
    assert main(["-C", root, "run"]) == 0
    evidence = json.loads((project / "reports/gateway/evidence.json").read_text())
    assert evidence["figures"]["accuracy"]["value"] >= 0.95
    assert evidence["figures"]["agreement"]["value"] >= 0.95
    assert evidence["extra"]["features"]["source"] == "features.yaml"
    assert evidence["extra"]["rules"]["digest"].startswith("sha256:")
    assert (
        evidence["extra"]["predict"]["predict_ms"] > evidence["extra"]["predict"]["features_ms"] > 0
    )

    (bundle,) = (project / "dist").glob("*.edgeops")
    device = project / "device"
    assert main(["-C", root, "unpack", str(bundle), "--target", "gateway", "-o", str(device)]) == 0
    predictor = Predictor(device)
    assert [each.name for each in predictor.inputs] == ["pixels"]
    with np.load(project / "data/evaluation.npz") as data:
        answers = [predictor.predict({"pixels": row})["digit"] for row in data["pixels"]]
        right = np.mean(np.array(answers) == data["labels"])
    # The same object, the same figure.
    assert right == evidence["figures"]["accuracy"]["value"]

    (project / "features.yaml").write_text(FEATURES.replace("std: 16", "std: 15"))
    capsys.readouterr()
    assert main(["-C", root, "pack", "--json"]) == ExitCode.TRUST
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "features-not-validated"


def test_features_that_nothing_is_measured_through_are_found_before_a_run(project, capsys):
    place = project / "edgeops.yaml"
    text = place.read_text().replace("  features: features.yaml\n", "")
    place.write_text(text)
    capsys.readouterr()
    argv = ["-C", str(project), "run", "--dry-run", "--json"]
    assert main(argv) == ExitCode.INPUT
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert found["code"] == "features-not-measured"
    assert found["where"].startswith("edgeops.yaml:")
    place.write_text(
        text.replace("  pack:\n", "  pack:\n    accept: the data hold what it makes\n")
    )
    assert main(argv) == ExitCode.OK
