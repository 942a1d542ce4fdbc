from __future__ import annotations

import pytest

from tests.unit._litert import one_node, refusal
from tests.unit._litert_kernels import check_both, check_node, noise, operators

OPEN = [{0: "N"}, {2: "H", 3: "W"}, {0: "N", 2: "H", 3: "W"}]


def conv(x, w, *, op="Conv", bias=None, open_axes=None, **attributes):
    """Return the .tflite of a convolution with constant weights that answers rightly."""
    inputs = {"x": noise(*x), "w": noise(*w)}
    constants = ["w"]
    if bias:
        inputs["b"] = noise(bias)
        constants.append("b")
    opened = {"x": open_axes} if open_axes else None
    return check_node(op, inputs, constants=constants, open_axes=opened, **attributes)


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ((2, 3, 8, 9), (4, 3, 3, 3), {}),
        ((1, 3, 8, 9), (4, 3, 3, 3), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
        ((1, 3, 8, 8), (4, 3, 3, 3), {"pads": [1] * 4, "strides": [2, 2]}),
        ((1, 3, 9, 9), (4, 3, 3, 3), {"pads": [1] * 4, "strides": [2, 2]}),
        ((1, 3, 9, 9), (4, 3, 3, 3), {"pads": [2] * 4, "dilations": [2, 2], "strides": [2, 2]}),
        ((1, 3, 9, 9), (4, 3, 3, 3), {"dilations": [1, 2]}),
        ((1, 4, 19), (6, 4, 3), {"strides": [2], "pads": [1, 1]}),
        ((1, 4, 19), (5, 4, 3), {"dilations": [4]}),
        ((1, 2, 5, 6, 7), (4, 2, 3, 3, 3), {"pads": [1] * 6, "strides": [1, 2, 2]}),
        ((2, 2, 5, 6, 7), (4, 2, 3, 2, 3), {"pads": [1, 0, 0, 0, 2, 1], "dilations": [1, 2, 1]}),
    ],
)
def test_conv_answers_as_onnx_runtime(x, w, attributes):
    conv(x, w, bias=w[0], **attributes)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_conv_pads_by_itself(auto_pad, stride):
    conv((1, 3, 8, 9), (4, 3, 3, 2), auto_pad=auto_pad, strides=[stride] * 2)


@pytest.mark.parametrize(
    ("x", "w", "group", "code"),
    [
        ((1, 4, 9, 9), (6, 2, 3, 3), 2, "CONV_2D"),
        ((1, 8, 9, 9), (8, 2, 3, 3), 4, "CONV_2D"),
        ((1, 4, 9, 9), (4, 1, 3, 3), 4, "DEPTHWISE_CONV_2D"),
        ((1, 4, 9, 9), (8, 1, 3, 3), 4, "DEPTHWISE_CONV_2D"),
        ((1, 4, 9), (4, 1, 3), 4, "DEPTHWISE_CONV_2D"),
        ((1, 4, 5, 6, 7), (4, 2, 3, 3, 3), 2, "CONV_3D"),
    ],
)
def test_conv_takes_groups(x, w, group, code):
    content = conv(x, w, bias=w[0], group=group)
    assert code in operators(content)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_depthwise_conv_takes_strides_and_dilations(stride, dilation):
    attributes = {"group": 4, "strides": [stride, 1], "dilations": [dilation] * 2}
    conv((1, 4, 9, 9), (8, 1, 3, 3), **attributes)


@pytest.mark.parametrize("open_axes", OPEN)
@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1] * 4},
        {"pads": [1] * 4, "strides": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"pads": [0, 1, 0, 1]},
    ],
)
def test_conv_keeps_open_axes(open_axes, attributes):
    conv((2, 3, 10, 9), (4, 3, 3, 3), open_axes=open_axes, **attributes)


def test_conv_keeps_an_open_length():
    conv((2, 3, 10), (4, 3, 3), open_axes={0: "N", 2: "L"}, pads=[1, 1], strides=[2])


def test_conv_takes_weights_that_are_computed():
    inputs = {"x": noise(1, 6, 8, 9), "w": noise(6, 1, 3, 3)}
    check_both(one_node("Conv", inputs, group=6), inputs)


def test_conv_needs_no_padding_operator_where_litert_pads_alike():
    content = conv((1, 3, 8, 9), (4, 3, 3, 3), pads=[1] * 4)
    assert operators(content) == ["TRANSPOSE", "CONV_2D", "TRANSPOSE"]


