"""A quantized ONNX graph becomes a LiteRT model that works on integers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("ai_edge_litert", reason="needs edgeops[litert]")

from edgeops.model.tflite import read_tflite
from tests.unit._litert import run_litert, run_onnx, to_tflite

RANDOM = np.random.default_rng(11)


class Graph:
    """A quantized graph being written: every value is rounded to integers and back."""

    def __init__(self, dtype="int8"):
        self.nodes, self.constants, self.dtype, self.count = [], [], np.dtype(dtype), 0

    def const(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def qdq(self, name, scale, zero=3):
        """Return ``name`` after rounding; zero points of uint8 lie 128 higher."""
        self.count += 1
        tag = f"{name}.{self.count}"
        shift = 128 if self.dtype == np.uint8 else 0
        operands = [
            self.const(f"{tag}.scale", np.float32(scale)),
            self.const(f"{tag}.zero", np.array(zero + shift, self.dtype)),
        ]
        self.nodes += [
            helper.make_node("QuantizeLinear", [name, *operands], [f"{tag}.q"]),
            helper.make_node("DequantizeLinear", [f"{tag}.q", *operands], [f"{tag}.dq"]),
        ]
        return f"{tag}.dq"

    def weights(self, name, shape, axis=0, *, per_channel=True):
        """Return int8 weights as numbers, with one scale a channel or one for all."""
        count = shape[axis] if per_channel else 1
        scale = RANDOM.uniform(0.005, 0.02, count).astype("float32")
        scale = scale if per_channel else scale[0]
        data = RANDOM.integers(-127, 128, shape).astype("int8")
        operands = [
            self.const(f"{name}.int8", data),
            self.const(f"{name}.scale", scale),
            self.const(f"{name}.zero", np.zeros_like(scale, "int8")),
        ]
        self.nodes.append(helper.make_node("DequantizeLinear", operands, [name], axis=axis))
        return name

    def node(self, op, inputs, **attributes):
        self.count += 1
        out = f"{op}.{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [out], name=f"the_{out}", **attributes))
        return out

    def model(self, shape, output):
        graph = helper.make_graph(
            self.nodes,
            "quantized",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_empty_tensor_value_info(output)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def agree(model, shape, *, step, steps=2):
    """Hold LiteRT against ONNX Runtime to ``steps`` integers, and return the operators."""
    x = RANDOM.normal(0, 1, shape).astype("float32")
    content = to_tflite(model)
    (want,) = run_onnx(model, {"x": x})
    (got,) = run_litert(content, {"x": x}, [model.graph.output[0].name])
    assert got.dtype == want.dtype
    assert np.abs(got - want).max() <= steps * step + 1e-6
    assert np.abs(got - want).mean() <= 0.3 * step  # most are the same integer
    return Counter(operators(content))


def operators(content):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.tflite"
        path.write_bytes(content)
        return [operator.name for operator in read_tflite(path).subgraphs[0].operators]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_convolution_with_its_bias_works_on_integers(dtype, per_channel):
    g = Graph(dtype)
    x = g.qdq("x", 0.03)
    w = g.weights("w", (4, 3, 3, 3), per_channel=per_channel)
    bias = g.const("bias", RANDOM.normal(0, 0.5, 4).astype("float32"))
    y = g.node("Conv", [x, w, bias], pads=[1, 1, 1, 1])
    found = agree(g.model((1, 3, 8, 8), g.qdq(y, 0.05)), (1, 3, 8, 8), step=0.05)
    assert found["CONV_2D"] == found["QUANTIZE"] == found["DEQUANTIZE"] == 1


def network(g):
    """Return the output of a small network of what convolutional networks are made of."""
    x = g.qdq("x", 0.03)
    w1, b1 = g.weights("w1", (8, 3, 3, 3)), g.const("b1", RANDOM.normal(0, 0.5, 8).astype("f4"))
    y = g.node("Relu", [g.node("Conv", [x, w1, b1], pads=[1, 1, 1, 1], strides=[2, 2])])
    y = g.qdq(y, 0.05, -128)
    w2 = g.weights("w2", (8, 1, 3, 3))
    z = g.qdq(g.node("Conv", [y, w2], pads=[1, 1, 1, 1], group=8), 0.08)
    z = g.qdq(g.node("Add", [y, z]), 0.1)
    z = g.qdq(g.node("MaxPool", [z], kernel_shape=[2, 2], strides=[2, 2]), 0.1)
    both = g.qdq(g.node("Concat", [z, g.qdq(g.node("Mul", [z, z]), 0.2)], axis=1), 0.15)
    flat = g.qdq(g.node("GlobalAveragePool", [both]), 0.06)
    flat = g.node("Flatten", [flat])
    w3 = g.weights("w3", (5, 16), per_channel=False)
    b3 = g.const("b3", RANDOM.normal(0, 0.5, 5).astype("f4"))
    y = g.qdq(g.node("Gemm", [flat, w3, b3], transB=1), 0.02)
    return g.qdq(g.node("Softmax", [y], axis=1), 1 / 256, -128)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_whole_network_works_on_integers(dtype):
    g = Graph(dtype)
    shape = (1, 3, 16, 16)
    found = agree(g.model(shape, network(g)), shape, step=1 / 256)
    assert found["DEQUANTIZE"] == 1
    assert found["CONV_2D"] + found["DEPTHWISE_CONV_2D"] == 2


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh"])
def test_an_operator_with_a_scale_of_its_own_is_brought_to_the_wanted_one(op):
    g = Graph()
    y = g.qdq(g.node(op, [g.qdq("x", 0.03)]), 0.01, 0)
    assert agree(g.model((2, 6), y), (2, 6), step=0.01)["DEQUANTIZE"] == 1


def test_what_is_not_rounded_stays_in_floats():
    g = Graph()
    y = g.node("Exp", [g.qdq("x", 0.03)])
    found = agree(g.model((2, 6), g.qdq(y, 0.05)), (2, 6), step=0.05)
    assert found["EXP"] == 1
    assert found["DEQUANTIZE"] == 2


def test_weights_off_their_grid_stay_in_floats():
    g = Graph()
    x, w = g.qdq("x", 0.03), g.weights("w", (4, 3, 1, 1))
    half = g.const("half", np.full((4, 1, 1, 1), 0.37, "float32"))
    y = g.node("Conv", [x, g.node("Mul", [w, half])])
    found = agree(g.model((1, 3, 4, 4), g.qdq(y, 0.05)), (1, 3, 4, 4), step=0.05)
    assert found["DEQUANTIZE"] == 2
