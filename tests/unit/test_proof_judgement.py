"""What a proof lets pass: winning classes, quantized steps, batches, labels, noise."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.convert import proof
from edgeops.convert import samples as sample_files
from edgeops.convert.prove import compare, expect
from edgeops.core.contracts import Samples
from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError, RefusedError


def parity(expected, found, precision="fp32"):
    return proof.compare({"y": expected}, {"y": found}, "test", len(expected), precision=precision)


def scores(*rows):
    return np.array(rows, "float32")


def test_another_winner_is_refused_where_the_source_was_sure():
    row = np.full(10002, 10.0, "float32")
    row[0], row[1] = 21.2, 20.0
    found = row.copy()
    found[0], found[1] = 20.55, 20.65
    (part,) = proof.each_output({"y": row[None]}, {"y": found[None]})
    assert part.max_rel < proof.TOLERANCES["fp32"].rel  # no other bound sees it
    assert part.problem == "sample 0: class 1 instead of 0, which led by 1.2"
    assert part.top1 == 0.0


def test_winner_may_change_where_the_source_was_undecided():
    close = scores([1.0, 1.000001, 0.0], [3.0, 1.0, 0.0])
    other = scores([1.000001, 1.0, 0.0], [3.0, 1.0, 0.0])
    figures = parity(close, other)
    assert (figures.passed, figures.top1) == (True, 0.5)


@pytest.mark.parametrize("shape", [(4, 5), (4, 1, 1, 5), (4, 5, 1, 1)])
def test_scores_are_known_by_their_one_axis_of_classes(shape):
    array = np.random.default_rng(0).normal(size=shape).astype("float32")
    assert parity(array, array.copy()).top1 == 1.0


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 2, 3, 5), (4, 1), (4,)])
def test_other_outputs_have_no_winner(shape):
    array = np.random.default_rng(0).normal(size=shape).astype("float32")
    assert parity(array, array.copy()).top1 is None


@pytest.mark.parametrize(
    ("asked", "source", "tolerance"),
    [
        ("fp32", "fp32", "fp32"),
        ("fp16", "fp32", "fp16"),
        ("fp32", "fp16", "fp16"),
        ("fp32", "int8", "quantized"),
        ("fp16", "int8", "quantized"),
        ("int8", "fp32", "int8"),
    ],
)
def test_tolerance_is_that_of_the_rougher_side(asked, source, tolerance):
    assert proof.bounds_for(asked, source) == tolerance


def test_quantized_outputs_may_be_a_step_apart_and_no_more():
    expected = np.arange(-60, 60, dtype="int8").reshape(4, 30)
    assert parity(expected, expected + np.int8(1), "quantized").passed
    assert not parity(expected, expected + np.int8(2), "quantized").passed
    assert not parity(expected, expected + np.int8(1), "fp32").passed


def test_steps_do_not_wrap_around_at_the_end_of_the_range():
    low, high = np.full((4, 30), -128, "int8"), np.full((4, 30), 127, "int8")
    assert not parity(low, high, "quantized").passed


def test_indices_stay_exact_in_quantized_models():
    expected = np.arange(40, dtype="int64").reshape(4, 10)
    assert not parity(expected, expected + 1, "quantized").passed


def prove(source, converted, samples, *, tolerance):
    return compare(expect(source, converted.inputs, samples), converted, tolerance)


class Linear:
    """A session that doubles; ``wrong`` makes another of it for some batch sizes."""

    outputs = (TensorInfo("y", ("N", 3), "float32"),)

    def __init__(self, shape=("N", 3), wrong=lambda size: False, factor=2.0):
        self.inputs = (TensorInfo("x", shape, "float32"),)
        self._wrong = wrong
        self._factor = factor
        self.sizes = []

    def run(self, arrays):
        x = arrays["x"]
        self.sizes.append(len(x))
        factor = 7.0 if self._wrong(len(x)) else self._factor
        return {"y": (x * factor).astype("float32")}


def data(count=12, labels=None):
    x = np.random.default_rng(3).normal(size=(count, 3)).astype("float32")
    return Samples({"x": x}, labels, count, "data.npz", "")


def test_several_batch_sizes_are_tried_where_the_batch_is_open():
    converted = Linear()
    prove(Linear(), converted, data(), tolerance="fp32")
    assert {1, 3, 12} <= set(converted.sizes)


def test_fixed_batches_are_kept():
    converted = Linear(shape=(2, 3))
    prove(Linear(), converted, data(), tolerance="fp32")
    assert set(converted.sizes) == {2}


@pytest.mark.parametrize("size", [1, 3, 12])
def test_wrong_answers_for_one_batch_size_are_found(size):
    with pytest.raises(RefusedError) as caught:
        prove(Linear(), Linear(wrong=lambda n: n == size), data(), tolerance="fp32")
    assert caught.value.code == "parity-failed"
    assert caught.value.result["differs"]["batch"] in (size, 32)
    assert caught.value.result["parity"]["passed"] is False


def test_first_sample_that_differs_is_told():
    class LateLiar(Linear):
        def run(self, arrays):
            answer = super().run(arrays)
            answer["y"][arrays["x"][:, 0] == 99] += 1
            return answer

    samples = data()
    samples.arrays["x"][7, 0] = 99
    with pytest.raises(RefusedError) as caught:
        prove(Linear(), LateLiar(), samples, tolerance="fp32")
    assert caught.value.result["differs"] == {"batch": 32, "count": 12, "sample": 7}


def test_labels_give_the_accuracy_of_both():
    labels = data().arrays["x"].argmax(axis=1)
    labels[:3] = (labels[:3] + 1) % 3
    found = prove(Linear(), Linear(factor=2.00001), data(labels=labels), tolerance="fp32")
    assert found.accuracy == {"source": 0.75, "converted": 0.75, "samples": 12}


@pytest.mark.parametrize("labels", [None, np.zeros((12, 4)), np.array(["a"] * 12)])
def test_labels_that_are_no_classes_give_none(labels):
    assert prove(Linear(), Linear(), data(labels=labels), tolerance="fp32").accuracy is None


def test_proof_without_data_says_so():
    found = prove(Linear(), Linear(), None, tolerance="fp32")
    assert found.parity.data == "synthetic"
    assert any("noise" in note for note in found.notes)


def test_noise_has_two_scales_and_is_the_same_each_time():
    first, second = sample_files.synthetic(Linear()), sample_files.synthetic(Linear())
    assert np.array_equal(first.arrays["x"], second.arrays["x"])
    wide = Linear(shape=("N", 4000))
    made = sample_files.synthetic(wide).arrays["x"]
    assert made[0].std() == pytest.approx(1.0, rel=0.1)
    assert made[1].std() == pytest.approx(3.0, rel=0.1)


class Table(Linear):
    """A session that looks indices up and refuses what is out of range."""

    def __init__(self, rows, dtype="int64", shape=("N", 5)):
        super().__init__()
        self.inputs = (TensorInfo("x", shape, dtype),)
        self._rows = rows

    def run(self, arrays):
        if arrays["x"].size and int(abs(arrays["x"].astype("int64")).max()) >= self._rows:
            raise InputError("input-misfit", "index out of range", why="out of range")
        return {"y": arrays["x"].astype("float32")}


@pytest.mark.parametrize(("rows", "reaches"), [(1000, 32), (40, 8), (9, 2), (2, 0)])
def test_indices_reach_as_far_as_the_model_takes_them(rows, reaches):
    x = sample_files.synthetic(Table(rows)).arrays["x"]
    assert set(np.unique(x[0::2])) <= {0, 1}
    assert x[1::2].max() >= min(reaches, rows - 1)
    assert x.max() < rows


def test_integer_vectors_stay_small_for_they_may_be_sizes():
    assert sample_files.synthetic(Table(1000, shape=(4,))).arrays["x"].max() <= 1


def test_bytes_cover_their_whole_range():
    x = sample_files.synthetic(Table(1000, "int8", ("N", 500))).arrays["x"]
    assert (x.min(), x.max()) == (-128, 127)


def test_model_that_takes_no_noise_needs_samples():
    with pytest.raises(InputError) as caught:
        sample_files.synthetic(Table(0))
    assert caught.value.code == "samples-needed"


def test_samples_go_through_a_file_with_their_labels(tmp_path):
    labels = np.arange(12)
    given = Samples({"a/b:0": data().arrays["x"], "labels": np.float32(2)}, labels, 12, "d", "")
    sample_files.save(given, tmp_path / "s.npz")
    found = sample_files.read(tmp_path / "s.npz", "d")
    assert list(found.arrays) == ["a/b:0", "labels"]
    assert found.arrays["labels"].ndim == 0
    assert np.array_equal(found.labels, labels)
    assert found.count == 12
