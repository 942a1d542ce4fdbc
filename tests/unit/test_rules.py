"""Rules: what a document may say, what it answers, and how it is refused."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo
from edgeops.errors import EdgeopsError, InputError, RefusedError
from edgeops.runtime.rules import FORMAT, parse
from edgeops.runtime.rules.trial import check_models

P = {"p": np.array([[0.1, 0.7, 0.2]], np.float32)}
LABELS = ("cat", "dog", "bird")
TOP = {"name": "top", "kind": "classification"}


def _rules(**parts):
    return parse({"format": FORMAT, **parts}, "rules.yaml")


def _answer(expression, outputs=P, labels=LABELS, **more):
    rules = _rules(rules=[{"answer": {"a": expression}}], **more)
    return rules({}, outputs, labels)["a"]


def _refused(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value


def test_steps_alone_are_the_answer():
    answer = _rules(steps=[{**TOP, "top": 2}])({}, P, LABELS)
    assert [(one["index"], one["label"]) for one in answer["top"]] == [(1, "dog"), (2, "bird")]
    assert answer["top"][0]["score"] == pytest.approx(0.7)
    json.dumps(answer)


def test_the_first_rule_that_matches_answers():
    rules = _rules(
        steps=[TOP],
        rules=[
            {"name": "sure", "when": "top[0].score > 0.9", "answer": {"is": "top[0].label"}},
            {
                "name": "likely",
                "when": "top[0].score > 0.5",
                "answer": {"is": "'maybe ' + top[0].label"},
            },
            {"name": "else", "answer": {"is": {"constant": "unknown"}, "n": 3, "none": None}},
        ],
    )
    assert rules({}, P, LABELS) == {"is": "maybe dog"}
    assert rules({}, {"p": np.array([[0.95, 0.05]])}, LABELS) == {"is": "cat"}
    assert rules({}, {"p": np.array([[0.4, 0.3, 0.3]])}, LABELS) == {
        "is": "unknown",
        "n": 3,
        "none": None,
    }


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("max(outputs.p)", 0.7),
        ("min(outputs.p)", 0.1),
        ("sum(outputs.p)", 1.0),
        ("mean([1, 2.0])", 1.5),
        ("max(1, 2.5)", 2.5),
        ("abs(-2.5)", 2.5),
        ("round(2.345, 2)", 2.35),
        ("argmax(outputs.p)", 1),
        ("label(argmax(outputs.p))", "dog"),
        ("agreement(['a', 'b', 'a'])", 2 / 3),
        ("majority(['a', 'b', 'b'])", "b"),
        ("outputs['p'][1] >= 0.5 ? 'yes' : 'no'", "yes"),
        ("outputs.p.filter(x, x > 0.15).size()", 2),
        ("has(outputs.q)", False),
        ("{'a': [1, true, null]}", {"a": [1, True, None]}),
        ("'a.map(x, y)'.size()", 11),
    ],
)
def test_expressions_come_to_plain_values(expression, expected):
    found = _answer(expression)
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)
    assert type(found) is type(expected)


def test_values_are_named_parts_of_expressions():
    values = {"high": "max(outputs.p)", "twice": "high * 2.0"}
    assert _answer("twice", values=values) == pytest.approx(1.4)


def test_expressions_see_features_and_inputs():
    rules = _rules(rules=[{"answer": {"a": "features.x[1] + inputs.amount + double(inputs.n)"}}])
    features = {"x": np.array([[1.0, 2.0]]), "image": np.zeros((1, 3, 99, 99))}
    answer = rules(features, P, inputs={"amount": 0.5, "n": 2, "photo": b"..."})
    assert answer == {"a": 4.5}


def test_an_array_is_answered_whole():
    answer = _rules(rules=[{"answer": {"v": {"array": "v"}}}])({}, {"v": np.zeros((1, 9, 99))})
    assert answer["v"].shape == (9, 99)


def _cascade(calls):
    def run(name):
        calls.append(name)
        return {"good": np.array([[0.9]], np.float32)}

    return run


def test_models_are_combined():
    rules = _rules(
        models={"quality": "checker"},
        rules=[{"answer": {"score": "0.5 * outputs.p[1] + 0.5 * models.quality.good[0]"}}],
    )
    calls = []
    assert rules.models["quality"].target == "checker"
    assert rules({}, P, models=_cascade(calls))["score"] == pytest.approx(0.8)
    assert calls == ["quality"]


def test_a_model_runs_only_when_a_rule_looks_at_it():
    rules = _rules(
        models={"quality": {"target": "checker", "inputs": {"x": "image"}}},
        steps=[{"name": "second", "kind": "regression", "model": "quality"}],
        rules=[
            {"when": "outputs.p[1] > 0.6", "answer": {"score": "outputs.p[1]"}},
            {"answer": {"score": "second[0]", "again": "models.quality.good[0]"}},
        ],
    )
    calls = []
    rules({}, P, models=_cascade(calls))
    assert calls == []
    other = {"p": np.array([[0.5, 0.5]])}
    assert rules({}, other, models=_cascade(calls))["score"] == pytest.approx(0.9)
    assert calls == ["quality"]


def test_the_fallback_is_declared():
    rules = _rules(steps=[TOP], fallback={"label": "unknown", "sure": False})
    assert rules.fallback == {"label": "unknown", "sure": False}
    assert _rules(steps=[TOP]).fallback is None


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("outputs.p[9] > 1.0", "outputs.p[9] > 1.0: index out of bounds: 9"),
        ("outputs.q > 1.0", "outputs.q > 1.0: there is no 'q'"),
        (
            "1 / int(outputs.p[0]) > 1",
            "1 / int(outputs.p[0]) > 1: division by zero in CEL expression",
        ),
        ("outputs.p[0] * 2 > 1.0", "outputs.p[0] * 2 > 1.0: Unsupported operation: float * int."),
        ("label(7) == ''", "label(7) == '': label(7) is beyond the 3 labels that there are"),
        ("max([]) > 1.0 || true", "max([]) > 1.0 || true: max() was given nothing"),
        ("outputs.p[0]", "rules[0].when is 0.10000000149011612, neither true nor false"),
        ("0.0 / outputs.zero[0] > 1.0 || outputs.nan", "outputs.nan"),
        (
            "outputs.large[0] > 1.0",
            "'large' has 257 values, and expressions see arrays of at most 256: use a step",
        ),
    ],
)
def test_what_fails_is_refused_naming_the_rule(expression, why):
    rules = _rules(
        rules=[{"name": "r", "when": expression, "answer": {"a": 1}}, {"answer": {"a": 2}}]
    )
    outputs = {**P, "large": np.zeros((1, 257)), "zero": np.zeros(1), "nan": np.array([np.nan])}
    error = _refused(rules, {}, outputs, LABELS)
    assert (type(error), error.code) == (RefusedError, "rules-failed")
    assert error.what == "the rules give no answer: rule 'r' failed"
    assert error.where == "rules.yaml"
    assert why in error.why


def test_values_cannot_double_for_ever():
    for first in ("'1234567890'", "[1, 2, 3]"):
        values = {"v0": first} | {f"v{n}": f"v{n - 1} + v{n - 1}" for n in range(1, 40)}
        with pytest.raises(EdgeopsError) as caught:
            _answer("v39", values=values)
        assert caught.value.code in {"rules-failed", "rules-malformed"}
        assert "more than 4096 values or 65536 characters" in caught.value.why


def test_rules_may_be_called_from_several_threads():
    from concurrent.futures import ThreadPoolExecutor

    values = {"twice": "outputs.p[0] * 2.0"}
    rules = _rules(steps=[TOP], values=values, rules=[{"answer": {"a": "twice + top[0].score"}}])

    def asked(number):
        return rules({}, {"p": np.array([[number, 0.0]])})["a"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(asked, map(float, range(1, 400))))
    assert found == [3.0 * number for number in range(1, 400)]


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("round(0.5, 99)", "whole digits below 16, and was given 99"),
        ("round(0.5, 1.5)", "whole digits below 16, and was given 1.5"),
        ("round(outputs.p)", "takes one number"),
        ("round(1.0, 2, 3)", "takes one number"),
    ],
)
def test_rounding_makes_nothing_up(expression, why):
    assert why in _refused(_answer, expression).why


def test_a_number_that_is_none_is_no_answer():
    error = _refused(_answer, "outputs.p[0] / outputs.p[1]", {"p": np.zeros((1, 2))})
    assert error.why == "outputs.p[0] / outputs.p[1]: it comes to nan, which no answer can hold"


@pytest.mark.parametrize(
    ("parts", "what", "why"),
    [
        ({}, "rules is wrong", "there are neither rules nor steps"),
        ({"rule": []}, "rule is wrong", "there is no such key"),
        ({"steps": [{"name": "top"}]}, "steps[0].kind is wrong", "it is not there"),
        ({"steps": [{**TOP, "tob": 1}]}, "steps[0].tob is wrong", "there is no such key"),
        (
            {"steps": [{**TOP, "top": 0}]},
            "steps[0].top is wrong",
            "it is 0, not a whole number from 1 to 100",
        ),
        ({"steps": [TOP, TOP]}, "steps[1].name is wrong", "there are two steps called 'top'"),
        (
            {"steps": [{**TOP, "name": "max"}]},
            "steps[0].name is wrong",
            "'max' has a meaning of its own",
        ),
        ({"steps": [{**TOP, "model": "m"}]}, "steps[0].model is wrong", "models has no 'm'"),
        (
            {"rules": [{"when": "true", "answer": {"a": 1}}]},
            "rules[0].when is wrong",
            "the last rule has",
        ),
        (
            {"rules": [{"answer": {"a": 1}}] * 2},
            "rules[0].when is wrong",
            "no later rule is ever asked",
        ),
        ({"rules": [{"answer": {}}]}, "rules[0].answer is wrong", "the rule answers nothing"),
        (
            {"rules": [{"answer": {"a": "zz + 1"}}]},
            "rules[0].answer.a is wrong",
            "there is no 'zz'",
        ),
        (
            {"rules": [{"answer": {"a": "open('x')"}}]},
            "rules[0].answer.a is wrong",
            "no function 'open'",
        ),
        (
            {"rules": [{"answer": {"a": "timestamp('x')"}}]},
            "rules[0].answer.a is wrong",
            "no function",
        ),
        ({"rules": [{"answer": {"a": "(1"}}]}, "rules[0].answer.a is wrong", "Syntax error"),
        (
            {"rules": [{"answer": {"a": "1" * 501}}]},
            "rules[0].answer.a is wrong",
            "1 to 500 characters",
        ),
        (
            {"rules": [{"answer": {"a": float("nan")}}]},
            "rules[0].answer.a is wrong",
            "nan is no value",
        ),
        (
            {"rules": [{"answer": {"a": "models.m.x"}}]},
            "rules[0].answer.a is wrong",
            "models has no 'm'",
        ),
        (
            {"rules": [{"answer": {"a": "[1].map(x, x).map(y, y)"}}]},
            "rules[0].answer.a is wrong",
            "more than one map",
        ),
        (
            {"rules": [{"answer": {"a": "[1].all(x, [1].all(y, [1].all(z, z > y)))"}}]},
            "rules[0].answer.a is wrong",
            "its macros are nested more than 2 deep",
        ),
        (
            {"steps": [TOP], "rules": [{"answer": {"a": "top[0].scor"}}]},
            "rules[0].answer.a is wrong",
            "there is no 'scor'",
        ),
        (
            {"steps": [TOP], "rules": [{"answer": {"a": "top[0].score * 2"}}]},
            "rules[0].answer.a is wrong",
            "Unsupported operation: float * int.",
        ),
        ({"values": {"a": "b", "b": "1"}, "steps": [TOP]}, "values.a is wrong", "there is no 'b'"),
        (
            {"models": {"m": "../x"}, "steps": [TOP]},
            "models.m.target is wrong",
            "no name of a target",
        ),
        ({"steps": [TOP], "fallback": "none"}, "fallback is wrong", "it is 'none'"),
    ],
)
def test_a_document_that_is_wrong_is_refused_with_its_place(parts, what, why):
    error = _refused(_rules, **parts)
    assert (type(error), error.code) == (InputError, "rules-malformed")
    assert error.what == f"the rules cannot be used: {what}"
    assert why in error.why
    assert error.fix


@pytest.mark.parametrize("document", [None, [], "x", 3, {"format": "edgeops.rules/2"}, {1: 2}])
def test_what_is_no_rules_document_is_refused(document):
    assert _refused(parse, document, "r").code == "rules-malformed"


def test_what_models_answer_is_known_before_there_is_a_sample():
    outputs = (TensorInfo("p", ("N", 3), "float32"),)
    check_models(_rules(rules=[{"answer": {"a": "outputs.p[0] * 2.0"}}]), outputs, {}, ())
    for expression, why in (
        ("outputs.q[0]", "the model has no output 'q'"),
        ("outputs.p[0] * 2", "Unsupported operation: float * int."),
        (
            "-outputs.p",
            "No such overload: the operation is not defined for the given operand types.",
        ),
    ):
        rules = _rules(rules=[{"answer": {"a": expression}}])
        error = _refused(check_models, rules, outputs, {}, ())
        assert (error.code, error.why) == ("rules-malformed", why)
    # That one expression cannot be tried leaves the others to be.
    values = {"name": "label(7)", "first": "outputs.p[0]"}
    rules = _rules(values=values, rules=[{"answer": {"a": "first * 2"}}])
    assert _refused(check_models, rules, outputs, {}, ()).why.startswith("Unsupported operation")
    steps = _rules(steps=[{**TOP, "output": "q"}])
    assert _refused(check_models, steps, outputs, {}, ()).fix == "known: p"


def test_without_the_library_expressions_are_refused_and_steps_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "cel", None)
    assert _rules(steps=[TOP])({}, P, LABELS)["top"][0]["label"] == "dog"
    error = _refused(_answer, "1")
    assert error.code == "cel-missing"
    assert error.fix == "python3 -m pip install common-expression-language"
