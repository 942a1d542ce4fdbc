"""Whatever a rules document holds, it is taken or refused as edgeops refuses, and answers in JSON."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

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


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_anything_is_refused_as_a_document(value):
    _call(value)
