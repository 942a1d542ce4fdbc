"""What the predictor costs over features and the bare session, interleaved; nothing is judged.

The aim is 50 microseconds a call without rules. With three small rules the figure is printed beside
it. Each round times all ways in turn, and the figure is the median of the rounds' differences.
"""

from __future__ import annotations

import gc
import sys
import time
from statistics import median

import numpy as np
import pytest

from edgeops.runtime.features import parse as parse_features
from edgeops.runtime.predictor_chain import Chain
from edgeops.runtime.rules import parse as parse_rules
from edgeops.runtime.session import load_session
from tests.predicting import DOUBLED, TOP
from tests.unit._bundles import make_variant

pytestmark = pytest.mark.bench

ROUNDS = 150
CALLS = 50
AIM_US = 50.0
RULES = {
    **TOP,
    "values": {"margin": "top[0].score - 0.5"},
    "rules": [
        {"when": "margin > 0.4", "answer": {"label": "top[0].label", "sure": True}},
        {"when": "inputs.row[0] > 1.0", "answer": {"label": {"constant": "odd"}}},
        *TOP["rules"],
    ],
}


def _microseconds(call, given):
    begun = time.perf_counter_ns()
    for _ in range(CALLS):
        call(given)
    return (time.perf_counter_ns() - begun) / CALLS / 1000


def test_predict_over_features_and_session(tmp_path, capsys):
    make_variant(tmp_path / "v")
    session, features = load_session(tmp_path / "v"), parse_features(DOUBLED)
    labels = ("cat", "dog", "bird")
    row = {"row": np.array([0.1, -0.2, 0.3, 0.4], np.float32)}
    arrays = {"x": row["row"][None]}
    ways = {
        "features and session": (lambda given: session.run(features(given)), row),
        "predict": (Chain(session, features).predict, row),
        "predict with rules": (Chain(session, features, parse_rules(RULES), labels).predict, row),
        "session": (session.run, arrays),
        "predict of arrays": (Chain(session).predict, arrays),
    }
    times = {name: [] for name in ways}
    gc.disable()
    try:
        for turn in range(ROUNDS):
            names = list(ways) if turn % 2 else list(ways)[::-1]
            for name in names:
                times[name].append(_microseconds(*ways[name]))
    finally:
        gc.enable()

    def over(one, other):
        return median(a - b for a, b in zip(times[one], times[other], strict=True))

    def least(one, other):
        return min(times[one]) - min(times[other])

    rules = least("predict with rules", "predict")
    with capsys.disabled():
        sys.stdout.write(
            f"\npredict over features and session   {over('predict', 'features and session'):6.1f} us"
            f"\n  with three rules                 {over('predict with rules', 'predict'):6.1f} us more"
            f" ({rules:.1f} us in the quietest rounds)"
            f"\npredict of arrays over the session  {over('predict of arrays', 'session'):6.1f} us"
            f"\n  the aim is {AIM_US:.0f} us; features and session take "
            f"{median(times['features and session']):.0f} us\n"
        )
