"""Variants that nothing could prove: refused by validate and pack, unless a person says why not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgeops.cli import main
from edgeops.core.evidence import read_evidence, write_evidence
from edgeops.core.variant import read_variant, write_variant
from tests.functional.test_validate_cli import convert
from tests.helpers import build_tree, write_tiny_data, write_tiny_model

WHY = "its runtime exists for that chip only"
YAML = """
    project: tiny
    version: 1.0.0
    model: model.onnx
    data: {calibration: data.npz, evaluation: data.npz}
    targets: {chip: {engine: onnxruntime}}
    stages:
      convert: {}
      validate: {metric: accuracy, gates: {accuracy: ">= 0.9", model_mb: "<= 1"}%s}
      pack: {include: []%s}
"""


def disown(folder):
    """Make a variant say that nothing could compare it."""
    variant = read_variant(folder)
    write_variant(folder, replace(variant, parity=None, extra={"unproven": WHY}))


@pytest.fixture
def place(tmp_path, capsys):
    write_tiny_data(tmp_path / "data.npz", write_tiny_model(tmp_path / "model.onnx"))
    convert(tmp_path)
    disown(tmp_path / "variant")
    capsys.readouterr()
    return tmp_path


def answer(folder, capsys, *argv):
    code = main(["-C", str(folder), *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


VALIDATE = ("validate", "variant", "--evaluation", "data.npz", "--gate", "model_mb<=1")
PACK = ("pack", "variant", "--name", "tiny", "--version", "1.0.0", "-o", "t.edgeops")


@pytest.mark.parametrize("argv", [VALIDATE, PACK])
def test_unproven_variant_is_refused_with_its_reason(argv, place, capsys):
    code, document = answer(place, capsys, *argv)
    assert (code, document["error"]["code"]) == (5, "variant-unproven")
    assert document["error"]["why"] == WHY
    assert document["unproven"] == WHY
    assert not (place / "t.edgeops").exists()


def test_refusal_of_an_unproven_variant_says_what_to_type(place, capsys, golden):
    assert main(["-C", str(place), *PACK]) == 5
    golden("errors/variant-unproven.txt", capsys.readouterr().err)


def test_empty_reason_accepts_nothing(place, capsys):
    assert answer(place, capsys, *PACK, "--accept", " ")[0] == 5


def test_accepted_unproven_variant_is_not_measured_and_its_gates_stay_open(place, capsys):
    argv = (*VALIDATE, "--gate", "accuracy>=0.9", "--accept", "ran on the bench, 2 boards")
    code, document = answer(place, capsys, *argv)
    assert code == 12
    verdicts = {gate["name"]: gate["verdict"] for gate in document["gates"]}
    assert verdicts == {"model_mb": "pass", "accuracy": "inconclusive"}
    assert set(document["metrics"]) == {"model_mb"}
    code, document = answer(place, capsys, *VALIDATE, "--accept", "ran on the bench")
    assert code == 0


def test_accepted_unproven_variant_is_packed_with_the_reason_in_its_card(place, capsys):
    argv = (*PACK, "--accept", "ran on the bench, 2 boards")
    assert answer(place, capsys, *argv)[0] == 0
    assert main(["-C", str(place), "unpack", "t.edgeops", "-o", "out"]) == 0
    card = (place / "out" / "card.md").read_text()
    assert WHY in card
    assert "accepted all the same: ran on the bench, 2 boards" in card


def test_project_states_its_reasons_in_edgeops_yaml(tmp_path, capsys):
    from edgeops.core.events import Silence
    from edgeops.core.stage import StageContext
    from edgeops.errors import RefusedError
    from edgeops.project.load import load_project
    from edgeops.stages.pack import Pack
    from edgeops.stages.validate import Validate

    write_tiny_data(tmp_path / "data.npz", write_tiny_model(tmp_path / "model.onnx"))
    convert(tmp_path, "build/chip/converted")
    disown(tmp_path / "build/chip/converted")

    def run(stage, name):
        project = load_project(tmp_path)
        target = project.targets["chip"] if name == "validate" else None
        context = StageContext(tmp_path, project, name, target, Silence())
        return stage.run(context, project.stages[name].options)

    build_tree(tmp_path, {"edgeops.yaml": YAML % ("", "")})
    for stage, name in ((Validate(), "validate"), (Pack(), "pack")):
        with pytest.raises(RefusedError) as caught:
            run(stage, name)
        assert caught.value.code == "variant-unproven"
    build_tree(tmp_path, {"edgeops.yaml": YAML % (", accept: seen", ", accept: seen")})
    result = run(Validate(), "validate")
    assert set(result.figures) == {"model_mb"}
    evidence = read_evidence(tmp_path / "reports/chip/evidence.json")
    assert evidence.figures["accuracy"].absent == WHY
    assert "accepted: seen" in evidence.notes
    assert (tmp_path / "reports/chip/latency.csv").read_text() == "percentile,latency_ms\n"
    write_evidence(tmp_path / "reports/chip/evidence.json", evidence)
    assert run(Pack(), "pack").figures["bundle_bytes"] > 0
