from __future__ import annotations

import numpy as np

from tests.unit._litert import check_op, one_node


def test_relu_cuts_what_is_negative():
    x = np.array([[-1, 0, 2.5]], "float32")
    check_op(one_node("Relu", {"x": x}), {"x": x}, expected=[np.array([[0, 0, 2.5]], "float32")])


def test_softmax_sums_to_one_along_any_axis():
    x = np.arange(24, dtype="float32").reshape(2, 3, 4)
    for axis in (0, 1, -1):
        check_op(one_node("Softmax", {"x": x}, axis=axis), {"x": x})
