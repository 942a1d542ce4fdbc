"""What the text of an expression shows: how deep its macros and functions stand, and its entries."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo
from edgeops.errors import EdgeopsError
from edgeops.runtime.rules import FORMAT, parse
from edgeops.runtime.rules.trial import check_models

P = (TensorInfo("p", ("N", 3), "float32"),)


def _rules(expression, **parts):
    rules = [{"answer": {"a": expression}}]
    return parse({"format": FORMAT, **parts, "rules": rules}, "rules.yaml")


def _refused(expression):
    with pytest.raises(EdgeopsError) as caught:
        _rules(expression)
    assert caught.value.code == "rules-malformed"
    return caught.value


@pytest.mark.parametrize(
    "expression",
    [
        "outputs.p.filter(x, outputs.p.exists(y, sum(outputs.p) > x))",
        "outputs.p.all(x, outputs.p.all(y, x > 0.0 || outputs.p.sum() > y))",
        "outputs.p.filter(x, outputs.p.exists(y, (sum // of all\n (outputs.p)) > x))",
        # Quotes that end elsewhere than they seem to hide no macro.
        "r'\\' == '' || outputs.p.exists(x, outputs.p.exists(y, sum(outputs.p) > x)) || r'\\' == ''",
        "outputs.p.exists(x, // it's\n outputs.p.exists(y, sum(outputs.p) > x)) // it's",
        "'''a'b''' == '' || outputs.p.exists(x, outputs.p.exists(y, sum(outputs.p) > x)) || 'a' == ''",
        "outputs.p.exists((x), outputs.p.exists((y), sum(outputs.p) > 1.0))",
    ],
)
def test_own_functions_inside_two_macros_are_refused(expression):
    error = _refused(expression)
    assert error.what == "the rules cannot be used: rules[0].answer.a is wrong"
    assert error.why == "sum() stands inside two macros, and would run up to 65,536 times"
    assert error.fix.startswith("compute it once before: name it under values")


def test_what_is_computed_once_before_is_taken_and_quick():
    rules = _rules(
        "outputs.p.filter(x, outputs.p.exists(y, total > x + y)).size()",
        values={"total": "sum(outputs.p)"},
    )
    start = time.perf_counter()
    assert rules({}, {"p": np.ones((1, 256), np.float32)})["a"] == 256
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    "expression",
    [
        "outputs.p.filter(x, max([x, 0.5]) > 0.6).size()",
        "outputs.p.filter(x, [max([x, 0.5])].exists(y, y > 0.6)).size()",
        "outputs.p.filter(x, [x].exists(y, ' sum(y) ' != '' && y > 0.6)).size()",
        "outputs.p.filter(x, outputs.p.exists(y, size(outputs.p) == 3)).size() - 2",
    ],
)
def test_functions_in_one_macro_and_those_of_cel_are_taken(expression):
    outputs = {"p": np.array([[0.25, 0.5, 0.75]], np.float32)}
    assert _rules(expression)({}, outputs)["a"] == 1


@pytest.mark.parametrize(
    "expression",
    [
        "outputs.p[0] > 0.5 ? 'outputs.q' : \"outputs['r']\"",
        "[outputs.p, outputs['p']].size() // outputs.q",
        "outputs.p[0] > 0.5 ? r'\\' : 'outputs.q'",
        "{'outputs': {'q': outputs.p}}.outputs.q[0]",
    ],
)
def test_what_a_text_names_is_no_output(expression):
    check_models(_rules(expression), P, {}, ())
