"""Samples on which the source does not agree with itself."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.convert.reference import otherwise
from edgeops.convert.steady import steady, unsteadiness
from edgeops.core.contracts import Samples
from edgeops.core.variant import TensorInfo
from edgeops.model.source import open_source
from tests.helpers import write_tiny_model


class Source:
    """Answers twice its input; where that is negative also by how many came along."""

    inputs = (TensorInfo("x", ("N", 2), "float32"),)
    outputs = (TensorInfo("y", ("N", 2), "float32"),)

    def __init__(self, much):
        self._much = much

    def run(self, arrays):
        x = arrays["x"]
        wobble = np.where(x < 0, 1 + self._much * len(x), 1)
        return {"y": (2 * x * wobble).astype("float32")}


def samples():
    x = np.array([[1, 2], [-1, 2], [3, 4], [-3, -4]], "float32")
    return Samples({"x": x}, None, 4, "synthetic", "")


def test_samples_that_change_with_the_batch_are_found():
    found = unsteadiness(Source(0.01), [], samples(), "fp32")
    assert found[0] == found[2] == 0
    assert found[1] > 1
    assert found[3] > 10
    assert steady(found) == [0, 2]


def test_more_is_allowed_where_the_tolerance_is_wider():
    assert max(unsteadiness(Source(0.0001), [], samples(), "fp16")) < 0.1


def test_another_way_to_run_the_same_counts_too():
    found = unsteadiness(Source(0), [Source(0.5)], samples(), "fp32")
    assert [much > 1 for much in found] == [False, True, False, True]


@pytest.mark.parametrize("found", [[0, 0, 0], [5, 5, 5]])
def test_nothing_is_left_out_when_it_is_all_or_none(found):
    assert steady(found) is None


def test_onnx_runs_also_without_optimizations(tmp_path):
    source = open_source(write_tiny_model(tmp_path / "m.onnx"))
    (plain,) = otherwise(source)
    answer = plain.run({"x": np.zeros((3, 4), "float32")})
    assert answer["probabilities"].shape == (3, 3)


class Cancelling(Source):
    """Subtracts two large numbers that its input is added to."""

    def run(self, arrays):
        large = np.float32(4096) + arrays["x"]
        return {"y": (large - np.float32(4096)).astype("float32")}


def test_samples_whose_last_digits_decide_are_found():
    x = np.array([[1e-4, 1e-4], [512, 512]], "float32")
    found = unsteadiness(Cancelling(0), [], Samples({"x": x}, None, 2, "s", ""), "fp32")
    assert found[1] < 0.1
    x[0] = 2**-12  # half a step between numbers of that size: the next one is rounded up
    found = unsteadiness(Cancelling(0), [], Samples({"x": x}, None, 2, "s", ""), "fp32")
    assert found[0] > 1
