from __future__ import annotations

import numpy as np
import pytest

from tests.unit._litert import check_op, one_node, refusal

X = np.arange(24, dtype="float32").reshape(2, 3, 4)


def longs(*values):
    return np.array(values, "int64")


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_gather_counts_from_both_ends(axis, constant, dtype):
    for places in (np.array([[0, -1], [1, -2]], dtype), np.array(-1, dtype)):
        inputs = {"x": X, "places": places}
        constants = ["places"] if constant else []
        check_op(one_node("Gather", inputs, axis=axis, constants=constants), inputs)


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint8", "int16", "uint16", "int64", "bool"])
def test_gather_in_other_dtypes(dtype):
    inputs = {"x": X.astype(dtype), "places": longs(2, 0)}
    check_op(one_node("Gather", inputs, axis=1), inputs)


def test_gather_along_an_open_axis():
    inputs = {"x": X, "places": longs(0, -1)}
    for constants in ([], ["places"]):
        model = one_node("Gather", inputs, axis=1, constants=constants, open_axes={"x": {1: "T"}})
        check_op(model, inputs | {"x": np.concatenate([X, X + 50], axis=1)})


def test_gather_of_float64_is_refused():
    inputs = {"x": X.astype("float64"), "places": longs(0)}
    assert refusal(one_node("Gather", inputs)).code == "dtype-unsupported"


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_elements(constant, axis):
    places = np.random.default_rng(0).integers(-2, 2, (2, 2, 3))
    inputs = {"x": X, "places": places}
    constants = ["places"] if constant else []
    check_op(one_node("GatherElements", inputs, axis=axis, constants=constants), inputs)


def test_gather_elements_needs_fixed_sizes():
    inputs = {"x": X, "places": np.zeros((2, 3, 4), "int64")}
    model = one_node("GatherElements", inputs, open_axes={"x": {0: "N"}})
    assert refusal(model).code == "dynamic-shape"


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    ("places", "batches"),
    [
        ([[0, 1], [-1, -2]], 0),
        ([[1], [0]], 0),
        ([[0, 1, 2]], 0),
        ([[1], [-1]], 1),
        ([[[1, 0]] * 2] * 2, 1),
    ],
)
def test_gather_nd(constant, places, batches):
    inputs = {"x": X, "places": np.array(places)}
    constants = ["places"] if constant else []
    check_op(one_node("GatherND", inputs, batch_dims=batches, constants=constants), inputs)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_scatter_nd(constant, reduction, dtype):
    inputs = {
        "x": X.astype(dtype),
        "places": np.array([[0, 1], [-1, -1]]),
        "updates": np.array([[1, 2, 3, 4], [5, 6, 7, 0]], dtype),
    }
    constants = ["places"] if constant else []
    want = inputs["x"].copy()
    for place, row in zip(([0, 1], [1, 2]), inputs["updates"], strict=True):
        want[tuple(place)] = row + (want[tuple(place)] if reduction == "add" else 0)
    model = one_node("ScatterND", inputs, constants=constants, reduction=reduction)
    check_op(model, inputs, expected=[want])


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("reduction", ["none", "add"])
def test_scatter_elements(constant, reduction):
    inputs = {
        "x": X[0],
        "places": np.array([[0, -1], [2, 1]]),
        "updates": np.array([[10, 20], [30, 0]], "float32"),
    }
    constants = ["places"] if constant else []
    model = one_node("ScatterElements", inputs, constants=constants, axis=1, reduction=reduction)
    check_op(model, inputs)


def test_scatter_where_constants_meet_the_last_one_stands_or_all_are_added():
    inputs = {
        "x": np.zeros(4, "float32"),
        "places": longs(1, 1, -3),
        "updates": np.array([2, 3, 4], "float32"),
    }
    last = one_node("ScatterElements", inputs, constants=["places"])
    check_op(last, inputs, expected=[np.array([0, 4, 0, 0], "float32")])
    added = one_node("ScatterElements", inputs, constants=["places"], reduction="add")
    check_op(added, inputs, expected=[np.array([0, 9, 0, 0], "float32")])


@pytest.mark.parametrize("reduction", ["mul", "max", "min"])
def test_scatter_with_other_reductions_is_refused(reduction):
    inputs = {"x": X[0, 0], "places": longs(1), "updates": np.ones(1, "float32")}
    model = one_node("ScatterElements", inputs, reduction=reduction)
    assert refusal(model).code == "attribute-unsupported"
