"""Parameters and multiply-accumulates against figures counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.model.macs import macs, parameters


def model(node, shape, weight, *, extra=()):
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(weight, "float32"), "w"), *extra],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(operator, **attributes):
    return helper.make_node(operator, ["x", "w"], ["y"], name="node", **attributes)


@pytest.mark.parametrize(
    ("layer", "shape", "weight", "expected"),
    [
        # 16 x 30 x 30 outputs, each 3 x 3 x 3 products
        (node("Conv"), [1, 3, 32, 32], (16, 3, 3, 3), 16 * 30 * 30 * 27),
        # depthwise: each output has one channel's 3 x 3 products
        (node("Conv", group=8), [1, 8, 10, 10], (8, 1, 3, 3), 8 * 8 * 8 * 9),
        (node("Conv", strides=[2, 2]), [1, 3, 33, 33], (4, 3, 3, 3), 4 * 16 * 16 * 27),
        # every input element goes into 4 channels of 2 x 2
        (node("ConvTranspose", strides=[2, 2]), [1, 3, 5, 5], (3, 4, 2, 2), 3 * 25 * 16),
        (node("Gemm"), [1, 10], (10, 7), 70),
        (node("Gemm", transB=1), [1, 10], (7, 10), 70),
        (node("MatMul"), [1, 6, 10], (10, 7), 6 * 70),
        (node("MatMul"), ["N", 6, 10], (10, 7), 6 * 70),
    ],
)
def test_multiply_accumulates_of_one_layer(layer, shape, weight, expected):
    assert macs(model(layer, shape, weight)) == (expected, "")


def test_open_axis_makes_them_unknown_and_names_the_node():
    count, reason = macs(model(node("Conv"), ["N", 3, "H", "W"], (16, 3, 3, 3)))
    assert count is None
    assert "'node'" in reason


def test_operator_without_a_formula_makes_them_unknown():
    count, reason = macs(model(node("Einsum", equation="ij,jk->ik"), [2, 3], (3, 4)))
    assert (count, reason) == (None, "no formula for Einsum")


def test_parameters_are_learned_numbers_not_shapes():
    shape = numpy_helper.from_array(np.array([1, 2, 3]), "shape")
    assert parameters(model(node("Gemm"), [1, 10], (10, 7), extra=[shape])) == 70
