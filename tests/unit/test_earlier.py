"""Losses against an earlier variant: when its evidence will do, and when it is run again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgeops.core.contracts import Samples
from edgeops.core.events import Silence
from edgeops.core.gates import Figure
from edgeops.stages.validate_against import Comparing, Found
from edgeops.validate import relative
from edgeops.validate.accuracy import scored
from edgeops.validate.metrics import Accuracy
from tests.unit._bundles import make_evidence, make_variant

LABELS = np.array([0, 1, 1, 0])
RIGHT = {"y": LABELS}
NOW = scored({"y": np.array([0, 1, 1, 1])}, LABELS, Accuracy())
THEN = scored(RIGHT, LABELS, Accuracy())
DATA = {"digest": "sha256:d", "samples": 4}
NAME = "accuracy_drop_vs_previous"


@pytest.mark.parametrize(
    ("figures", "kept", "data", "runs"),
    [
        (THEN.figures, THEN.kept, DATA, 0),
        (THEN.figures, {}, DATA, 0),
        (THEN.figures, THEN.kept, DATA | {"digest": "sha256:e"}, 1),
        # It was measured by another metric, or by another version of this one.
        ({"f1": Figure(0.5)}, {}, DATA, 1),
        (THEN.figures, THEN.kept | {"rule": 0}, DATA, 1),
    ],
)
def test_earlier_variant_runs_where_its_evidence_will_not_do(figures, kept, data, runs, tmp_path):
    variant = make_variant(tmp_path / "then")
    stated = make_evidence(
        tmp_path / "evidence.json",
        variant,
        figures=figures,
        kept={"accuracy": kept},
        data={"evaluation": data},
    )
    ran = []

    def outputs(folder, *, events):
        ran.append((folder, events))
        return RIGHT

    found = Found(figures={**NOW.figures, "model_mb": Figure(1.0)}, kept={"accuracy": NOW.kept})
    job = SimpleNamespace(
        metric=Accuracy(),
        gates={NAME: "<= 0.1"},
        earlier={"previous": relative.Earlier("the last one", tmp_path / "then", stated)},
        samples=Samples({}, LABELS, 4, "d", DATA["digest"]),
        options=SimpleNamespace(output=""),
        variant=variant,
    )
    Comparing(job, SimpleNamespace(outputs=outputs), found, Silence()).with_earlier("previous")
    assert len(ran) == runs
    assert found.figures[NAME].value == pytest.approx(0.25)


def test_values_of_two_versions_of_a_metric_are_not_compared():
    then = {"label": "v1", "absent": "", "moot": "", "data": DATA, "value": 1.0}
    then["accuracy"] = THEN.kept | {"rule": 0}
    lost = relative.loss(then, Accuracy(), NOW.figures["accuracy"], NOW.kept, DATA)
    assert lost.value is None
    assert "differ: rule 0 and 1" in lost.absent
