from __future__ import annotations

import numpy as np
import pytest

from tests.unit._litert import check_op, one_node, refusal

NAN, INF = np.nan, np.inf


def floats(*values):
    return np.array(values, "float32")


@pytest.mark.parametrize(
    ("op", "want"),
    [("Add", [4, -1, 9]), ("Sub", [2, 3, -5]), ("Mul", [3, -2, 14]), ("Div", [3, -0.5, 2 / 7])],
)
def test_arithmetic_of_floats(op, want):
    inputs = {"a": floats(3, 1, 2), "b": floats(1, -2, 7)}
    check_op(one_node(op, inputs), inputs, expected=[floats(*want)])


@pytest.mark.parametrize("op", ["Add", "Mul", "Div", "Pow", "Max", "PRelu"])
def test_operators_broadcast_beyond_four_axes(op):
    random = np.random.default_rng(0)
    x = random.uniform(1, 2, (2, 3, 1, 2, 3, 2)).astype("float32")
    other = random.uniform(1, 2, (3, 1, 1, 3, 1)).astype("float32")
    check_op(one_node(op, {"x": x, "other": other}), {"x": x, "other": other})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_integers_wrap_around(op, dtype):
    ends = np.iinfo(dtype)
    inputs = {
        "a": np.array([ends.max, ends.min, 7], dtype),
        "b": np.array([2, 3, 2], dtype),
    }
    check_op(one_node(op, inputs), inputs)


def test_float16_is_computed_in_float32_and_rounded():
    inputs = {"a": np.array([1, 2.5], "float16"), "b": np.array([3, 0.1], "float16")}
    check_op(one_node("Mul", inputs), inputs, expected=[np.array([3, 0.25], "float16")])


def test_float64_is_refused_by_name():
    x = np.zeros(2)
    error = refusal(one_node("Add", {"a": x, "b": x}))
    assert error.code == "dtype-unsupported"
    assert "float64" in error.why
    assert error.where == "the_Add"


def test_integer_division_rounds_towards_zero():
    inputs = {"a": np.array([7, -7, 7, -7], "int32"), "b": np.array([2, 2, -2, -2], "int32")}
    check_op(one_node("Div", inputs), inputs, expected=[np.array([3, -3, -3, 3], "int32")])


def test_division_by_zero_is_infinite_or_nan():
    inputs = {"a": floats(1, -1, 0), "b": floats(0, 0, 0)}
    check_op(one_node("Div", inputs), inputs, expected=[floats(INF, -INF, NAN)])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_mod_takes_the_sign_of_the_divisor_or_of_the_dividend(dtype):
    sign = 1 if dtype == "uint8" else -1
    inputs = {"a": np.array([7, 7 * sign, 7], dtype), "b": np.array([3, 3, 3 * sign], dtype)}
    floored = [1, 2, -2] if sign < 0 else [1, 1, 1]
    truncated = [1, -1, 1] if sign < 0 else [1, 1, 1]
    check_op(one_node("Mod", inputs), inputs, expected=[np.array(floored, dtype)])
    check_op(one_node("Mod", inputs, fmod=1), inputs, expected=[np.array(truncated, dtype)])


def test_mod_of_floats_is_exact():
    inputs = {"a": floats(5.5, -5.5, 1e7, 0), "b": floats(2, 2, 0.3, -3)}
    check_op(one_node("Mod", inputs, fmod=1), inputs, rtol=0, atol=0)


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("constants", [(), ("b",), ("a",)])
def test_extremes_are_nan_where_an_operand_is(op, constants):
    inputs = {"a": floats(NAN, 1, -3), "b": floats(1, NAN, 2)}
    inputs |= {name: floats(0, 1, 2) for name in constants}
    check_op(one_node(op, inputs, constants=constants), inputs)


