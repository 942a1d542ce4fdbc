"""Faults of pnnx and ncnn that were seen before: each ends proven, or refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.cli import main
from edgeops.convert.engines.ncnn import NcnnConverter
from edgeops.core.contracts import ConvertOptions
from edgeops.errors import RefusedError
from edgeops.model.load import load_model
from edgeops.model.prepare import prepare

pytest.importorskip("ncnn", reason="the extra [ncnn] is not installed")
if NcnnConverter().available() is not None:
    pytest.skip("pnnx is not installed", allow_module_level=True)

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def save(folder, nodes, inputs, outputs, constants=None, opset=17):
    """Write a model; inputs and outputs are (name, type, shape)."""
    sides = [
        [helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", *sides, weights),
        opset_imports=[helper.make_opsetid("", opset)],
    )
    model.ir_version = 8
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def suppression(folder):
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most"], ["kept"], name="n")
    inputs = [("boxes", FLOAT, [1, 6, 4]), ("scores", FLOAT, [1, 1, 6])]
    outputs = [("kept", INT64, ["K", 3])]
    return save(folder, [node], inputs, outputs, {"most": np.array([3])})


def nonzero(folder):
    node = helper.make_node("NonZero", ["x"], ["y"], name="n")
    return save(folder, [node], [("x", FLOAT, [2, 3])], [("y", INT64, [2, "K"])])


def determinant(folder):
    node = helper.make_node("Det", ["x"], ["y"], name="n")
    return save(folder, [node], [("x", FLOAT, [2, 3, 3])], [("y", FLOAT, [2])])


def convert(folder, model, capsys, *options):
    """Return the exit code and the JSON of ``edgeops convert``."""
    argv = ["-C", str(folder), "convert", str(model), "--to", "ncnn", "-o", "v", "--json"]
    code = main([*argv, *options])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("build", [suppression, nonzero, determinant])
def test_graph_that_pnnx_answers_with_status_0_is_refused_by_check_and_by_the_converter(
    build, tmp_path, capsys
):
    model = build(tmp_path)
    code, result = convert(tmp_path, model, capsys)
    assert code == 5
    assert result["findings"][0]["node"] == "n"
    (tmp_path / "out").mkdir()
    with pytest.raises(RefusedError) as caught:
        NcnnConverter().convert(
            prepare(load_model(model).proto).proto, tmp_path / "out", ConvertOptions()
        )
    assert caught.value.code == "conversion-failed"
    assert list((tmp_path / "out").iterdir()) == []


def test_operator_that_pnnx_leaves_under_the_name_of_another_layer_does_not_reach_ncnn(tmp_path):
    # ncnn's own layer Slice splits a blob; given ONNX's it ends the process.
    node = helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"], name="n")
    ends = {"s": [0], "e": [8], "a": [1], "t": [2]}
    constants = {name: np.array(value) for name, value in ends.items()}
    model = save(tmp_path, [node], [("x", FLOAT, [1, 8])], [("y", FLOAT, [1, 4])], constants)
    (tmp_path / "out").mkdir()
    prepared = prepare(load_model(model).proto).proto
    assert [f.details["node"] for f in NcnnConverter().check(prepared, ConvertOptions())] == ["n"]
    with pytest.raises(RefusedError) as caught:
        NcnnConverter().convert(prepared, tmp_path / "out", ConvertOptions())
    assert caught.value.code == "conversion-failed"


def test_operator_that_crashes_pnnx_is_refused(tmp_path, capsys):
    node = helper.make_node("MagicScale", ["x"], ["y"], name="n", domain="com.acme")
    model = helper.make_model(
        helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("x", FLOAT, [1, 4])],
            [helper.make_tensor_value_info("y", FLOAT, [1, 4])],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)],
    )
    model.ir_version = 8
    onnx.save(model, tmp_path / "m.onnx")
    code, result = convert(tmp_path, tmp_path / "m.onnx", capsys)
    assert (code, result["error"]["code"]) == (5, "operator-unsupported")
    with pytest.raises(RefusedError) as caught:
        NcnnConverter().convert(model, tmp_path, ConvertOptions())
    assert caught.value.code == "conversion-failed"


def test_magika_which_crashes_pnnx_is_refused_before(corpus, tmp_path, capsys):
    code, result = convert(tmp_path, corpus / "magika_v3_3/model.onnx", capsys)
    assert code == 5
    assert "Equal" in {finding["op"] for finding in result["findings"]}
    with pytest.raises(RefusedError) as caught:
        NcnnConverter().convert(
            prepare(load_model(corpus / "magika_v3_3/model.onnx").proto).proto,
            tmp_path,
            ConvertOptions(),
        )
    assert caught.value.code == "conversion-failed"


def test_same_upper_pooling_of_onet_is_proven(corpus, tmp_path, capsys):
    faces = np.load(corpus / "mtcnn/reference.npz")["onet_in"]
    np.savez(tmp_path / "data.npz", input_3=faces)
    code, result = convert(tmp_path, corpus / "mtcnn/onet.onnx", capsys, "--data", "data.npz")
    assert code == 0, result
    assert result["parity"]["max_rel"] < 1e-4


def test_softmax_of_opset_9_is_proven(tmp_path, capsys):
    # Before opset 13 it went over all axes from the stated one on; pnnx takes it for one axis.
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Softmax", ["r"], ["y"])]
    shape = [1, 5, 2, 3]
    model = save(tmp_path, nodes, [("x", FLOAT, shape)], [("y", FLOAT, shape)], opset=9)
    code, result = convert(tmp_path, model, capsys)
    assert code == 0, result
    assert result["parity"]["max_rel"] < 1e-4


@pytest.mark.parametrize("exponent", [3.0, 0.5, 1.7])
def test_powers_of_zero_and_below_are_right_or_refused(exponent, tmp_path, capsys):
    # ncnn takes powers by the logarithm: 2.4e38 for zero and for negative numbers.
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Pow", ["r", "e"], ["y"])]
    ends = [("x", FLOAT, [1, 8])], [("y", FLOAT, [1, 8])]
    model = save(tmp_path, nodes, *ends, {"e": np.float32(exponent)})
    code, result = convert(tmp_path, model, capsys)
    if exponent == 1.7:
        assert (code, result["error"]["code"]) == (5, "attribute-unsupported")
    else:
        assert code == 0, result


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_networks_of_the_onnx_package_end_proven_or_refused(name, tmp_path, capsys):
    light = Path(onnx.__file__).parent / "backend/test/data/light"
    code, result = convert(tmp_path, light / f"light_{name}.onnx", capsys)
    assert code in (0, 5), result
    assert code == 5 or result["parity"]["passed"] is True
    assert result.get("error", {}).get("code") not in ("convert-crashed", "convert-timeout")
