"""Data are read once, however many stages and targets of a run look at them."""

from __future__ import annotations

import sys

import pytest

from edgeops.cli import main
from tests.helpers import build_tree, write_tiny_data, write_tiny_model
from tests.unit._bundles import make_variant

YAML = """
    project: shop
    version: 1.0.0
    model: model.onnx
    data: {calibration: "rows:drawn", evaluation: evaluation.npz}
    targets:
      gateway: {engine: onnxruntime, precision: int8}
      camera: {engine: onnxruntime, precision: int8, threads: 2}
      desktop: {engine: onnxruntime, precision: fp32}
    stages:
      convert: {}
      quantize: {max_drop: 0.1}
      validate: {metric: accuracy}
"""
ROWS = """
    import pathlib
    import numpy as np

    HERE = pathlib.Path(__file__).parent

    def drawn():
        with (HERE / "calls").open("a") as file:
            file.write("x")
        yield dict(np.load(HERE / "evaluation.npz"))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "rows", raising=False)
    root = build_tree(tmp_path / "shop", {"edgeops.yaml": YAML, "rows.py": ROWS})
    model = write_tiny_model(root / "model.onnx")
    write_tiny_data(root / "evaluation.npz", model, count=40)
    return root


def test_preflight_of_all_targets_asks_a_function_once(project):
    assert main(["-C", str(project), "run", "--dry-run"]) == 0
    assert (project / "calls").read_text() == "x"


def test_validate_asks_a_function_once_for_the_variant_and_its_source(project):
    make_variant(project / "v")
    argv = ["validate", "v", "--evaluation", "rows:drawn", "--source", "v/model.onnx"]
    assert main(["-C", str(project), *argv, "--seconds", "0.05"]) == 0
    assert (project / "calls").read_text() == "x"
