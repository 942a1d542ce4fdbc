"""Time of a metric with its interval over 10,000 samples, and what evidence keeps; nothing is judged."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from edgeops.core import registry
from edgeops.validate.accuracy import evaluate, scored
from tests.metric_data import data

pytestmark = pytest.mark.bench

NAMES = ("accuracy", "top3", "f1", "auc", "rmse", "mae", "si_sdr", "map50", "map")
SAMPLES = 10_000


@pytest.mark.parametrize("name", NAMES)
def test_metric_of_ten_thousand_samples(name, capsys):
    metric = registry.get("metrics", name)
    outputs, labels = data(metric, samples=SAMPLES)
    evaluate(outputs, labels, metric, rounds=0)
    # Time of this process alone: what else the machine does is no matter here.
    start = time.process_time()
    figure = evaluate(outputs, labels, metric)
    alone = time.process_time() - start
    order = np.where(np.arange(SAMPLES) % 9, np.arange(SAMPLES), 0)
    other = {output: array[order] for output, array in outputs.items()}
    start = time.process_time()
    found = scored(other, labels, metric, source=outputs, slices={"part": np.arange(SAMPLES) % 4})
    whole = time.process_time() - start
    kept = len(json.dumps(found.kept)) / 1000
    with capsys.disabled():
        print(  # noqa: T201 - printing is what it is for
            f"\n{name}: {figure.value:.4f} with interval {alone:.2f} s; with source and four slices "
            f"{whole:.2f} s; {kept:.0f} kB kept"
        )