def test_extremes_take_any_number_of_tensors():
    inputs = {"a": floats(1, 5), "b": floats(3, 2), "c": floats(2, 9)}
    check_op(one_node("Max", inputs), inputs, expected=[floats(3, 9)])
    check_op(one_node("Sum", inputs), inputs, expected=[floats(6, 16)])
    check_op(one_node("Mean", inputs), inputs, expected=[floats(2, 16 / 3)])
    check_op(one_node("Min", {"a": inputs["a"]}), inputs, expected=[floats(1, 5)])


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 0.5, -1.0, 2.5])
def test_powers_by_constants(exponent):
    x = floats(0.5, 1, 2, 7)
    inputs = {"x": x, "e": np.array(exponent, "float32")}
    check_op(one_node("Pow", inputs, constants=["e"]), inputs, expected=[x**exponent])


def test_powers_of_integers():
    inputs = {"x": np.array([2, -3, 4], "int32"), "e": np.array([5, 3, 0], "int32")}
    check_op(one_node("Pow", inputs), inputs, expected=[np.array([32, -27, 1], "int32")])
    inputs["e"] = inputs["e"].astype("float32")
    assert refusal(one_node("Pow", inputs)).code == "dtype-unsupported"


def test_powers_of_floats_by_integers():
    inputs = {"x": floats(2, -3, 0.5), "e": np.array([5, 3, -2], "int64")}
    check_op(one_node("Pow", inputs), inputs, expected=[floats(32, -27, 4)])


def test_round_takes_halves_to_the_even_number():
    x = floats(0.5, 1.5, 2.5, -0.5, -1.5, 2.4)
    check_op(one_node("Round", {"x": x}), {"x": x}, expected=[floats(0, 2, 2, -0.0, -2, 2)])


@pytest.mark.parametrize("op", ["Abs", "Neg", "Sign"])
@pytest.mark.parametrize("dtype", ["float32", "int8", "int16", "int32", "int64", "float16"])
def test_signs_in_every_dtype(op, dtype):
    x = np.array([-3, 0, 5], dtype)
    check_op(one_node(op, {"x": x}), {"x": x})


@pytest.mark.parametrize("op", ["Floor", "Ceil", "Sqrt", "Exp", "Log", "Sin", "Cos", "Reciprocal"])
def test_functions(op):
    x = np.array([[0.1, 0.5, 1, 2.5], [3, 7.3, 10, 12]], "float32")
    check_op(one_node(op, {"x": x}), {"x": x})


@pytest.mark.parametrize("op", ["Sqrt", "Log", "Reciprocal", "Ceil", "Abs"])
def test_functions_at_their_ends(op):
    x = floats(-1, 0, INF, -INF, NAN)
    check_op(one_node(op, {"x": x}), {"x": x})


@pytest.mark.parametrize(
    "op", ["Erf", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"]
)
def test_functions_that_litert_lacks(op):
    low, high = {"Acosh": (1, 50), "Tan": (-20, 20)}.get(op, (-1, 1))
    x = np.linspace(low, high, 1001, dtype="float32")
    if op == "Atanh":
        x *= 0.999
    check_op(one_node(op, {"x": x}), {"x": x}, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["Erf", "Atan", "Sinh", "Cosh", "Asinh"])
def test_functions_that_litert_lacks_far_from_zero(op):
    x = np.concatenate([np.linspace(-80, 80, 2001), [-1e3, 1e3]]).astype("float32")
    check_op(one_node(op, {"x": x}), {"x": x}, rtol=1e-5, atol=1e-6)


def test_erf_is_within_a_millionth():
    import math

    x = np.linspace(-6, 6, 4001, dtype="float32")
    want = np.array([math.erf(value) for value in x], "float32")
    check_op(one_node("Erf", {"x": x}), {"x": x}, rtol=0, atol=5e-7, expected=[want])


def test_open_axes_stay_open():
    inputs = {"x": np.ones((3, 2), "float32"), "other": np.array([[1, 2]], "float32")}
    model = one_node("Add", inputs, open_axes={"x": {0: "N"}})
    check_op(model, inputs)
    check_op(model, inputs | {"x": np.ones((7, 2), "float32")})


@pytest.mark.parametrize("op", ["Add", "Exp", "Max"])
def test_tensors_without_axes_or_elements(op):
    for shape in ((), (0,), (2, 0, 3)):
        x = np.ones(shape, "float32")
        inputs = {"x": x} if op == "Exp" else {"x": x, "other": x}
        check_op(one_node(op, inputs), inputs)
