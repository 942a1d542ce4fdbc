"""Gates hold for all numbers, not only for those of the examples."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from edgeops.core.gates import (
    Bound,
    Figure,
    FigureName,
    judge,
    overall,
    parse_bound,
    parse_gate,
    parse_name,
)

numbers = st.floats(-1e6, 1e6, allow_nan=False)
operators = st.sampled_from(["<=", ">=", "<", ">", "=="])
sided = st.sampled_from(["<=", ">=", "<", ">"])
words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,10}", fullmatch=True)
values = (
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="[]"), min_size=1)
    .map(str.strip)
    .filter(lambda text: text and not text.startswith("="))
)
figure_names = st.builds(FigureName, words) | st.builds(FigureName, words, keys, values)
RANK = {"fail": 0, "inconclusive": 1, "pass": 2}


@st.composite
def noisy(draw):
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Figure(value, (low, high), noisy=True)


@given(operators, numbers)
def test_bound_survives_being_written_and_read(operator, number):
    bound = Bound(operator, number)
    assert parse_bound(f"{operator} {number!r}") == bound
    assert parse_gate(f"figure{operator}{number!r}") == ("figure", f"{operator}{number!r}")


@given(figure_names)
def test_name_of_a_figure_survives_being_written_and_read(name):
    assert parse_name(str(name)) == name


@given(figure_names, operators, numbers, st.text(" \t", max_size=2))
def test_gate_survives_being_written_and_read_with_any_name(name, operator, number, space):
    text = f"{space}{name}{space}{operator}{space}{number!r}{space}"
    found, bound = parse_gate(text)
    assert parse_name(found) == name
    assert parse_bound(bound) == Bound(operator, number)


@given(st.text())
def test_no_text_breaks_the_parsers(text):
    for parse in (parse_name, parse_gate, parse_bound):
        with suppress(ValueError):
            parse(text)


@given(operators, st.integers(-999999, 999999))
def test_bound_as_shown_is_the_bound(operator, number):
    bound = Bound(operator, float(number))
    assert parse_bound(str(bound)) == bound


@given(operators, numbers, numbers)
def test_exact_figure_passes_when_the_bound_holds_and_fails_otherwise(operator, limit, value):
    verdict = judge("f", f"{operator} {limit!r}", Figure(value)).verdict
    assert verdict == ("pass" if Bound(operator, limit).holds(value) else "fail")


@given(sided, numbers, noisy())
def test_noisy_figure_passes_only_when_every_value_of_its_interval_would(operator, limit, figure):
    bound = Bound(operator, limit)
    holds = [bound.holds(value) for value in (*figure.interval, figure.value)]
    verdict = judge("f", f"{operator} {limit!r}", figure).verdict
    assert (verdict == "pass") == all(holds)
    assert (verdict == "fail") == (not any(holds))


@given(st.sampled_from(["<=", "<"]), numbers, numbers, noisy())
def test_looser_bound_never_gives_a_worse_verdict(operator, one, other, figure):
    tight, loose = sorted((one, other))
    first = judge("f", f"{operator} {tight!r}", figure).verdict
    second = judge("f", f"{operator} {loose!r}", figure).verdict
    assert RANK[first] <= RANK[second]


@given(sided, numbers, noisy())
def test_narrower_interval_never_turns_a_decision_around(operator, limit, figure):
    wide = judge("f", f"{operator} {limit!r}", figure).verdict
    narrow = Figure(figure.value, (figure.value, figure.value), noisy=True)
    decided = judge("f", f"{operator} {limit!r}", narrow).verdict
    assert decided in {"pass", "fail"}
    assert wide in {decided, "inconclusive"}


@given(st.lists(st.tuples(sided, numbers, noisy()), max_size=6))
def test_overall_verdict_is_the_worst(gates):
    verdicts = [judge("f", f"{op} {limit!r}", figure) for op, limit, figure in gates]
    worst = min((RANK[verdict.verdict] for verdict in verdicts), default=2)
    assert RANK[overall(verdicts)] == worst
