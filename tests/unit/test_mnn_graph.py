"""Every change that the MNN converter makes to a graph keeps what the graph computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeops.convert.engines.mnn_graph import adapt
from edgeops.convert.engines.rewrite import attribute
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession
from tests.unit._small_models import model, node

RANDOM = np.random.default_rng(5)


def floats(*shape):
    return RANDOM.standard_normal(shape).astype("float32")


X = floats(2, 3, 9, 7)
LINE = floats(2, 3, 11)
CASES = {
    "less": ([node("Less", "x c", "y")], X, "bool", {"c": floats(7)}),
    "scalar": ([node("Add", "c x", "y")], X, "float32", {"c": np.full((1, 1, 1), 2, "float32")}),
    "scalar-wide": ([node("Add", "c x", "y")], LINE, "float32", {"c": floats(1, 1, 1, 1)}),
    "pool": ([node("MaxPool", "x", "y", kernel_shape=[3, 2])], X, "float32", {}),
    "ceil": (
        [node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1, pads=[1] * 4)],
        X,
        "float32",
        {},
    ),
    "ceil-average": (
        [node("AveragePool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
        X,
        "float32",
        {},
    ),
    "line": (
        [node("Conv", "x w b", "y", pads=[2, 1], strides=[2], kernel_shape=[3])],
        LINE,
        "float32",
        {"w": floats(4, 3, 3), "b": floats(4)},
    ),
    "line-transposed": (
        [node("ConvTranspose", "x w", "y", output_padding=[1], strides=[2])],
        LINE,
        "float32",
        {"w": floats(3, 4, 3)},
    ),
    "line-pool": ([node("AveragePool", "x", "y", kernel_shape=[4])], LINE, "float32", {}),
    "reduce": (
        [node("ReduceL2", "x a", "y", keepdims=0)],
        X,
        "float32",
        {"a": np.array([1, -1])},
        18,
    ),
    "reduce-all": ([node("ReduceSum", "x", "y")], X, "float32", {}),
    "reduce-nothing": ([node("ReduceSum", "x", "y", noop_with_empty_axes=1)], X, "float32", {}),
    "gather": (
        [node("GatherElements", "x i", "y", axis=1)],
        X[0, 0],
        "float32",
        {"i": RANDOM.integers(-7, 7, (9, 7))},
    ),
    "gemm": (
        [node("Gemm", "x w", "y", transA=1, alpha=0.5)],
        X[0, 0],
        "float32",
        {"w": floats(9, 4)},
    ),
    "power": ([node("Pow", "x e", "y")], X, "float32", {"e": np.array(3)}),
    "slope": ([node("PRelu", "x s", "y")], X, "float32", {"s": floats(9, 7)}),
    "slope-channel": ([node("PRelu", "x s", "y")], X, "float32", {"s": floats(3, 1, 1)}),
    "split": (
        [node("Split", "x", "y z", num_outputs=2, axis=2)],
        X,
        "float32",
        {},
        18,
    ),
    "clip": (
        [node("Clip", "x lo hi", "y")],
        X,
        "float32",
        {"lo": np.float32(1), "hi": np.float32(-1)},
    ),
    "pad": (
        [node("Pad", "x p - a", "y")],
        X,
        "float32",
        {"p": np.array([1, 0, 2, 3]), "a": np.array([-1, 1])},
        18,
    ),
    "resize": (
        [node("Resize", "x - s", "y", axes=[3, 2], mode="nearest")],
        X,
        "float32",
        {"s": np.array([2, 3], "float32")},
        18,
    ),
    "one": ([node("Max", "x", "y")], X, "float32", {}),
    "dropout": ([node("Dropout", "x", "y")], X, "float32", {}),
    "lstm": (
        [node("LSTM", "x w r", "- y", hidden_size=4)],
        floats(5, 2, 3),
        "float32",
        {"w": floats(1, 16, 3), "r": floats(1, 16, 4)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_change_keeps_the_answer(name):
    nodes, x, dtype, constants, *opset = CASES[name]
    outputs = [made for made in nodes[-1].output if made]
    proto = model(nodes, {"x": x}, dict.fromkeys(outputs, (dtype, None)), constants, *opset)
    expected = OnnxRuntimeSession(proto.SerializeToString()).run({"x": x})
    adapt(proto)
    if name != "reduce":  # MNN reads these axes where older opsets had them
        onnx.checker.check_model(proto)
    else:
        proto.opset_import[0].version = 17
    found = OnnxRuntimeSession(proto.SerializeToString()).run({"x": x})
    for output in outputs:
        np.testing.assert_allclose(found[output], expected[output], rtol=1e-5, atol=1e-6)


def test_less_becomes_greater_with_its_operands_swapped():
    proto = model([node("Less", "x c", "y")], {"x": X}, {"y": ("bool", None)}, {"c": floats(7)})
    adapt(proto)
    assert [(n.op_type, list(n.input)) for n in proto.graph.node] == [("Greater", ["c", "x"])]


def test_what_is_left_out_gets_stated():
    proto = model(
        [node("MaxPool", "x", "y", kernel_shape=[3, 2])], {"x": X}, {"y": ("float32", None)}
    )
    adapt(proto)
    stated = {item.name: list(item.ints) or item.i for item in proto.graph.node[0].attribute}
    assert stated["strides"] == [1, 1]
    assert stated["pads"] == [0, 0, 0, 0]
    assert stated["ceil_mode"] == 0


def test_a_last_window_that_starts_in_the_padding_is_left_out():
    pool = node("MaxPool", "x", "y", kernel_shape=[1, 1], strides=[2, 2], ceil_mode=1)
    x = floats(1, 1, 2, 2)
    proto = model([pool], {"x": x}, {"y": ("float32", None)}, opset=22)
    adapt(proto)
    assert attribute(proto.graph.node[0], "ceil_mode") == 0
    answer = OnnxRuntimeSession(proto.SerializeToString()).run({"x": x})["y"]
    assert answer.tolist() == x[:, :, :1, :1].tolist()
