"""The program that measures on devices holds the predictor: features, rules, further models."""

from __future__ import annotations

import json
import sys

import numpy as np

from edgeops.core.contracts import Samples
from edgeops.runtime.probe import read_outputs, write_samples
from edgeops.runtime.session import load_session
from tests.measuring import variant
from tests.predicting import DOUBLED
from tests.unit.test_device_python import asked, bare_python, told

ROWS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
RULES = {
    "format": "edgeops.rules/1",
    "models": {"second": "other"},
    "steps": [{"name": "top", "kind": "classification"}],
    "rules": [
        {
            "answer": {
                "label": "top[0].label",
                "mean": "mean(outputs.probabilities[0], models.second.probabilities[0])",
            }
        }
    ],
}


def _request(folder, *, rules=RULES, **more):
    variant(folder / "v")
    variant(folder / "w", seed=1)
    (folder / "features.json").write_text(json.dumps(DOUBLED))
    (folder / "rules.json").write_text(json.dumps(rules))
    raw = write_samples(folder / "raw.npz", Samples({"row": ROWS}, None, 20, "", ""))
    few = write_samples(folder / "few.npz", Samples({"x": ROWS}, None, 20, "", ""))
    return {
        "do": "measure",
        "variant": "v",
        "threads": 1,
        "few": few,
        "data": raw,
        "out": "o.npz",
        "features": "features.json",
        "rules": "rules.json",
        "labels": ["cat", "dog", "bird"],
        "models": {"second": "w"},
        **more,
    }


def test_the_program_answers_as_a_predictor(tmp_path):
    folder = tmp_path / "work"
    found = asked(sys.executable, folder, tmp_path, **_request(folder))
    outputs = read_outputs(folder / "o.npz", found["outputs"])
    one, other = (
        load_session(folder / name).run({"x": ROWS * 2})["probabilities"] for name in ("v", "w")
    )
    labels = np.array(["cat", "dog", "bird"])[one.argmax(axis=1)]
    assert outputs["label"].tolist() == labels.tolist()
    np.testing.assert_allclose(outputs["mean"], (one[:, 0] + other[:, 0]) / 2, rtol=1e-5)
    assert set(found["outputs"]["predict"]) == {"predict_ms", "features_ms"}


def test_a_device_without_the_library_of_rules_says_so(tmp_path):
    python = bare_python(tmp_path / "bare", sys.executable, "numpy", "onnxruntime")
    folder = tmp_path / "work"
    last, _ = told(python, folder, tmp_path, **_request(folder))
    assert (last["error"]["code"], last["exit"]) == ("cel-missing", 4)
    steps = {"format": "edgeops.rules/1", "steps": RULES["steps"]}
    request = _request(tmp_path / "again", rules=steps, models={})
    assert "answer" in told(python, tmp_path / "again", tmp_path, **request)[0]
