from __future__ import annotations

import numpy as np
import pytest

from tests.unit._litert import check_op, one_node, refusal

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int32", "int64"])
def test_comparisons_in_every_dtype(op, dtype):
    inputs = {"a": np.array([[1, 2, 3]], dtype), "b": np.array([[2], [3]], dtype)}
    check_op(one_node(op, inputs), inputs)


def test_nothing_equals_nan():
    inputs = {"a": np.array([NAN, 1, INF], "float32"), "b": np.array([NAN, 1, INF], "float32")}
    check_op(one_node("Equal", inputs), inputs, expected=[np.array([False, True, True])])


def test_equal_of_bools():
    inputs = {"a": np.array([True, False]), "b": np.array([True, True])}
    check_op(one_node("Equal", inputs), inputs, expected=[np.array([True, False])])


@pytest.mark.parametrize(
    ("op", "want"),
    [
        ("And", [True, False, False, False]),
        ("Or", [True, True, True, False]),
        ("Xor", [False, True, True, False]),
    ],
)
def test_logic(op, want):
    inputs = {"a": np.array([True, True, False, False]), "b": np.array([True, False, True, False])}
    check_op(one_node(op, inputs), inputs, expected=[np.array(want)])


def test_not():
    x = np.array([True, False])
    check_op(one_node("Not", {"x": x}), {"x": x}, expected=[np.array([False, True])])


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64", "bool"])
def test_where_broadcasts_three_tensors(dtype):
    inputs = {
        "condition": np.array([[True], [False]]),
        "a": np.array([0, 1, 1], dtype),
        "b": np.array(0, dtype),
    }
    want = np.array([[0, 1, 1], [0, 0, 0]], dtype)
    check_op(one_node("Where", inputs), inputs, expected=[want])


def test_is_nan_and_is_inf():
    x = np.array([NAN, INF, -INF, 1], "float32")
    check_op(one_node("IsNaN", {"x": x}), {"x": x}, expected=[np.array([1, 0, 0, 0], "bool")])
    check_op(one_node("IsInf", {"x": x}), {"x": x}, expected=[np.array([0, 1, 1, 0], "bool")])
    for sign, want in (("negative", [0, 1, 0, 0]), ("positive", [0, 0, 1, 0])):
        model = one_node("IsInf", {"x": x}, **{f"detect_{sign}": 0})
        check_op(model, {"x": x}, expected=[np.array(want, "bool")])


def test_bits():
    inputs = {"a": np.array([5, 200], "uint8"), "b": np.array([3, 255], "uint8")}
    check_op(one_node("BitwiseXor", inputs), inputs, expected=[np.array([6, 55], "uint8")])
    x = np.array([5, -1], "int32")
    check_op(one_node("BitwiseNot", {"x": x}), {"x": x}, expected=[np.array([-6, 0], "int32")])
    assert refusal(one_node("BitwiseAnd", inputs)).code == "operator-unsupported"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_shifts(dtype):
    inputs = {"x": np.array([200, 7, 1], dtype), "n": np.array([3, 1, 6], dtype)}
    right = one_node("BitShift", inputs, direction="RIGHT")
    check_op(right, inputs, expected=[np.array([25, 3, 0], dtype)])
    left = one_node("BitShift", inputs, constants=["n"], direction="LEFT")
    want = (inputs["x"].astype("uint64") << inputs["n"].astype("uint64")).astype(dtype)
    check_op(left, inputs, expected=[want])
    assert refusal(one_node("BitShift", inputs, direction="LEFT")).code == "constant-needed"


DTYPES = [
    "float16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "bool",
]


@pytest.mark.parametrize("source", DTYPES)
def test_casts_between_all_dtypes(source):
    from onnx import helper

    x = np.array([0, 1, 3, 100, 0.7], "float64").astype(source)
    for target in DTYPES:
        number = helper.np_dtype_to_tensor_dtype(np.dtype(target))
        check_op(one_node("Cast", {"x": x}, to=number), {"x": x}, expected=[x.astype(target)])


@pytest.mark.parametrize(
    ("target", "want"),
    [
        ("int32", [-2, 2, 300, -1]),
        ("uint8", [254, 2, 44, 255]),
        ("int8", [-2, 2, 44, -1]),
        ("bool", [1, 1, 1, 1]),
    ],
)
def test_casts_of_floats_cut_and_wrap_around(target, want):
    from onnx import helper

    x = np.array([-2.7, 2.7, 300, -1], "float32")
    model = one_node("Cast", {"x": x}, to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))
    check_op(model, {"x": x}, expected=[np.array(want).astype(target)])


def test_cast_like_and_casts_that_litert_lacks():
    from onnx import TensorProto

    inputs = {"x": np.array([1.7, -3], "float32"), "like": np.array([1], "int64")}
    check_op(one_node("CastLike", inputs), inputs, expected=[np.array([1, -3], "int64")])
    for target in (TensorProto.UINT64, TensorProto.STRING, TensorProto.BFLOAT16):
        assert refusal(one_node("Cast", {"x": inputs["x"]}, to=target)).code == "dtype-unsupported"