def test_conv_is_refused_when_padding_depends_on_open_sizes():
    inputs = {"x": noise(1, 3, 8, 9), "w": noise(4, 3, 3, 3)}
    model = one_node(
        "Conv",
        inputs,
        constants=["w"],
        open_axes={"x": {2: "H"}},
        auto_pad="SAME_LOWER",
        strides=[2, 2],
    )
    error = refusal(model)
    assert error.code == "dynamic-shape"
    assert error.where == "the_Conv"
    assert "--input-shape" in error.fix


def test_conv_is_refused_with_four_spatial_axes():
    inputs = {"x": noise(1, 1, 2, 2, 2, 2), "w": noise(1, 1, 1, 1, 1, 1)}
    assert refusal(one_node("Conv", inputs)).code == "rank-unsupported"


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ((2, 3, 5, 6), (3, 4, 3, 3), {}),
        ((2, 3, 5, 6), (3, 4, 2, 2), {"strides": [2, 2]}),
        ((1, 3, 5, 6), (3, 4, 4, 4), {"strides": [2, 2], "pads": [1] * 4}),
        (
            (1, 3, 5, 6),
            (3, 4, 3, 3),
            {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]},
        ),
        ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [2, 2], "output_padding": [1, 1]}),
        ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [2, 3], "pads": [0, 1, 2, 0]}),
        ((1, 3, 5, 6), (3, 4, 2, 2), {"strides": [3, 3]}),
        ((1, 3, 5, 6), (3, 4, 1, 1), {"strides": [2, 2], "output_padding": [1, 0]}),
        (
            (1, 3, 5, 6),
            (3, 4, 3, 2),
            {"strides": [2, 1], "pads": [1, 2, 0, 1], "dilations": [2, 3]},
        ),
        ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [2, 2], "output_shape": [10, 12]}),
        ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [3, 2], "output_shape": [10, 8]}),
        ((1, 1, 3, 3), (1, 2, 3, 3), {"strides": [3, 2], "output_shape": [10, 8]}),
        ((2, 3, 7), (3, 4, 3), {"strides": [2], "pads": [1, 0], "output_padding": [1]}),
        ((1, 2, 3, 4, 5), (2, 3, 2, 3, 2), {"strides": [2, 1, 2], "pads": [0, 1, 1, 1, 0, 0]}),
    ],
)
def test_conv_transpose_answers_as_onnx_runtime(x, w, attributes):
    conv(x, w, op="ConvTranspose", bias=w[1], **attributes)


@pytest.mark.parametrize("kernel_stride", [(3, 2), (4, 2), (3, 1), (2, 3), (4, 1)])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_conv_transpose_pads_by_itself(auto_pad, kernel_stride):
    kernel, stride = kernel_stride
    x, w = (1, 3, 5, 6), (3, 4, kernel, kernel)
    conv(x, w, op="ConvTranspose", auto_pad=auto_pad, strides=[stride] * 2)


@pytest.mark.parametrize(
    ("x", "w", "group", "attributes"),
    [
        ((1, 4, 5, 6), (4, 3, 3, 3), 2, {"strides": [2, 2]}),
        ((2, 8, 5, 6), (8, 1, 4, 4), 8, {"strides": [2, 2], "pads": [1] * 4}),
        (
            (2, 8, 5, 6),
            (8, 1, 3, 3),
            8,
            {"strides": [2, 3], "pads": [1, 0, 1, 1], "output_padding": [1, 1]},
        ),
        ((1, 16, 5, 6), (16, 3, 3, 3), 8, {"strides": [2, 1], "dilations": [1, 2]}),
        ((2, 8, 7), (8, 1, 3), 8, {"strides": [2]}),
        ((1, 4, 3, 4, 5), (4, 3, 2, 3, 2), 2, {}),
    ],
)
def test_conv_transpose_takes_groups(x, w, group, attributes):
    conv(x, w, op="ConvTranspose", bias=w[1] * group, group=group, **attributes)


@pytest.mark.parametrize("open_axes", OPEN)
@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1] * 4},
        {"pads": [1] * 4, "strides": [2, 2], "output_padding": [1, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"pads": [0, 1, 0, 1], "strides": [2, 2]},
    ],
)
def test_conv_transpose_keeps_open_axes(open_axes, attributes):
    conv((2, 3, 10, 9), (3, 4, 3, 3), op="ConvTranspose", open_axes=open_axes, **attributes)


def test_conv_in_half_precision_is_computed_in_floats():
    inputs = {
        "x": noise(1, 3, 8, 9).astype("float16"),
        "w": noise(4, 3, 3, 3).astype("float16"),
    }
    model = one_node("Conv", inputs, constants=["w"])
    check_both(model, inputs, rtol=2e-3, atol=2e-3)
