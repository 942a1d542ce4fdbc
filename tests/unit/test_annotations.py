"""Slices and labels of any number: read from every kind of data set, or refused with a code."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.project.datasets import load_samples, samples_for
from edgeops.validate.measured import few, first
from edgeops.validate.slices import figure_names, notes

X = np.zeros((4, 3), "float32")
LIGHT = np.array(["day", "night", "day", "day"])


def saved(folder, **arrays):
    np.savez(folder / "e.npz", **{"x": X, "labels": np.arange(4)} | arrays)
    return load_samples("e.npz", folder)


def refused(folder, **arrays):
    with pytest.raises(InputError) as error:
        saved(folder, **arrays)
    return error.value


def test_slices_are_told_apart_from_inputs(tmp_path):
    read = saved(tmp_path, **{"slice:light": LIGHT, "slice:room": np.array([1, 2, 2, 10])})
    assert list(read.arrays) == ["x"]
    assert read.slices["light"].tolist() == LIGHT.tolist()
    assert figure_names("f1", read.slices) == (
        "f1[light=day]",
        "f1_drop[light=day]",
        "f1[light=night]",
        "f1_drop[light=night]",
        "f1[room=1]",
        "f1_drop[room=1]",
        "f1[room=2]",
        "f1_drop[room=2]",
        "f1[room=10]",
        "f1_drop[room=10]",
    )


def test_slices_stay_with_their_samples(tmp_path):
    read = saved(tmp_path, **{"slice:light": LIGHT})
    assert first(read, 2).slices["light"].tolist() == ["day", "night"]
    assert few(read).slices["light"].tolist() == LIGHT.tolist()
    inputs = [TensorInfo("x", ("N", 3), "float32")]
    assert samples_for("e.npz", tmp_path, inputs, labels=True).slices.keys() == {"light"}


def test_csv_has_slices_as_columns_of_text(tmp_path):
    (tmp_path / "e.csv").write_text("a,slice:light,labels,b\n1,day,7,2\n3,night,8,4\n")
    read = samples_for("e.csv", tmp_path, [TensorInfo("in", ("N", 2), "float32")], labels=True)
    assert read.arrays["in"].tolist() == [[1, 2], [3, 4]]
    assert read.slices["light"].tolist() == ["day", "night"]


def test_function_gives_slices_and_labels_of_any_number(tmp_path):
    (tmp_path / "boxes_of.py").write_text(
        "import numpy as np\n"
        "def batches():\n"
        "    for light, counts in (('day', (2, 0)), ('night', (1, 3))):\n"
        "        yield {\n"
        "            'x': np.zeros((2, 3), 'float32'),\n"
        "            'slice:light': np.array([light] * 2),\n"
        "            'labels': [np.ones((n, 5)) for n in counts],\n"
        "        }\n"
    )
    read = load_samples("boxes_of:batches", tmp_path)
    assert [len(rows) for rows in read.labels] == [2, 0, 1, 3]
    assert read.slices["light"].tolist() == ["day", "day", "night", "night"]
    assert (read.count, list(read.arrays)) == (4, ["x"])


def test_rows_of_labels_are_shared_out_by_their_numbers(tmp_path):
    rows = {"labels": np.arange(30.0).reshape(6, 5), "labels:rows": np.array([2, 0, 1, 3])}
    read = saved(tmp_path, **rows)
    assert [len(part) for part in read.labels] == [2, 0, 1, 3]
    assert read.labels[2].tolist() == [[10, 11, 12, 13, 14]]
    assert list(read.arrays) == ["x"]
    assert [len(part) for part in first(read, 3).labels] == [2, 0, 1]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (np.array([2, 0, 1, 4]), "adds up to 7, and labels has 6 rows"),
        (np.array([2.0, 0, 1, 3]), "is float64[4]"),
        (np.array([7, 0, 1, -2]), "is int64[4]"),
        (np.array([[2, 0, 1, 3]]), "is int64[1, 4]"),
    ],
)
def test_numbers_of_rows_that_cannot_be_are_refused(rows, why, tmp_path):
    error = refused(tmp_path, **{"labels": np.zeros((6, 5)), "labels:rows": rows})
    assert error.code == "labels-rows"
    assert why in error.why


def test_rows_for_other_samples_than_there_are_are_refused(tmp_path):
    error = refused(tmp_path, **{"labels": np.zeros((6, 5)), "labels:rows": np.array([3, 3])})
    assert error.code == "data-lengths"


@pytest.mark.parametrize(
    ("name", "array", "code"),
    [
        ("slice:light", LIGHT[:3], "data-lengths"),
        ("slice:", LIGHT, "slice-key"),
        ("slice:a=b", LIGHT, "slice-key"),
        ("slice:light", np.array("day"), "slice-shape"),
        ("slice:light", LIGHT[:, None], "slice-shape"),
        ("slice:light", np.zeros(4, complex), "slice-shape"),
        ("slice:light", np.array(["day", "", "x", "y"]), "slice-value"),
        ("slice:light", np.array(["day", "a]b", "x", "y"]), "slice-value"),
        ("slice:light", np.array(["day", " b", "x", "y"]), "slice-value"),
        ("slice:light", np.array(["day", "a\nb", "x", "y"]), "slice-value"),
        ("slice:light", np.array([1.5, 1, 2, 3]), "slice-value"),
        ("slice:light", np.array([np.nan, 1, 2, 3]), "slice-value"),
    ],
)
def test_slices_that_do_not_serve_are_refused(name, array, code, tmp_path):
    assert refused(tmp_path, **{name: array}).code == code


def test_too_many_values_are_refused(tmp_path):
    arrays = {"x": np.zeros((101, 3), "float32"), "slice:id": np.arange(101)}
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(InputError) as error:
        load_samples("e.npz", tmp_path)
    assert error.value.code == "slice-many"
    assert "101 different values" in error.value.what


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (np.array([True, False]), ["false", "true"]),
        (np.array([10.0, 2.0], "float32"), ["2", "10"]),
        (np.array([b"b", b"a"]), ["a", "b"]),
        (np.array(["x", "7"]), ["7", "x"]),
    ],
)
def test_values_are_named_as_a_person_writes_them(array, values):
    names = figure_names("accuracy", {"key": array}, source=False)
    assert names == tuple(f"accuracy[key={value}]" for value in values)


def test_small_slices_are_pointed_out():
    many = np.array(["day"] * 40 + ["night"] * 12)
    assert notes({"light": many}) == (
        "slices of fewer than 30 samples say little, see their intervals: light=night (12)",
    )
    assert notes({"light": many[:40]}) == ()


@pytest.mark.parametrize(
    ("key", "values", "code"),
    [
        ("rev", LIGHT, "slice-key"),
        ("light", np.array(["\ud800"] * 4), "slice-value"),
        ("light", np.full(4, 1e300), "slice-value"),
        ("light", np.full(4, np.nan), "slice-value"),
    ],
)
def test_slices_that_could_stand_in_no_name_are_refused(key, values, code, tmp_path):
    assert refused(tmp_path, **{f"slice:{key}": values}).code == code
