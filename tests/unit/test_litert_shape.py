from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.unit._litert import check_op, model_of, one_node, refusal

X = np.arange(24, dtype="float32").reshape(2, 3, 4)


def longs(*values):
    return np.array(values, "int64")


def with_constants(op, x, open_axes=None, outputs=1, opset=18, attributes=None, **constants):
    inputs = {"x": x, **constants}
    names = [name for name, array in constants.items() if array is not None]
    return one_node(
        op,
        inputs,
        constants=names,
        open_axes={"x": open_axes or {}},
        outputs=outputs,
        opset=opset,
        **(attributes or {}),
    )


@pytest.mark.parametrize("shape", [(4, 6), (-1,), (0, -1), (2, 1, 3, 4), (0, 0, 2, 2)])
def test_reshape(shape):
    check_op(with_constants("Reshape", X, shape=longs(*shape)), {"x": X})


@pytest.mark.parametrize("shape", [(0, 12), (-1, 4), (-1, 3, 2, 2), (0, -1)])
def test_reshape_keeps_an_open_axis(shape):
    model = with_constants("Reshape", X, {0: "N"}, shape=longs(*shape))
    check_op(model, {"x": np.concatenate([X, X, X])})


def test_reshape_keeps_two_open_axes():
    model = with_constants("Reshape", X, {0: "N", 1: "T"}, shape=longs(0, 0, 2, 2))
    check_op(model, {"x": np.concatenate([X, X], axis=1)})


def test_reshape_to_a_shape_that_the_model_computes():
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "first"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "zero"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"first": np.array(0), "zero": longs(0), "rest": longs(-1, 2)}
    for axes in ({}, {"x": {0: "N"}}, {"x": {0: "N", 1: "T"}}):
        model = model_of(nodes, {"x": X}, ["y"], constants=constants, open_axes=axes)
        check_op(model, {"x": X})


def test_reshape_without_elements():
    x = np.zeros((0, 3), "float32")
    model = with_constants("Reshape", x, shape=longs(3, 0, 2), attributes={"allowzero": 1})
    check_op(model, {"x": x}, expected=[np.zeros((3, 0, 2), "float32")])


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_flatten(axis):
    check_op(one_node("Flatten", {"x": X}, axis=axis), {"x": X})
    if axis == 1:
        model = one_node("Flatten", {"x": X}, axis=axis, open_axes={"x": {0: "N"}})
        check_op(model, {"x": np.concatenate([X, X])})


def test_squeeze_and_unsqueeze():
    x = X.reshape(1, 2, 1, 3, 4)
    for axes in (longs(0, 2), longs(-3)):
        check_op(with_constants("Squeeze", x, axes=axes), {"x": x})
    check_op(one_node("Squeeze", {"x": x}), {"x": x})
    for axes in (longs(0), longs(0, -1), longs(1, 3)):
        check_op(with_constants("Unsqueeze", X, axes=axes), {"x": X})
    opened = with_constants("Unsqueeze", X, {0: "N", 2: "T"}, axes=longs(1))
    check_op(opened, {"x": np.concatenate([X, X])})
    opened = with_constants("Squeeze", x, {1: "N", 4: "T"}, axes=longs(0, 2))
    check_op(opened, {"x": np.concatenate([x, x], axis=1)})


def test_squeeze_of_all_axes_needs_their_sizes():
    model = with_constants("Squeeze", X[:1], {0: "N"})
    assert refusal(model).code == "dynamic-shape"


