"""Features and rules as a person types them, and what each fault is told as."""

from __future__ import annotations

import json

import pytest

from edgeops.cli import main
from tests.predicting import DOUBLED
from tests.unit.test_validate_predicting import project as project  # noqa: PLC0414 - a fixture

RULES = """format: edgeops.rules/1
steps:
  - {name: top, kind: classification}
rules:
  - name: sure
    when: top[0].score > LEAST
    answer: {class: "top[0].index"}
  - answer: {class: -1}
"""


def _validate(root, *more):
    data = ("--evaluation", "raw.npz", "--features", "features.yaml", "--seconds", "0.05")
    return main(["-C", str(root), "validate", "v", *data, *more])


def test_a_threshold_that_nothing_reaches_leaves_no_accuracy(project, capsys):
    (project / "rules.yaml").write_text(RULES.replace("LEAST", "2.0"))
    capsys.readouterr()
    assert _validate(project, "--rules", "rules.yaml", "--output", "class", "--json") == 0
    assert json.loads(capsys.readouterr().out)["figures"]["accuracy"]["value"] == 0


def test_convert_and_quantize_take_raw_samples(project, capsys):
    root, model = str(project), "v/model.onnx"
    raw = ("--features", "features.yaml")
    argv = ["convert", model, "--to", "onnxruntime", "-o", "c", "--data", "raw.npz", *raw]
    assert main(["-C", root, *argv]) == 0
    capsys.readouterr()
    argv = ["quantize", "c", "--to", "onnxruntime", "-o", "q", "--calibration", "raw.npz", *raw]
    assert main(["-C", root, *argv, "--max-drop", "0.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "int8"
    argv = ["convert", model, "--to", "onnxruntime", "-o", "d", "--data", "raw.npz"]
    assert main(["-C", root, *argv]) == 3  # model inputs are wanted without features


FAULTS = {
    "rules-unknown-name": (RULES.replace("LEAST", "least"), 3),
    "rules-types": (RULES.replace("top[0].score > LEAST", "top[0].score * 2 > 1.0"), 3),
    "rules-syntax": (RULES.replace("LEAST", "(0.5"), 3),
    "rules-no-output": (RULES.replace("top[0].score > LEAST", "outputs.scores[0] > 0.5"), 3),
    "rules-failed": (RULES.replace("top[0].score > LEAST", "outputs.probabilities[9] > 0.5"), 5),
    "rules-no-model": (RULES.replace("LEAST", "0.5") + "models: {quality: checker}\n", 3),
    "rules-missing": (None, 3),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_text(name, project, capsys, golden):
    text, code = FAULTS[name]
    (project / "rules.yaml").unlink()
    if text is not None:
        (project / "rules.yaml").write_text(text)
    capsys.readouterr()
    assert _validate(project, "--rules", "rules.yaml", "--output", "class") == code
    told = capsys.readouterr().err
    golden(f"errors/{name}.txt", told[told.index("error: ") :])


def test_features_that_do_not_fit_have_their_text(project, capsys, golden):
    other = json.loads(json.dumps(DOUBLED))
    other["inputs"]["row"]["shape"] = [5]
    (project / "features.yaml").write_text(json.dumps(other))
    capsys.readouterr()
    assert _validate(project) == 3
    told = capsys.readouterr().err
    golden("errors/features-model.txt", told[told.index("error: ") :])


def test_evidence_of_other_features_has_its_text(project, capsys, golden):
    from edgeops.core.variant import read_variant
    from tests.unit._bundles import make_evidence

    about = {"features": {"source": "features.yaml", "digest": f"sha256:{'0' * 64}"}}
    make_evidence(project / "evidence.json", read_variant(project / "v"), target="v", extra=about)
    capsys.readouterr()
    argv = ["pack", "v", "--name", "p", "--version", "1.0.0", "--evidence", "evidence.json"]
    assert main(["-C", str(project), *argv, "--include", "features.yaml"]) == 20
    told = capsys.readouterr().err
    golden("errors/features-not-validated.txt", told[told.index("error: ") :])
