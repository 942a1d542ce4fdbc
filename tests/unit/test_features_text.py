"""Text and bytes: each step by literals, and what is neither."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo
from edgeops.runtime.features import FORMAT, parse
from tests.unit._features import features, made, misfit, refused

WORDS = {"vocabulary": {"tokens": ["the", "cat"], "unknown": 9}}


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("The  cat\nsat", ["lower", "split", WORDS], [0, 1, 9]),
        (b"the cat", ["split", WORDS], [0, 1]),
        ("", ["split", WORDS], []),
        (
            "cat",
            [{"split": "characters"}, {"vocabulary": {"tokens": {"c": 5, "a": 6, "t": 7}}}],
            [5, 6, 7],
        ),
        ("e\u0301", ["unicode", {"split": "characters"}, {"vocabulary": ["\u00e9"]}], [0]),
        (" x ", ["strip", "encode", "codes"], [120]),
        ("a foobar", ["split", {"hash": {"buckets": 16, "first": 1}}], [0xC + 1, 0x8 + 1]),
        ("the cat the", ["split", WORDS, {"bag": 3}], [2, 1, 0]),
        ("the cat the", ["split", WORDS, {"bag": {"size": 1, "binary": True}}], [1]),
        ("the cat", ["split", WORDS, {"length": {"to": 3, "pad": -1}}], [0, 1, -1]),
        ("the cat", ["split", WORDS, {"length": 1}], [0]),
        ("the cat", ["split", WORDS, {"length": {"to": 1, "keep": "end"}}], [1]),
        ("the cat", ["split", WORDS, {"length": {"to": 3, "fill": "start"}}], [0, 0, 1]),
        (
            "the cat the cat",
            ["split", WORDS, {"length": {"to": 4, "before": [101], "after": [102]}}],
            [101, 0, 1, 102],
        ),
        (
            "cat",
            ["split", WORDS, {"length": {"to": 4, "before": [101], "after": [102]}}],
            [101, 1, 102, 0],
        ),
    ],
)
def test_steps_on_text(text, steps, expected):
    found = made("text", text, *steps)
    assert found.tolist() == expected
    assert found.dtype in {np.dtype(np.int32), np.dtype(np.float32)}


ENDS = {"first": 3, "last": 2, "pad": 256}


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (b"abcdef", {}, [97, 98, 99, 101, 102]),
        (b"a", {}, [97, 256, 256, 256, 97]),
        (b"", {}, [256] * 5),
        (b" a ", {"strip": True}, [97, 32, 256, 32, 97]),
        (b" a ", {}, [32, 97, 32, 97, 32]),
        (b"    abc", {"strip": True, "block": 3}, [256, 256, 256, 98, 99]),
        (b"abc", {"last": 0}, [97, 98, 99]),
        (b"abc", {"first": 0}, [98, 99]),
    ],
)
def test_first_and_last_bytes(data, options, expected):
    assert made("bytes", data, {"ends": {**ENDS, **options}}).tolist() == expected


def test_bytes_come_as_bytes_paths_and_arrays(tmp_path):
    (tmp_path / "x").write_bytes(b"ab")
    for value in (
        b"ab",
        bytearray(b"ab"),
        memoryview(b"ab"),
        np.array([97, 98], np.uint8),
        tmp_path / "x",
    ):
        assert made("bytes", value, "codes").tolist() == [97, 98]
    assert made("bytes", b" ab ", {"strip": "left"}, "codes").tolist() == [97, 98, 32]


def test_a_model_may_take_text_as_it_is():
    maker = features("text", "lower")
    assert maker.outputs == (TensorInfo("x", ("batch",), "str"),)
    found = maker.batch([{"x": "Ab"}, {"x": ""}])["x"]
    assert found.tolist() == ["ab", ""]
    assert found.dtype == object


@pytest.mark.parametrize("value", [b"\xff", None, 3, ["a"], "a" * 21], ids=repr)
def test_what_is_no_text_is_refused(value):
    assert refused("text", value, max_characters=20)


@pytest.mark.parametrize(
    "value", ["text", None, 3, np.zeros(2), np.zeros((1, 1), np.uint8)], ids=repr
)
def test_what_is_no_bytes_is_refused(value):
    assert refused("bytes", value, "codes")


def test_tokens_that_the_vocabulary_does_not_know_are_refused():
    assert "'dog' is not in" in refused("text", "the dog", "split", {"vocabulary": ["the"]})


@pytest.mark.parametrize(
    ("kind", "steps", "words"),
    [
        ("text", ["split"], "by vocabulary or hash"),
        ("bytes", [], "by ends or codes"),
        ("text", ["encode"], "by ends or codes"),
        ("text", ["split", {"vocabulary": ["a", "a"]}], "each token once"),
        ("text", ["split", {"vocabulary": {"tokens": {"a": "b"}}}], "whole number"),
        ("text", ["split", WORDS, {"length": {"to": 1, "before": [1, 2]}}], "room"),
        ("bytes", [{"ends": {"pad": 0}}], "first or last"),
        ("bytes", [{"ends": {**ENDS, "block": 1}}], "a block of at least"),
        ("text", [{"vocabulary": ["a"]}], "cannot follow"),
        ("text", [{"vocabulary": ["a"]}], "put vocabulary after split or encode"),
        ("image", [{"reshape": [-1]}, {"layout": "NHWC"}], "put reshape after layout"),
        ("image", [{"layout": "NHWC"}, {"crop": {}}], "put crop before layout"),
    ],
)
def test_steps_that_do_not_fit_are_refused(kind, steps, words):
    assert words in misfit(kind, *steps)


def test_shapes_are_known_where_steps_fix_them():
    document = {
        "format": FORMAT,
        "inputs": {
            "a": {"kind": "text", "steps": ["split", WORDS, {"length": 7}]},
            "b": {"kind": "bytes", "steps": [{"ends": ENDS}]},
            "c": {"kind": "bytes", "steps": ["codes"]},
        },
    }
    assert parse(document).outputs == (
        TensorInfo("a", ("batch", 7), "int32"),
        TensorInfo("b", ("batch", 5), "int32"),
        TensorInfo("c", ("batch", "any"), "int32"),
    )
