"""ONNX Runtime's table against ONNX Runtime, over the node cases of the onnx package."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeops.convert.engines.onnxruntime import OnnxRuntimeConverter
from edgeops.convert.support.tables import HERE, table
from edgeops.core.contracts import ConvertOptions
from edgeops.errors import InputError, RefusedError
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

SCRIPT = Path(__file__).parents[2] / "scripts" / "support_onnxruntime.py"
# float8_e4m3fn is the one type that numpy lacks and the engine still hands over, as bytes.
REFUSED_AND_RUN = {
    f"test_cast_{saturate}{name}_to_FLOAT8E4M3FN"
    for saturate in ("", "no_saturate_")
    for name in ("FLOAT", "FLOAT16")
}


def test_table_is_what_the_installed_engine_lists():
    if table("onnxruntime").version != onnxruntime.__version__:
        pytest.skip("the table was made from another version of the engine")
    spec = importlib.util.spec_from_file_location("support_onnxruntime", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.written() == (HERE / "onnxruntime.toml").read_text(), f"run {SCRIPT.name}"


@pytest.mark.slow
def test_every_case_is_refused_before_or_runs():
    refused_and_run, taken_and_failed, counts = set(), {}, {"ran": 0, "refused": 0}
    for case in _cases():
        model = onnx.shape_inference.infer_shapes(case.model)
        findings = OnnxRuntimeConverter().check(model, ConvertOptions())
        failure = _failure(case)
        counts["refused" if findings else "ran"] += 1
        if findings and not failure:
            refused_and_run.add(case.name)
        if failure and not findings:
            taken_and_failed[case.name] = failure
    assert taken_and_failed == {}
    assert refused_and_run == REFUSED_AND_RUN
    assert counts["ran"] > 1500
    assert counts["refused"] > 200


def _cases():
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy overflows in what the cases expect
        return list(collect_testcases(None))


def _failure(case):
    graph = case.model.graph
    values = [*graph.input, *graph.output]
    if any(value.type.WhichOneof("value") != "tensor_type" for value in values):
        return "no tensors"
    names = [value.name for value in graph.input]
    try:
        session = OnnxRuntimeSession(case.model.SerializeToString())
        session.run(dict(zip(names, map(_array, case.data_sets[0][0]), strict=False)))
    except (RefusedError, InputError) as error:
        return error.why or error.what
    return ""


def _array(value):
    return onnx.numpy_helper.to_array(value) if hasattr(value, "data_type") else np.asarray(value)
