"""OpenVINO's table against its own front end: what that leaves unconverted is not in the table."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import onnx
import pytest

from edgeops.convert.support.tables import table
from edgeops.runtime.engines.quiet import hushed

pytest.importorskip("openvino", reason="the extra [openvino] is not installed")

SCRIPTS = str(Path(__file__).parents[2] / "scripts")


@pytest.fixture
def cases(monkeypatch):
    """Return the operator cases of the onnx package."""
    monkeypatch.syspath_prepend(SCRIPTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from node_cases import node_cases

        yield list(node_cases("*", ("given",)))
    sys.modules.pop("node_cases")


def is_converted(path):
    """Return whether the front end leaves nothing of a model file as it was."""
    from openvino.frontend import FrontEndManager

    front = FrontEndManager().load_by_framework("onnx")
    with hushed():
        converted = front.convert_partially(front.load(str(path)))
    return not any("FrameworkNode" in node.get_type_name() for node in converted.get_ops())


@pytest.mark.slow
def test_front_end_converts_every_operator_of_the_table(cases, tmp_path):
    known, converted = set(table("openvino").operators), set()
    for case in cases:
        (op, *more) = (node.op_type for node in case.model.graph.node)
        if not more and op in known - converted:
            onnx.save(case.model, tmp_path / "case.onnx")
            if is_converted(tmp_path / "case.onnx"):
                converted.add(op)
    assert known - converted == set()
    assert len(converted) > 150


def test_front_end_leaves_what_it_has_no_rule_for(cases, tmp_path):
    det = next(case for case in cases if case.name == "det_2d")
    onnx.save(det.model, tmp_path / "case.onnx")
    assert not is_converted(tmp_path / "case.onnx")
