from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit._litert import one_node, refusal
from tests.unit._litert_kernels import check_both, check_node, noise

SHAPES = [(2, 4, 5, 6), (2, 4, 5), (2, 4, 3, 3, 2)]


def shaped_like_x(op, inputs, *, constants=(), open_axes=None, opset, **attributes):
    """Return a model of a function operator, whose output's shape ONNX does not infer."""
    opened = open_axes or {}
    info = helper.make_tensor_value_info
    shape = [opened.get(axis, size) for axis, size in enumerate(inputs["x"].shape)]
    graph = helper.make_graph(
        [helper.make_node(op, list(inputs), ["y"], name=f"the_{op}", **attributes)],
        "case",
        [
            info(name, TensorProto.FLOAT, shape if name == "x" else array.shape)
            for name, array in inputs.items()
            if name not in constants
        ],
        [info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(inputs[name], name) for name in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    return model


@pytest.mark.parametrize("x", [(2, 3, 4, 5), (2, 3), (2, 3, 5), (2, 3, 2, 2, 3)])
def test_batch_normalization_answers_as_onnx_runtime(x):
    inputs = {"x": noise(*x), "s": noise(3), "b": noise(3, seed=1), "m": noise(3, seed=2)}
    inputs["v"] = np.abs(noise(3, seed=3)) + 0.1
    constants = ["s", "b", "m", "v"]
    check_node("BatchNormalization", inputs, constants=constants, epsilon=1e-3)
    check_node("BatchNormalization", inputs, constants=constants, open_axes={"x": {0: "N"}})
    check_node("BatchNormalization", inputs)


def test_batch_normalization_that_trains_is_refused():
    inputs = {"x": noise(2, 3, 4), "s": noise(3), "b": noise(3), "m": noise(3), "v": noise(3) ** 2}
    model = one_node("BatchNormalization", inputs, outputs=3, training_mode=1)
    error = refusal(model)
    assert (error.code, error.where) == ("attribute-unsupported", "the_BatchNormalization")


@pytest.mark.parametrize(
    ("axis", "scale"), [(-1, (5,)), (2, (4, 5)), (1, (3, 4, 5)), (-2, (4, 5)), (-2, (1, 5))]
)
def test_layer_normalization_answers_as_onnx_runtime(axis, scale):
    inputs = {"x": noise(2, 3, 4, 5), "s": noise(*scale), "b": noise(*scale, seed=1)}
    constants = ["s", "b"]
    for outputs in (1, 3):
        check_node("LayerNormalization", inputs, constants=constants, axis=axis, outputs=outputs)
    opened = {"x": {0: "N", 1: "L"}}
    check_node("LayerNormalization", inputs, constants=constants, axis=axis, open_axes=opened)
    del inputs["b"]
    check_node("LayerNormalization", inputs, axis=axis)
    check_node("RMSNormalization", inputs, axis=axis, opset=23)


@pytest.mark.parametrize("x", SHAPES)
def test_instance_normalization_answers_as_onnx_runtime(x):
    inputs = {"x": noise(*x), "s": noise(4), "b": noise(4, seed=1)}
    check_node("InstanceNormalization", inputs)
    opened = {"x": {0: "N", 2: "H"}}
    check_node("InstanceNormalization", inputs, constants=["s", "b"], open_axes=opened)


@pytest.mark.parametrize("x", SHAPES)
@pytest.mark.parametrize(("opset", "scales"), [(18, 2), (21, 4)])
@pytest.mark.parametrize("open_axes", [None, {0: "N"}, {0: "N", 2: "H"}])
def test_group_normalization_answers_as_onnx_runtime(x, opset, scales, open_axes):
    inputs = {"x": noise(*x), "s": noise(scales), "b": noise(scales, seed=1)}
    model = shaped_like_x(
        "GroupNormalization",
        inputs,
        constants=["s", "b"],
        open_axes=open_axes,
        opset=opset,
        num_groups=2,
    )
    check_both(model, inputs)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("order", [1, 2])
def test_lp_normalization_leaves_zeros_alone(axis, order):
    x = noise(2, 3, 4)
    x[0, :, 1] = 0
    x[1, 1] = 0
    check_node("LpNormalization", {"x": x}, axis=axis, p=order)


@pytest.mark.parametrize("attributes", [{}, {"axes": [2, 3]}, {"axes": [-1]}])
def test_mean_variance_normalization_answers_as_onnx_runtime(attributes):
    inputs = {"x": noise(2, 3, 4, 5)}
    model = shaped_like_x("MeanVarianceNormalization", inputs, opset=18, **attributes)
    check_both(model, inputs)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn_answers_as_onnx_runtime(size):
    inputs = {"x": noise(2, 7, 4, 5)}
    check_node("LRN", inputs, size=size, alpha=0.3, beta=0.6, bias=1.5)


def test_lrn_of_even_size_is_refused():
    error = refusal(one_node("LRN", {"x": noise(2, 7, 4, 5)}, size=4))
    assert (error.code, error.where) == ("attribute-unsupported", "the_LRN")
