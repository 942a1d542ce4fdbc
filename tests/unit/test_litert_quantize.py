"""Roundings to integers that LiteRT's own kernels do not do are done by arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit._litert import check_op, one_node, refusal

X = np.array(
    [[-300.0, -1.2, 0.2], [0.7, 1.2, 70000.0]], "float32"
)  # no halves: LiteRT rounds them away from zero


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("zero", [0, 7])
def test_numbers_become_integers_and_saturate(dtype, zero):
    inputs = {"x": X, "scale": np.float32(0.5), "zero": np.array(zero, dtype)}
    ends = np.iinfo(dtype)
    want = np.clip(np.rint(X / 0.5) + zero, ends.min, ends.max).astype(dtype)
    model = one_node("QuantizeLinear", inputs, constants=["scale", "zero"], opset=21)
    check_op(model, inputs, expected=[want])


def test_each_channel_has_a_scale_and_a_zero_point_of_its_own():
    inputs = {
        "x": X,
        "scale": np.array([0.5, 2, 1000], "float32"),
        "zero": np.array([0, 1, -3], "int8"),
    }
    model = one_node("QuantizeLinear", inputs, constants=["scale", "zero"], axis=1)
    check_op(model, inputs, expected=[np.array([[-128, 0, -3], [1, 2, 67]], "int8")])


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16"])
def test_integers_become_numbers(dtype):
    inputs = {
        "q": np.array([0, 5, 100], dtype),
        "scale": np.float32(0.5),
        "zero": np.array(4, dtype),
    }
    model = one_node("DequantizeLinear", inputs, constants=["scale", "zero"], opset=21)
    check_op(model, inputs, expected=[np.array([-2, 0.5, 48], "float32")])


def test_a_scale_that_is_computed_is_refused():
    inputs = {"x": X, "scale": np.float32(0.5), "zero": np.array(0, "int8")}
    assert refusal(one_node("QuantizeLinear", inputs)).code == "constant-needed"