@pytest.mark.parametrize("order", [None, (0, 2, 1), (2, 0, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint64", "bool", "int8"])
def test_transpose_in_every_dtype(order, dtype):
    x = X.astype(dtype)
    model = one_node("Transpose", {"x": x}, **({"perm": order} if order else {}))
    check_op(model, {"x": x})


def test_transpose_of_eight_axes_but_not_of_nine():
    x = np.zeros((2, 1, 3, 1, 2, 1, 1, 2), "float32")
    check_op(one_node("Transpose", {"x": x}), {"x": x})
    assert refusal(one_node("Transpose", {"x": x[None]})).code == "rank-unsupported"


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "uint16", "float16"])
def test_concat_and_split(dtype):
    x = X.astype(dtype)
    inputs = {"a": x, "b": x[:, :1], "c": x[:, :0]}
    check_op(one_node("Concat", inputs, axis=1), inputs)
    check_op(
        with_constants("Split", x, outputs=2, sizes=longs(1, 3), attributes={"axis": -1}), {"x": x}
    )
    uneven = one_node("Split", {"x": x}, outputs=2, axis=1, num_outputs=2)
    check_op(uneven, {"x": x}, expected=[x[:, :2], x[:, 2:]])
    even = one_node("Split", {"x": x}, outputs=2, axis=0, opset=17)
    check_op(even, {"x": x}, expected=[x[:1], x[1:]])


def test_concat_of_open_axes():
    inputs = {"a": X, "b": X}
    model = one_node("Concat", inputs, axis=0, open_axes={"a": {0: "N"}, "b": {0: "M"}})
    check_op(model, {"a": X, "b": np.concatenate([X, X])})


def test_concat_of_seven_axes_is_refused():
    x = np.zeros((1,) * 7, "float32")
    model = one_node("Concat", {"a": x, "b": x}, axis=0)
    assert refusal(model).code == "rank-unsupported"


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((0,), (1,), (1,), None),
        ((1, -2), (9, 99), (1, 2), None),
        ((-1,), (-99,), (2,), (-1,)),
        ((3, 0), (0, 3), (2, 1), (-2, 2)),
        ((-99,), (-1,), (0,), (1,)),
        ((2,), (1,), (1,), (1,)),
        ((0, 0, 0), (2, 2, 2), None, None),
    ],
)
def test_slice(starts, ends, axes, steps):
    model = with_constants(
        "Slice",
        X,
        starts=longs(*starts),
        ends=longs(*ends),
        axes=None if axes is None else longs(*axes),
        steps=None if steps is None else longs(*steps),
    )
    check_op(model, {"x": X})


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [(1, 2**62, 1), (-2, 2**62, 1), (0, -1, 1), (0, 2**62, 2), (-1, -(2**62), -1), (1, 3, 1)],
)
def test_slice_of_an_open_axis(start, end, step):
    model = with_constants(
        "Slice",
        X,
        {1: "T"},
        starts=longs(start),
        ends=longs(end),
        axes=longs(1),
        steps=longs(step),
    )
    check_op(model, {"x": np.concatenate([X, X], axis=1)})


def test_slice_by_what_the_model_computes():
    inputs = {"x": X, "starts": longs(1, -2), "ends": longs(2**62, -1), "axes": longs(2, 1)}
    check_op(one_node("Slice", inputs, constants=["axes"]), inputs)


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 1, 3, 1), (3, 4), (1,)])
def test_expand(shape):
    x = np.arange(3, dtype="float32").reshape(3, 1)
    check_op(with_constants("Expand", x, shape=longs(*shape)), {"x": x})


def test_expand_of_an_open_axis():
    x = np.arange(3, dtype="float32").reshape(3, 1)
    model = with_constants("Expand", x, {0: "N"}, shape=longs(2, 1, 4))
    check_op(model, {"x": np.concatenate([x, x])})


def test_tile():
    check_op(with_constants("Tile", X, repeats=longs(2, 1, 3)), {"x": X})
    model = with_constants("Tile", X, {0: "N"}, repeats=longs(2, 1, 1))
    check_op(model, {"x": np.concatenate([X, X])})
    inputs = {"x": X, "repeats": longs(1, 2, 1)}
    check_op(one_node("Tile", inputs), inputs)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [(0, 1, 2, 0, 2, 1), (0, 0, 3, 0, 0, 0), (0, -1, 1, 0, 0, -2)])
def test_pad_in_every_mode(mode, pads):
    model = with_constants("Pad", X, opset=19, pads=longs(*pads), attributes={"mode": mode})
    check_op(model, {"x": X})


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int64", "bool"])
def test_pad_with_a_value_on_some_axes(dtype):
    x = X.astype(dtype)
    model = with_constants(
        "Pad", x, pads=longs(1, 0, 2, 1), value=np.array(1, dtype), axes=longs(2, 0)
    )
    check_op(model, {"x": x})


