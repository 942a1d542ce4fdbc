"""Whatever a rules document holds, it is taken or refused as edgeops refuses, and answers in JSON."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgeops.errors import EdgeopsError
from edgeops.runtime.rules import FORMAT, parse

WORDS = st.sampled_from(
    [
        *(
            "outputs",
            "outputs.p",
            "features",
            "models.m",
            "top",
            "top[0]",
            "label",
            "x",
            "p",
            "max",
        ),
        *(
            "+",
            "-",
            "*",
            "/",
            "%",
            "<",
            "==",
            "&&",
            "||",
            "!",
            "?",
            ":",
            ".",
            ",",
            "(",
            ")",
            "[",
            "]",
        ),
        *(
            "0",
            "1",
            "1.5",
            "-1",
            "9223372036854775807",
            "1e308",
            "'a'",
            '"b"',
            "true",
            "null",
            "1u",
        ),
        *(
            ".map(x, ",
            ".filter(x, ",
            ".all(x, ",
            ".size()",
            "has(",
            "in",
            "{",
            "}",
            "int(",
            "\\",
            "'",
        ),
    ]
)
EXPRESSIONS = st.lists(WORDS, min_size=1, max_size=9).map(" ".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | EXPRESSIONS | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [
    *("name", "kind", "form", "boxes", "scores", "output", "top", "apply", "least", "most", "size"),
    *("priors", "order", "units", "labels", "model", "scale", "background", "overlap", "columns"),
]
STEPS = st.fixed_dictionaries(
    {"name": st.sampled_from(["top", "s", "max"])},
    optional={
        **dict.fromkeys(KEYS[2:], VALUES),
        "kind": st.sampled_from(["classification", "detection", "regression", ""]),
        "form": st.sampled_from(["ssd", "yolo"]),
    },
)
RULES = st.fixed_dictionaries(
    {"answer": st.dictionaries(st.text(max_size=4), VALUES, max_size=3)},
    optional={"when": VALUES, "name": VALUES},
)
DOCUMENTS = st.fixed_dictionaries(
    {"format": st.just(FORMAT)},
    optional={
        "steps": st.lists(STEPS, max_size=2) | VALUES,
        "values": st.dictionaries(st.sampled_from(["v", "w"]), EXPRESSIONS, max_size=2),
        "rules": st.lists(RULES, max_size=3) | VALUES,
        "models": st.just({"m": "other"}) | VALUES,
        "fallback": VALUES,
    },
)
OUTPUTS = {"p": np.array([[0.25, 0.5, 0.25]], np.float32)}


def _call(document):
    try:
        rules = parse(document, "rules.yaml")
        answer = rules({}, OUTPUTS, ("a", "b", "c"), models=lambda _: OUTPUTS)
    except EdgeopsError:
        return
    arrays = {name: value.tolist() for name, value in answer.items() if hasattr(value, "tolist")}
    json.dumps({**answer, **arrays}, allow_nan=False)


@given(DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_documents_answer_or_are_refused(document):
    _call(document)


@given(EXPRESSIONS)
@settings(max_examples=500, deadline=None)
def test_expressions_answer_or_are_refused(expression):
    step = {"name": "top", "kind": "classification"}
    rules = [{"when": expression, "answer": {"a": expression}}, {"answer": {"b": expression}}]
    _call({"format": FORMAT, "steps": [step], "rules": rules})


ARRAYS = arrays(
    st.sampled_from(["float32", "float64", "int8", "int64", "bool"]),
    array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=8),
)
PARTS = st.fixed_dictionaries(
    {
        "kind": st.just("detection"),
        "form": st.just("ssd"),
        "boxes": st.just("b"),
        "scores": st.just("p"),
    },
    optional={
        "background": st.integers(-1, 3),
        "columns": st.booleans(),
        "order": st.sampled_from(["xyxy", "yxyx", "cxcywh"]),
        "apply": st.sampled_from(["none", "softmax", "sigmoid"]),
        "size": st.just([8, 8]),
        "priors": st.just({"strides": [4], "sizes": [[2, 4]]}),
        "least": st.sampled_from([0, 0.5]),
    },
) | st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["classification", "regression", "detection"]),
        "output": st.just("p"),
    },
    optional={"form": st.just("yolo"), "apply": st.sampled_from(["none", "softmax", "sigmoid"])},
)


@given(PARTS, ARRAYS, ARRAYS)
@settings(max_examples=400, deadline=None)
def test_steps_take_any_output_or_refuse_it(step, boxes, scores):
    try:
        rules = parse({"format": FORMAT, "steps": [{"name": "s", **step}]})
        answer = rules({}, {"b": boxes, "p": scores}, ("a",))
    except EdgeopsError:
        return
    json.dumps(answer, allow_nan=False)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_anything_is_refused_as_a_document(value):
    _call(value)
