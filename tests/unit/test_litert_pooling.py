from __future__ import annotations

import numpy as np
import pytest

from tests.unit._litert import one_node, refusal
from tests.unit._litert_kernels import check_node, noise, operators

POOLS = [
    ("MaxPool", {}),
    ("AveragePool", {}),
    ("AveragePool", {"count_include_pad": 1}),
    ("LpPool", {}),
    ("LpPool", {"p": 1}),
    ("LpPool", {"p": 3}),
]
OPEN = [{0: "N"}, {2: "H", 3: "W"}, {0: "N", 2: "H", 3: "W"}]


def pool(op, x, *, open_axes=None, **attributes):
    opened = {"x": open_axes} if open_axes else None
    return check_node(op, {"x": noise(*x)}, open_axes=opened, opset=19, **attributes)


@pytest.mark.parametrize(("op", "extra"), POOLS)
@pytest.mark.parametrize(
    ("x", "attributes"),
    [
        ((2, 3, 8, 9), {"kernel_shape": [2, 3]}),
        ((2, 3, 8, 9), {"kernel_shape": [3, 3], "pads": [1] * 4}),
        ((2, 3, 8, 8), {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]}),
        ((2, 3, 9, 9), {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0], "strides": [2, 3]}),
        ((2, 3, 9, 10), {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1}),
        (
            (2, 3, 10, 10),
            {"kernel_shape": [3, 3], "strides": [3, 2], "ceil_mode": 1, "pads": [0, 1, 1, 1]},
        ),
        ((2, 3, 9, 10), {"kernel_shape": [1, 2], "strides": [3, 3], "ceil_mode": 1}),
        ((1, 2, 7, 8), {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((1, 2, 7, 8), {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ((2, 3, 9), {"kernel_shape": [3], "strides": [2], "pads": [1, 0]}),
        (
            (2, 3, 5, 6, 7),
            {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2], "pads": [1, 1, 0, 0, 1, 1]},
        ),
        (
            (2, 3, 9, 9),
            {
                "kernel_shape": [3, 2],
                "dilations": [2, 3],
                "pads": [1, 1, 2, 0],
                "strides": [2, 1],
            },
        ),
        ((1, 2, 5, 6, 7), {"kernel_shape": [2, 2, 2], "dilations": [2, 1, 3]}),
    ],
)
def test_pools_answer_as_onnx_runtime(op, extra, x, attributes):
    pool(op, x, **attributes, **extra)


@pytest.mark.parametrize("open_axes", OPEN)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1] * 4, "strides": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"ceil_mode": 1, "strides": [2, 2]},
        {"pads": [1] * 4, "ceil_mode": 1, "strides": [2, 2]},
        {"dilations": [2, 2]},
    ],
)
def test_pools_keep_open_axes(op, open_axes, attributes):
    pool(op, (2, 3, 10, 9), open_axes=open_axes, kernel_shape=[3, 3], **attributes)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
@pytest.mark.parametrize("x", [(2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 4)])
def test_global_pools_answer_as_onnx_runtime(op, x):
    pool(op, x)
    pool(op, x, open_axes={0: "N", 2: "L"})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float16"])
def test_max_pool_keeps_its_dtype(dtype):
    x = np.abs(noise(1, 2, 6, 6) * 20).astype(dtype)
    check_node("MaxPool", {"x": x}, kernel_shape=[3, 3], pads=[1, 0, 1, 1])


def test_max_pool_of_negative_numbers_is_not_zero_in_the_padding():
    x = -1 - np.abs(noise(1, 2, 6, 6))
    check_node("MaxPool", {"x": x}, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])


def test_average_pool_needs_one_operator_where_litert_counts_alike():
    content = pool("AveragePool", (1, 3, 8, 8), kernel_shape=[3, 3], pads=[1] * 4)
    assert operators(content) == ["TRANSPOSE", "AVERAGE_POOL_2D", "TRANSPOSE"]


def test_max_pool_is_refused_when_places_are_asked_for():
    model = one_node("MaxPool", {"x": noise(1, 2, 6, 6)}, outputs=2, kernel_shape=[2, 2])
    error = refusal(model)
    assert (error.code, error.where) == ("attribute-unsupported", "the_MaxPool")


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("AveragePool", {"auto_pad": "SAME_LOWER"}),
        ("AveragePool", {"auto_pad": "SAME_UPPER", "count_include_pad": 1}),
        ("AveragePool", {"ceil_mode": 1, "count_include_pad": 1}),
        ("LpPool", {"auto_pad": "SAME_UPPER"}),
    ],
)
def test_pools_are_refused_when_padding_depends_on_open_sizes(op, attributes):
    model = one_node(
        op,
        {"x": noise(1, 2, 7, 7)},
        open_axes={"x": {2: "H"}},
        opset=19,
        kernel_shape=[3, 3],
        strides=[2, 2],
        **attributes,
    )
    assert refusal(model).code == "dynamic-shape"
