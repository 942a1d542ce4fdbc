"""A variance from mean squares becomes one from differences: same number, more of its digits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeops.convert.variance import steady_variance
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession
from tests.unit._small_models import model, node

X = np.random.default_rng(2).standard_normal((3, 5, 8)).astype("float32")
AXES = {"a": np.array([2])}
FACTOR = {"f": np.float32(1 / 8)}
BY_SUM = [
    node("ReduceSum", "x a", "s1", keepdims=0),
    node("Mul", "s1 f", "m"),
    node("Mul", "x x", "q"),
    node("ReduceSum", "q a", "s2", keepdims=0),
    node("Mul", "s2 f", "m2"),
    node("Mul", "m m", "mm"),
    node("Sub", "m2 mm", "y"),
]
BY_MEAN = [
    node("ReduceMean", "x", "m", axes=[1, 2]),
    node("Pow", "x two", "q"),
    node("ReduceMean", "q", "m2", axes=[1, 2]),
    node("Pow", "m two", "mm"),
    node("Sub", "m2 mm", "y"),
]


def answer(proto, x):
    return OnnxRuntimeSession(proto.SerializeToString()).run({"x": x})["y"]


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [(BY_SUM, AXES | FACTOR), (BY_MEAN, {"two": np.float32(2)})],
    ids=["by-sum", "by-mean"],
)
def test_variance_is_found_and_stays_the_same(nodes, constants):
    proto = model(nodes, {"x": X}, {"y": ("float32", None)}, constants)
    expected = answer(proto, X)
    assert steady_variance(proto) == 1
    onnx.checker.check_model(proto, full_check=True)
    np.testing.assert_allclose(answer(proto, X), expected, rtol=1e-5)


def test_variance_far_from_zero_keeps_its_digits():
    proto = model(BY_SUM, {"x": X}, {"y": ("float32", None)}, AXES | FACTOR)
    far = X + 3000
    exact = far.astype("float64").var(axis=2)
    assert not np.allclose(answer(proto, far), exact, rtol=1e-2)
    steady_variance(proto)
    np.testing.assert_allclose(answer(proto, far), exact, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "constants"),
    [
        ({}, AXES | {"f": np.float32(1 / 9)}),
        ({3: node("ReduceSum", "q b", "s2", keepdims=0)}, AXES | FACTOR | {"b": np.array([2])}),
        ({6: node("Add", "m2 mm", "y")}, AXES | FACTOR),
        ({5: node("Mul", "m m2", "mm")}, AXES | FACTOR),
        ({2: node("Abs", "x", "q")}, AXES | FACTOR),
    ],
    ids=["no-mean", "other-axes", "sum", "no-square", "no-squares"],
)
def test_what_only_looks_like_a_variance_is_left(change, constants):
    nodes = [change.get(place, old) for place, old in enumerate(BY_SUM)]
    proto = model(nodes, {"x": X}, {"y": ("float32", None)}, constants)
    before = proto.SerializeToString()
    assert steady_variance(proto) == 0
    assert proto.SerializeToString() == before