def test_pad_of_six_axes_where_few_are_padded():
    x = np.arange(96, dtype="float32").reshape(2, 2, 2, 3, 2, 2)
    pads = longs(0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0)
    check_op(with_constants("Pad", x, pads=pads, value=np.float32(7)), {"x": x})
    every = with_constants("Pad", x, pads=np.ones(12, "int64"), value=np.float32(7))
    assert refusal(every).code == "rank-unsupported"


def test_pad_keeps_open_axes_and_refuses_to_repeat_them():
    model = with_constants("Pad", X, {0: "N", 2: "T"}, pads=longs(0, 0, 1, 0, 0, 2))
    check_op(model, {"x": np.concatenate([X, X], axis=2)})
    edge = with_constants(
        "Pad", X, {2: "T"}, pads=longs(0, 0, 1, 0, 0, 2), attributes={"mode": "edge"}
    )
    assert refusal(edge).code == "dynamic-shape"


@pytest.mark.parametrize(("start", "end"), [(0, None), (1, None), (-2, -1), (5, 9)])
@pytest.mark.parametrize("axes", [{}, {0: "N"}])
def test_shape_and_size(start, end, axes):
    attributes = {"start": start} | ({} if end is None else {"end": end})
    check_op(one_node("Shape", {"x": X}, open_axes={"x": axes}, **attributes), {"x": X})
    check_op(one_node("Size", {"x": X}, open_axes={"x": axes}), {"x": X})


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "uint8"])
def test_constant_of_a_shape_that_the_model_computes(dtype):
    value = numpy_helper.from_array(np.array([1], dtype))
    inputs = {"shape": longs(2, 3)}
    model = one_node("ConstantOfShape", inputs, value=value)
    check_op(model, inputs, expected=[np.ones((2, 3), dtype)])


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_range_of_what_the_model_computes(dtype):
    inputs = {name: np.array(value, dtype) for name, value in zip("abc", (1, 9, 3), strict=True)}
    check_op(one_node("Range", inputs), inputs, expected=[np.array([1, 4, 7], dtype)])


def test_eye_like_and_trilu():
    x = X[0]
    check_op(one_node("EyeLike", {"x": x}, k=1), {"x": x})
    for upper in (0, 1):
        for first in (-1, 0, 2):
            model = with_constants("Trilu", X, k=np.array(first), attributes={"upper": upper})
            check_op(model, {"x": X})


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_one_hot(axis, dtype):
    inputs = {
        "places": longs(0, -1, 2, 7, -9),
        "depth": np.array(3),
        "values": np.array([2, 5], dtype),
    }
    check_op(one_node("OneHot", inputs, constants=["depth", "values"], axis=axis), inputs)
    check_op(one_node("OneHot", inputs, constants=["depth"], axis=axis), inputs)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("channels", [4, 12])
def test_depth_to_space(mode, dtype, channels):
    x = np.arange(channels * 6).reshape(1, channels, 2, 3).astype(dtype)
    check_op(one_node("DepthToSpace", {"x": x}, mode=mode, blocksize=2), {"x": x})


def test_space_to_depth_and_back_with_open_sizes():
    x = np.arange(96, dtype="float32").reshape(1, 3, 4, 8)
    axes = {"x": {0: "N", 2: "H", 3: "W"}}
    for model in (
        one_node("SpaceToDepth", {"x": x}, blocksize=2),
        one_node("SpaceToDepth", {"x": x}, blocksize=2, open_axes=axes),
    ):
        check_op(model, {"x": x})
    deep = x.reshape(1, 12, 2, 4)
    model = one_node("DepthToSpace", {"x": deep}, blocksize=2, open_axes=axes)
    check_op(model, {"x": np.concatenate([deep, deep], axis=3)})


def test_an_output_that_is_an_input_a_constant_or_another_output():
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Identity", ["c"], ["fixed"]),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Identity", ["r"], ["again"]),
    ]
    names = ["same", "fixed", "r", "again"]
    check_op(model_of(nodes, {"x": X}, names, constants={"c": longs(3)}), {"x": X})
