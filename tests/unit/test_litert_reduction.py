from __future__ import annotations

import numpy as np
import pytest

from tests.unit._litert import check_op, one_node, refusal

NAN, INF = np.nan, np.inf
X = np.random.default_rng(5).uniform(0.5, 2, (2, 3, 4, 5)).astype("float32")
ALL = [
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
]


def reduction(op, x, axes, **attributes):
    inputs = {"x": x}
    if axes is not None:
        inputs["axes"] = np.array(axes, "int64")
    return one_node(op, inputs, constants=["axes"] if axes is not None else [], **attributes)


@pytest.mark.parametrize("op", ALL)
@pytest.mark.parametrize("axes", [None, [1], [-1, 0], [0, 1, 2, 3]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions_over_axes(op, axes, keepdims):
    check_op(reduction(op, X, axes, keepdims=keepdims), {"x": X})


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "ReduceMax"])
def test_axes_as_an_attribute_before_opset_18(op):
    x = X - 1
    if op == "ReduceSum":
        model = one_node(op, {"x": x}, opset=12, axes=[1, 2])
    else:
        model = one_node(op, {"x": x}, opset=17, axes=[1, 2])
    check_op(model, {"x": x})


def test_no_axes_reduce_all_or_nothing():
    x = np.array([[1, 2], [3, 4]], "float32")
    whole = reduction("ReduceSum", x, [], keepdims=0)
    check_op(whole, {"x": x}, expected=[np.float32(10)])
    nothing = reduction("ReduceSum", x, [], noop_with_empty_axes=1)
    check_op(nothing, {"x": x}, expected=[x])
    squares = reduction("ReduceSumSquare", x, [], noop_with_empty_axes=1)
    check_op(squares, {"x": x}, expected=[x * x])


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceMean"])
@pytest.mark.parametrize("dtype", ["int32", "int64", "float16"])
def test_reductions_of_other_dtypes(op, dtype):
    x = np.array([[1, 2, -4], [3, 5, 6]], dtype)
    check_op(reduction(op, x, [1]), {"x": x}, rtol=2e-3)


def test_extremes_of_bools_and_small_integers():
    x = np.array([[True, False], [False, False]])
    model = reduction("ReduceMax", x, [1], opset=20, keepdims=0)
    check_op(model, {"x": x}, expected=[np.array([True, False])])
    small = np.array([[-3, 5]], "int8")
    model = reduction("ReduceMin", small, [1], keepdims=0)
    check_op(model, {"x": small}, expected=[np.array([-3], "int8")])


@pytest.mark.parametrize(
    ("op", "want"),
    [("ReduceSum", 0), ("ReduceProd", 1), ("ReduceMax", -INF), ("ReduceMin", INF), ("ReduceL2", 0)],
)
def test_reductions_of_nothing(op, want):
    x = np.zeros((2, 0, 3), "float32")
    model = reduction(op, x, [1], keepdims=0, opset=20)
    check_op(model, {"x": x}, expected=[np.full((2, 3), want, "float32")])


def test_log_sum_exp_of_infinities():
    x = np.array([[-INF, -INF], [INF, 1], [1e4, 1e4]], "float32")
    want = np.array([-INF, INF, 1e4 + np.log(2)], "float32")
    model = reduction("ReduceLogSumExp", x, [1], keepdims=0)
    check_op(model, {"x": x}, expected=[want])


def test_reductions_keep_open_axes():
    model = one_node(
        "ReduceMean",
        {"x": X, "axes": np.array([2, 3])},
        constants=["axes"],
        open_axes={"x": {0: "N"}},
    )
    check_op(model, {"x": np.concatenate([X, X])})


def test_reductions_that_litert_lacks_are_refused():
    inputs = {"x": X, "axes": np.array([1])}
    assert refusal(one_node("ReduceSum", inputs)).code == "constant-needed"
    assert refusal(reduction("ReduceSum", X.astype("float64"), [1])).code == "dtype-unsupported"
    deep = np.zeros((1,) * 7, "float32")
    assert refusal(reduction("ReduceSum", deep, [1])).code == "rank-unsupported"


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
def test_arg_extremes_take_the_first_or_the_last(op, axis, keepdims, last):
    x = np.array([[2, 2, 1, 1], [3, 1, 1, 3], [3, 2, 0, 0]], "float32")
    model = one_node(op, {"x": x}, axis=axis, keepdims=keepdims, select_last_index=last)
    check_op(model, {"x": x})


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int32", "int64"])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_top_k(dtype, largest, axis):
    x = np.array([[5, 1, 5, 2], [0, 9, 7, 7], [100, 3, 3, 4]], dtype)
    inputs = {"x": x, "k": np.array([2])}
    model = one_node("TopK", inputs, outputs=2, constants=["k"], axis=axis, largest=largest)
    indices = np.argsort(-x.astype("f8") if largest else x, axis, kind="stable").take([0, 1], axis)
    check_op(model, inputs, expected=[np.take_along_axis(x, indices, axis), indices])


def test_top_k_of_the_smallest_integer():
    x = np.array([-(2**31), 2**31 - 1, 0], "int32")
    inputs = {"x": x, "k": np.array([2])}
    model = one_node("TopK", inputs, outputs=2, constants=["k"], largest=0)
    check_op(model, inputs, expected=[x[[0, 2]], np.array([0, 2])])


def test_top_k_without_an_order_is_refused():
    inputs = {"x": X, "k": np.array([2])}
    model = one_node("TopK", inputs, outputs=2, constants=["k"], sorted=0)
    assert refusal(model).code == "operator-unsupported"


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_running_sums(exclusive, reverse, dtype):
    inputs = {"x": np.array([[1, 2, 3], [4, 5, 6]], dtype), "axis": np.array(-1, "int32")}
    model = one_node("CumSum", inputs, constants=["axis"], exclusive=exclusive, reverse=reverse)
    check_op(model, inputs)
