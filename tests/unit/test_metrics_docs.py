"""docs/metrics.md names the metrics that are registered, and what it says of them holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeops.core import registry
from edgeops.validate import accuracy, bootstrap, kept, slices, worst
from edgeops.validate.metrics import OwnMetric

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
ROWS = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \| ([^|]*) \|", PAGE, re.MULTILINE)


def listed():
    """Return what the table says of each metric: what it is of, and whether more is better."""
    return {
        name: (kind, better)
        for names, kind, better in ROWS
        if better.startswith(("more", "less"))
        for name in re.findall(r"`([^`]*)`", names)
    }


def test_the_page_lists_the_registered_metrics_and_no_others():
    assert set(listed()) == {*registry.own("metrics"), "module:function"}


@pytest.mark.parametrize("name", registry.own("metrics"))
def test_the_page_says_what_each_metric_says_of_itself(name):
    metric = registry.get("metrics", name)
    kind, better = listed()[name]
    assert kind.startswith(metric.needs)
    assert (better == "more") == metric.higher_is_better


def test_the_page_states_the_numbers_of_the_code():
    assert f"{bootstrap.ROUNDS} resamples" in PAGE
    assert f"{bootstrap.SLOW_ROUNDS} for the others" in PAGE
    assert f"within {accuracy.TOLERANCE:.0%}".replace("%", " %") in PAGE
    assert f"fewer than {slices.SMALL} samples" in PAGE
    assert f"at most {worst.COUNT} samples" in PAGE
    assert f"under {kept.MOST_CHARACTERS // 1024} kB" in PAGE
    assert f"`{kept.FORMAT}`" in PAGE


def test_own_metrics_are_of_anything():
    assert listed()["module:function"][0] == "anything"
    assert OwnMetric("m", "m:m", lambda outputs, labels: 0.0).needs == "any"
