"""The ladder as a rule over values: what is tried next, what is kept, what is Pareto-best."""

from __future__ import annotations

import math

from edgeops.quantize.ladder import Outcome, Rung, climb, following, pareto, rungs

ALL = Rung("static", "all", "minmax")
ALL_PERCENTILE = Rung("static", "all", "percentile")
COMPUTE = Rung("static", "compute", "minmax")
LADDER = (ALL, ALL_PERCENTILE, COMPUTE)


def answers(losses, sizes=None):
    """Return a try_rung that answers from a table and notes what it was asked."""
    asked = []

    def try_rung(rung):
        asked.append(rung)
        return Outcome(rung, losses[rung], (sizes or {}).get(rung, 100))

    return try_rung, asked


def test_ladder_of_static_goes_from_all_operators_to_few_nodes():
    assert rungs("static", ("minmax", "percentile")) == (
        Rung("static", "all", "minmax"),
        Rung("static", "all", "percentile"),
        Rung("static", "compute", "minmax"),
        Rung("static", "compute", "percentile"),
        Rung("static", "all", "minmax", 0.25),
        Rung("static", "compute", "minmax", 0.25),
        Rung("static", "compute", "minmax", 0.5),
        Rung("static", "compute", "minmax", 0.75),
    )


def test_ladder_of_other_schemes_needs_no_calibration():
    assert rungs("dynamic", ("minmax",)) == (Rung("dynamic"), Rung("dynamic", "compute"))
    assert rungs("fp16", ()) == (Rung("fp16"), Rung("fp16", "compute"))


def test_climb_stops_at_the_first_rung_within_the_budget():
    try_rung, asked = answers({ALL: 0.03, ALL_PERCENTILE: 0.01, COMPUTE: 0.0})
    result = climb(LADDER, 0.01, try_rung)
    assert asked == [ALL, ALL_PERCENTILE]
    assert result.accepted.rung == ALL_PERCENTILE
    assert [outcome.accepted for outcome in result.tried] == [False, True]


def test_climb_accepts_a_gain():
    try_rung, asked = answers({ALL: -0.02})
    assert climb(LADDER, 0.0, try_rung).accepted.loss == -0.02
    assert asked == [ALL]


def test_climb_is_not_put_off_by_the_rounding_of_a_difference():
    try_rung, _ = answers({ALL: 0.97 - 0.96})  # 0.010000000000000009
    assert climb((ALL,), 0.01, try_rung).accepted is not None


def test_climb_tries_fewer_operators_first_when_the_loss_is_far_off():
    try_rung, asked = answers({ALL: 0.91, COMPUTE: 0.0})
    assert climb(LADDER, 0.01, try_rung).accepted.rung == COMPUTE
    assert asked == [ALL, COMPUTE]


def test_climb_comes_back_to_the_hopeless_rungs_when_nothing_else_is_left():
    try_rung, asked = answers({ALL: 0.91, ALL_PERCENTILE: 0.005, COMPUTE: 0.02})
    assert climb(LADDER, 0.01, try_rung).accepted.rung == ALL_PERCENTILE
    assert asked == [ALL, COMPUTE, ALL_PERCENTILE]


def test_climb_with_a_wide_budget_calls_nothing_far_that_is_near_it():
    try_rung, asked = answers({ALL: 0.35, ALL_PERCENTILE: 0.1, COMPUTE: 0.0})
    assert climb(LADDER, 0.1, try_rung).accepted.rung == ALL_PERCENTILE
    assert asked == [ALL, ALL_PERCENTILE]


def test_climb_that_finds_nothing_reports_every_rung_once():
    try_rung, asked = answers({ALL: 0.05, ALL_PERCENTILE: 0.04, COMPUTE: 0.02})
    result = climb(LADDER, 0.01, try_rung)
    assert result.accepted is None
    assert asked == list(LADDER)
    assert [outcome.rung for outcome in result.tried] == list(LADDER)


def test_following_does_not_take_a_rung_that_failed_for_a_loss_that_is_far():
    assert following(LADDER, [Outcome(ALL, math.inf, why="it raised")], 0.01) == ALL_PERCENTILE


def test_following_is_none_when_all_were_tried():
    assert following((ALL,), [Outcome(ALL, 0.5)], 0.01) is None


def test_pareto_marks_what_no_other_try_beats():
    small_bad, large_good = Outcome(ALL, 0.5, 50), Outcome(COMPUTE, 0.0, 100)
    beaten = Outcome(ALL_PERCENTILE, 0.5, 90)
    failed = Outcome(Rung("dynamic"), math.inf, 0, why="it raised")
    marks = [one.pareto for one in pareto([small_bad, large_good, beaten, failed])]
    assert marks == [True, True, False, False]


def test_pareto_names_equal_models_once():
    first = Outcome(ALL, 0.1, 50)
    again = Outcome(COMPUTE, 0.1, 50, same_as=0)
    assert [one.pareto for one in pareto([first, again])] == [True, False]


def test_outcome_of_a_failed_try_is_json_without_infinity():
    document = Outcome(ALL, math.inf, why="it raised").to_json()
    assert document["loss"] is None
    assert document["why"] == "it raised"
    assert document["calibration"] == "minmax"
    assert document["accepted"] is False
