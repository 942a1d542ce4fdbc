"""Bad input as a whole project meets it: told before anything runs, nothing lost, nothing written."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeops.cli import main
from edgeops.pipeline.explain import texts
from tests.functional import _bad_models as bad
from tests.helpers import build_tree, write_tiny_data, write_tiny_model

YAML = """
    project: shop
    version: 1.0.0
    model: model.onnx
    data: {calibration: calibration.npz, evaluation: evaluation.npz}
    targets:
      gateway: {engine: onnxruntime, precision: int8}
      desktop: {engine: onnxruntime, precision: fp32}
    stages:
      convert: {simplify: true}
      quantize: {max_drop: 0.1}
      validate:
        metric: accuracy
        seconds: 0.05
        gates: {accuracy: ">= 0.5"}
      pack: {}
"""

# Every kind of bad input that users have met, and the text that each of them gets.
LIST = {
    "a model that is missing": "model-missing",
    "a model that ends too early": "model-truncated",
    "an empty model": "model-empty",
    "a file that is no model": "model-text",
    "a pointer in place of a model": "model-lfs-pointer",
    "a pointer in place of data": "data-lfs-pointer",
    "an opset from the future": "model-opset-future",
    "weights that are NaN": "model-weights-nan",
    "external data that is missing": "model-external-missing",
    "external data outside": "model-external-parent",
    "external data behind a link": "model-external-link",
    "data with other names": "data-input-missing",
    "data of another shape": "data-shape",
    "data of another dtype": "data-dtype-float64",
    "data without labels": "validate-labels-missing",
    "unknown keys and wrong types": "project-many",
    "no YAML at all": "project-syntax",
    "a cycle between stages": "run-cycle",
    "a gate on nothing": "validate-gate-unknown",
    "a gate on nothing in the project": "project-gate-unknown",
    "a stage command that fails": "run-command-failed",
    "no space on the disk": "disk-full",
    "Ctrl-C": "run-interrupted",
}
GOLDEN = Path(__file__).parent.parent / "golden" / "errors"


@pytest.mark.parametrize("case", LIST)
def test_text_says_what_where_why_and_what_to_do(case):
    """Each text of the list is held by a test beside the verb; here, that it is whole."""
    text = (GOLDEN / f"{LIST[case]}.txt").read_text()
    assert "error: " in text
    assert "fix: " in text
    assert "Traceback" not in text
    codes = re.findall(r"\[([a-z-]+)\]$", text, re.MULTILINE)
    assert codes
    assert set(codes) <= set(texts())


@pytest.fixture
def project(tmp_path):
    """Return a project around the tiny model, with nothing wrong yet."""
    root = build_tree(tmp_path / "shop", {"edgeops.yaml": YAML})
    model = write_tiny_model(root / "model.onnx")
    write_tiny_data(root / "calibration.npz", model)
    write_tiny_data(root / "evaluation.npz", model, count=100, seed=2)
    return root


def lfs(root):
    (root / "model.onnx").write_bytes(bad.LFS)


def nan(root):
    bad.changed(root / "model.onnx", lambda proto: bad.weight(proto, 0, np.nan))


def future(root):
    bad.changed(root / "model.onnx", lambda proto: setattr(proto.opset_import[0], "version", 999))


def outside(root):
    bad.external(root / "model.onnx", "../weights.bin")


def gone(root):
    (root / "model.onnx").unlink()


def no_data(root):
    (root / "evaluation.npz").unlink()


def no_labels(root):
    bad.data(root / "evaluation.npz", x=np.zeros((6, 4), "float32"))


def misfit(root):
    bad.data(root / "calibration.npz", x=np.zeros((6, 5), "float32"))
    bad.data(root / "evaluation.npz", x=np.zeros((6, 4), "float64"), labels=np.zeros(6, int))


def gate(root):
    text = (root / "edgeops.yaml").read_text()
    (root / "edgeops.yaml").write_text(text.replace('{accuracy: "', '{acuracy: "'))


def unsupported(root):
    bad.custom_operator(root / "model.onnx")
    for name in ("calibration", "evaluation"):
        bad.data(root / f"{name}.npz", x=np.zeros((6, 4), "float32"), labels=np.zeros(6, int))


def features(root):
    """Pictures of 2 by 3 pixels for a model of 4 numbers, and data that only a function gives."""
    text = (root / "edgeops.yaml").read_text()
    data = "{evaluation: 'rows:labelled', features: features.yaml}"
    text = text.replace("{calibration: calibration.npz, evaluation: evaluation.npz}", data)
    (root / "edgeops.yaml").write_text(text)
    (root / "rows.py").write_text("def labelled(): ...\n")
    photo = {"kind": "image", "steps": [{"resize": {"width": 2, "height": 3}}]}
    document = {"format": "edgeops.features/1", "inputs": {"photo": photo}}
    document["outputs"] = {"x": {"from": "photo"}}
    (root / "features.yaml").write_text(json.dumps(document))


def metric(root):
    text = (root / "edgeops.yaml").read_text()
    (root / "edgeops.yaml").write_text(text.replace("metric: accuracy", "metric: acuracy"))


def channel(root):
    text = (root / "edgeops.yaml").read_text()
    publish = "pack: {}\n  publish: {to: releases, channel: my beta}"
    (root / "edgeops.yaml").write_text(text.replace("pack: {}", publish))


def many(root):
    gate(root)
    no_labels(root)
    text = (root / "edgeops.yaml").read_text()
    (root / "edgeops.yaml").write_text(text.replace("pack: {}", "pack: {include: [labels.txt]}"))


CASES = {
    "lfs-pointer": (lfs, 3, {"model-lfs-pointer"}),
    "weights-nan": (nan, 3, {"model-weights-nan"}),
    "opset-future": (future, 3, {"model-opset-future"}),
    "external-outside": (outside, 3, {"external-outside"}),
    "model-gone": (gone, 3, {"dep-missing"}),
    "data-gone": (no_data, 3, {"dep-missing"}),
    "labels-missing": (no_labels, 3, {"labels-missing"}),
    "data-misfit": (misfit, 3, {"data-shape", "data-dtype"}),
    "features-misfit": (features, 3, {"features-model"}),
    "metric-unknown": (metric, 4, {"plugin-unknown"}),
    "channel": (channel, 3, {"name-invalid"}),
    "gate-unknown": (gate, 3, {"gate-unknown"}),
    "operator": (unsupported, 5, {"operator-unsupported"}),
    "several": (many, 3, {"gate-unknown", "labels-missing", "include-missing"}),
}


def _state(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("case", CASES)
def test_project_is_refused_before_anything_is_written(case, project, capsys, golden):
    spoil, exit_code, codes = CASES[case]
    spoil(project)
    before = _state(project)
    for extra in ([], ["--dry-run"]):
        assert main(["-C", str(project), "run", *extra]) == exit_code
        text = capsys.readouterr().err
        assert main(["-C", str(project), "run", *extra, "--json"]) == exit_code
        document = json.loads(capsys.readouterr().out)
        found = {finding["code"] for finding in document["findings"]}
        assert codes <= found
        assert document["error"]["code"] in found
        assert _state(project) == before
    text = text.replace(f"onnx {onnx.__version__}", "onnx <version>")
    golden(f"errors/project-{case}.txt", re.sub(r"(ai.onnx up to) \d+", r"\1 <newest>", text))


def test_file_that_a_finished_stage_did_not_make_is_missed_before_a_run(tmp_path, capsys):
    text = """
        project: p
        version: 1.0.0
        model: model.onnx
        stages:
          train:
            run: mkdir -p data && echo it > model.onnx && echo it > data/rows
            outs: [model.onnx, data]
          count: {run: wc -l data/ROWS, deps: [data/ROWS]}
    """
    root = build_tree(tmp_path / "p", {"edgeops.yaml": text.replace("ROWS", "rows")})
    assert main(["-C", str(root), "run"]) == 0
    build_tree(root, {"edgeops.yaml": text.replace("ROWS", "rwos")})
    capsys.readouterr()
    assert main(["-C", str(root), "run", "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "dep-missing"
    assert error["why"] == "train makes data, and it is not in there"
    assert error["fix"] == f"did you mean {root}/data/rows?"


@pytest.mark.slow
def test_project_without_a_fault_runs(project):
    """What the cases above spoil is whole before."""
    assert main(["-C", str(project), "run"]) == 0


def test_unreadable_lock_is_told_with_what_brings_it_back(tmp_path, capsys, golden):
    root = build_tree(
        tmp_path / "p",
        {
            "edgeops.yaml": """
                project: p
                version: 1.0.0
                model: model.onnx
                stages:
                  train: {run: echo it > model.onnx, outs: [model.onnx]}
            """
        },
    )
    assert main(["-C", str(root), "run"]) == 0
    lock = (root / "dvc.lock").read_text()
    (root / "dvc.lock").write_text(lock + "<<<<<<< HEAD\n")
    capsys.readouterr()
    assert main(["-C", str(root), "run"]) == 3
    text = capsys.readouterr().err
    assert "[lock-unusable]" in text
    golden("errors/run-lock-unusable.txt", text[: text.index("why:")])
    (root / "dvc.lock").unlink()
    assert main(["-C", str(root), "run"]) == 0
    assert (root / "dvc.lock").read_text() == lock
