"""Rows of a table: each step by literals, missing and unknown values, rows of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.runtime.features import FORMAT, parse
from edgeops.runtime.features.columns import fnv1a
from tests.unit._features import malformed

PLAN = {"name": "plan", "type": "text", "steps": [{"one_hot": ["free", "pro"]}]}
AGE = {"name": "age", "steps": [{"fill": 30}, {"clip": {"least": 0, "most": 100}}]}


def document(*columns, **options):
    return {
        "format": FORMAT,
        "inputs": {"x": {"kind": "columns", "columns": [*columns], **options}},
    }


def table(*columns, **options):
    return parse(document(*columns, **options))


def one(value, *steps, kind="number"):
    """Return what one value of one column becomes."""
    return table({"name": "a", "type": kind, "steps": [*steps]})({"x": {"a": value}})["x"][
        0
    ].tolist()


@pytest.mark.parametrize(
    ("value", "steps", "expected"),
    [
        (3, [], [3]),
        (True, [], [1]),
        (np.int64(4), [], [4]),
        (None, [{"fill": 7}], [7]),
        (math.nan, [{"fill": 7}], [7]),
        (-5, [{"clip": {"least": 0}}], [0]),
        (math.inf, [{"clip": {"most": 9}}], [9]),
        (10**400, [{"clip": {"most": 9}}], [9]),
        (50, [{"standard": {"mean": 40, "std": 5}}], [2]),
        (15, [{"minmax": {"least": 10, "most": 20}}], [0.5]),
        (0, ["log1p"], [0]),
        (-1, [{"bucketize": [0, 10]}], [0]),
        (0, [{"bucketize": [0, 10]}], [1]),
        (10, [{"bucketize": [0, 10]}], [2]),
        (10, [{"bucketize": [0, 10]}, "one_hot"], [0, 0, 1]),
        (2, [{"one_hot": [1, 2]}], [0, 1]),
        (2, [{"index": [1, 2]}], [1]),
        (5, [{"index": {"values": [1, 2], "unknown": 2}}], [2]),
    ],
)
def test_steps_on_numbers(value, steps, expected):
    assert one(value, *steps) == expected


@pytest.mark.parametrize(
    ("value", "steps", "expected"),
    [
        ("pro", [{"one_hot": ["free", "pro"]}], [0, 1]),
        ("", [{"one_hot": ["", "pro"]}], [1, 0]),
        (None, [{"fill": "free"}, {"one_hot": ["free", "pro"]}], [1, 0]),
        (" PRO ", ["strip", "lower", {"one_hot": ["free", "pro"]}], [0, 1]),
        ("x", [{"one_hot": {"values": ["free", "pro"], "other": True}}], [0, 0, 1]),
        ("x", [{"one_hot": {"values": ["free", "pro"], "ignore": True}}], [0, 0]),
        (None, [{"one_hot": {"values": ["free", "pro"], "ignore": True}}], [0, 0]),
        ("pro", [{"index": ["free", "pro"]}], [1]),
        # 0xaf63dc4c8601ec8c is the hash of "a" that the authors of FNV publish.
        ("a", [{"hash": 16}], [0xC]),
        (
            "a",
            [{"hash": 3}, "one_hot"],
            [1.0 if k == 0xAF63DC4C8601EC8C % 3 else 0 for k in range(3)],
        ),
    ],
)
def test_steps_on_text(value, steps, expected):
    assert one(value, *steps, kind="text") == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", 0xCBF29CE484222325), (b"a", 0xAF63DC4C8601EC8C), (b"foobar", 0x85944171F73967E8)],
)
def test_the_hash_is_the_published_one(data, expected):
    assert fnv1a(data) == expected


def test_columns_stand_side_by_side_in_their_order():
    maker = table(AGE, PLAN)
    assert maker.outputs == (TensorInfo("x", ("batch", 3), "float32"),)
    for row in ({"age": 20, "plan": "pro"}, {"plan": "pro", "age": 20.0}, [20, "pro"], (20, "pro")):
        assert maker({"x": row})["x"].tolist() == [[20, 0, 1]]
    rows = maker.batch([{"x": [None, "pro"]}, {"x": {"plan": "free"}}])["x"]
    assert rows.tolist() == [[30, 0, 1], [30, 1, 0]]


def test_arrays_are_rows_of_numbers():
    maker = table({"name": "a"}, {"name": "b"})
    assert maker({"x": np.array([1, 2])})["x"].tolist() == [[1, 2]]
    assert maker({"x": np.array([1.5, 2], np.float32)})["x"].dtype == np.float32


def test_steps_may_follow_on_the_whole_row():
    maker = table(
        {"name": "a"}, {"name": "b"}, steps=[{"quantize": {"scale": 0.5}}, {"reshape": [2, 1]}]
    )
    assert maker.outputs == (TensorInfo("x", ("batch", 2, 1), "int8"),)
    batch = maker.batch([{"x": [1, 2]}, {"x": [3, 400]}])["x"]
    assert batch.tolist() == [[[2], [4]], [[6], [127]]]


def test_a_step_that_makes_nan_is_not_told_as_a_missing_value():
    maker = table({"name": "a", "steps": ["log1p"]})
    with pytest.raises(InputError, match="-3 becomes NaN"):
        maker.batch([{"x": [1]}, {"x": [-3]}])
    with pytest.raises(InputError, match="is missing"):
        maker({"x": [None]})


def test_codes_may_be_whole_numbers():
    maker = table({"name": "a", "steps": [{"index": [5, 6]}]}, dtype="int64")
    assert maker({"x": [6]})["x"].dtype == np.int64


def test_columns_that_nobody_asked_for():
    row = {"age": 1, "plan": "pro", "user": 3}
    with pytest.raises(InputError, match="no column 'user'"):
        table(AGE, PLAN)({"x": row})
    assert table(AGE, PLAN, extra=True)({"x": row})["x"].shape == (1, 3)


@pytest.mark.parametrize(
    ("row", "where", "words"),
    [
        ({"a": None, "b": "x"}, "x.a", "is missing"),
        ({"b": "x"}, "x.a", "is missing"),
        ({"a": 1}, "x.b", "not among the values|is missing"),
        ({"a": 1, "b": "z"}, "x.b", "not among the values"),
        ({"a": "1", "b": "x"}, "x.a", "no number"),
        ({"a": 1, "b": 2}, "x.b", "no text"),
        ({"a": math.inf, "b": "x"}, "x", "NaN or infinite"),
        ({"a": 10**400, "b": "x"}, "x", "NaN or infinite"),
        ([1], "x", "list of 1"),
        (3, "x", "cannot be int"),
        (np.zeros((1, 2)), "x", "cannot be ndarray"),
    ],
)
def test_rows_that_are_refused(row, where, words):
    maker = table(
        {"name": "a", "steps": []}, {"name": "b", "type": "text", "steps": [{"one_hot": ["x"]}]}
    )
    with pytest.raises(InputError, match=words) as caught:
        maker({"x": row})
    assert (caught.value.code, caught.value.where) == ("feature-input", where)


@pytest.mark.parametrize(
    ("columns", "place", "words"),
    [
        ([], "columns", "a list of 1 to"),
        ([3], "columns[0]", "a mapping"),
        ([{"nam": "a"}], "columns[0].nam", "unknown key"),
        ([{"name": "a"}, {"name": "a"}], "columns", "one name"),
        ([{"name": "a", "type": "text"}], "columns[0]", "must become numbers"),
        ([{"name": "a", "steps": [{"hash": 3}]}], "columns[0].steps[0].hash", "cannot follow"),
        ([{"name": "a", "steps": [{"fill": "x"}]}], "columns[0].steps[0].fill", "given a number"),
        ([{"name": "a", "steps": ["one_hot"]}], "columns[0].steps[0].one_hot", "given values"),
        (
            [{"name": "a", "steps": [{"bucketize": [2, 1]}]}],
            "columns[0].steps[0].bucketize",
            "rise",
        ),
        (
            [{"name": "a", "steps": [{"minmax": {"least": 1, "most": 1}}]}],
            "columns[0].steps[0].minmax",
            "above least",
        ),
        ([{"name": "a", "type": "text", "steps": [{"hash": 1 << 25}]}], "columns[0]", "float32"),
        ([{"name": "a", "steps": [{"index": ["x"]}]}], "columns[0].steps[0].index", "type"),
        ([{"name": "a", "steps": [{"index": [1, 1]}]}], "columns[0].steps[0].index", "once"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, place, words):
    first = malformed(document(*columns))[0]
    assert first.where == f"features.yaml: inputs.x.{place}"
    assert words in f"{first.what} {first.why}"
