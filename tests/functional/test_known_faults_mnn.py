"""Models on which MNN or its converter was seen to fail or lie: each ends proven or refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.core.variant import TensorInfo
from edgeops.errors import RefusedError
from edgeops.runtime.engines.mnn import MnnSession
from tests.functional._engine_corpus import convert

pytest.importorskip("MNN", reason="the extra [mnn] is not installed")

RANDOM = np.random.default_rng(7)


def save(path, nodes, inputs, outputs, weights, opset=17):
    """Write a model; inputs and outputs are shapes by name."""
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side]
        for side in (inputs.items(), outputs.items())
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", *values, tensors)
    if opset < 9:
        raise ValueError(opset)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def weight(*shape):
    return (RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype("float32")


def shuffle_unit(index, channels, groups):
    """Return the nodes and weights of a unit of ShuffleNet, as old exporters write it."""
    name = f"u{index}"
    part = channels // groups
    node = helper.make_node
    before = f"u{index - 1}_out" if index else "x"
    nodes = [
        node("Conv", [before, f"{name}_w1"], [f"{name}_a"], group=groups),
        node(
            "BatchNormalization",
            [f"{name}_a", *(f"{name}_{k}" for k in ("scale", "bias", "mean", "var"))],
            [f"{name}_b"],
        ),
        node("Relu", [f"{name}_b"], [f"{name}_c"]),
        node("Reshape", [f"{name}_c", f"{name}_split"], [f"{name}_d"]),
        node("Transpose", [f"{name}_d"], [f"{name}_e"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", [f"{name}_e", f"{name}_join"], [f"{name}_f"]),
        node("Conv", [f"{name}_f", f"{name}_w2"], [f"{name}_g"], group=channels, pads=[1] * 4),
        node("Sum", [f"{name}_g", before], [f"{name}_out"]),
    ]
    weights = {
        f"{name}_w1": weight(channels, part, 1, 1),
        f"{name}_w2": weight(channels, 1, 3, 3),
        f"{name}_split": np.array([0, groups, part, 8, 8], "int64"),
        f"{name}_join": np.array([0, channels, 8, 8], "int64"),
        f"{name}_scale": RANDOM.uniform(0.5, 20, channels).astype("float32"),
        f"{name}_bias": weight(channels),
        f"{name}_mean": weight(channels),
        f"{name}_var": RANDOM.uniform(0.5, 2, channels).astype("float32"),
    }
    return nodes, weights


def test_unsimplified_shuffle_net_is_proven(tmp_path, capsys):
    """MNN answered 200 times too large, at a cosine of 0.9988."""
    nodes, weights = [], {}
    for index in range(3):
        more, new = shuffle_unit(index, 24, 3)
        nodes += more
        weights |= new
    model = save(
        tmp_path / "m.onnx",
        nodes,
        {"x": [1, 24, 8, 8]},
        {"u2_out": [1, 24, 8, 8]},
        weights,
        opset=9,
    )
    code, result = convert(tmp_path, model, "mnn", capsys)
    assert code == 0, result
    assert result["parity"]["passed"] is True
    assert result["parity"]["norm_ratio"] == pytest.approx(1, abs=1e-4)


def test_rank_four_softmax_of_an_old_opset_is_proven(tmp_path, capsys):
    """Before opset 13 it is over all axes from the first; MNN took the second alone."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Softmax", ["p"], ["y"]),
    ]
    weights = {"w": weight(10, 3, 1, 1) * 4}
    sides = {"x": [2, 3, 8, 8]}, {"y": [2, 10, 1, 1]}
    model = save(tmp_path / "m.onnx", nodes, *sides, weights, opset=9)
    code, result = convert(tmp_path, model, "mnn", capsys)
    assert code == 0, result
    assert result["parity"]["passed"] is True


@pytest.mark.parametrize("outputs", [["y", "h", "c"], ["y"], ["", "h"]])
def test_lstm_without_its_optional_inputs_is_proven(outputs, tmp_path, capsys):
    """The converter died of bad_alloc, as of what torch's newer exporter writes."""
    sizes = {"y": [5, 1, 2, 6], "h": [1, 2, 6], "c": [1, 2, 6]}
    model = save(
        tmp_path / "m.onnx",
        [helper.make_node("LSTM", ["x", "w", "r", "b", "", "", ""], outputs, hidden_size=6)],
        {"x": [5, 2, 4]},
        {name: sizes[name] for name in outputs if name},
        {"w": weight(1, 24, 4), "r": weight(1, 24, 6), "b": weight(1, 48)},
    )
    code, result = convert(tmp_path, model, "mnn", capsys)
    assert code == 0, result
    assert result["parity"]["passed"] is True


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1), (1,)])
@pytest.mark.parametrize("first", [True, False])
def test_constant_of_one_element_keeps_its_value(first, shape, tmp_path, capsys):
    """As the first operand, with axes, it was taken for four values: itself and zeros."""
    operands = ["one", "c"] if first else ["c", "one"]
    model = save(
        tmp_path / "m.onnx",
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Sub", operands, ["y"])],
        {"x": [2, 3, 7]},
        {"y": [2, 6, 7]},
        {"w": weight(6, 3, 1), "one": np.full(shape, 3, "float32")},
    )
    code, result = convert(tmp_path, model, "mnn", capsys)
    assert code == 0, result
    assert result["parity"]["passed"] is True


def test_published_int8_file_that_answers_with_no_outputs_is_refused(corpus, capfd):
    session = MnnSession(
        corpus / "ultraface_rfb320/RFB-320-quant-KL-5792.mnn",
        (TensorInfo("input", (1, 3, 240, 320), "float32"),),
        (
            TensorInfo("scores", (1, 4420, 2), "float32"),
            TensorInfo("boxes", (1, 4420, 4), "float32"),
        ),
    )
    with pytest.raises(RefusedError) as caught:
        session.run({"input": np.zeros((1, 3, 240, 320), "float32")})
    assert caught.value.code == "engine-run-failed"
    assert "0 of 2 outputs" in caught.value.why
    assert "EltwiseInt8" in caught.value.why
    assert capfd.readouterr().out == ""


def test_operator_that_mnn_lacks_is_refused_before(tmp_path, capsys):
    model = save(
        tmp_path / "m.onnx",
        [helper.make_node("Hardmax", ["x"], ["y"], name="hard")],
        {"x": [1, 4]},
        {"y": [1, 4]},
        {},
    )
    code, result = convert(tmp_path, model, "mnn", capsys)
    assert (code, result["error"]["code"]) == (5, "operator-unsupported")
    assert result["findings"][0]["node"] == "hard"
    assert "openvino" in result["findings"][0]["alternatives"]
