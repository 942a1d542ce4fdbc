"""What is validated is what runs: the predictor measured on a device and called here agree."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeops.core.contracts import Samples
from edgeops.core.events import Silence
from edgeops.errors import EdgeopsError
from edgeops.project.documents import features_of, read_document, rules_of
from edgeops.runtime.predictor_chain import Chain
from edgeops.runtime.predictor_samples import run_samples, table
from edgeops.runtime.session import load_session
from edgeops.stages.validate_verb import Adhoc, validate_variant
from edgeops.validate.metrics import resolve
from tests.measuring import variant
from tests.predicting import DOUBLED, TOP

COUNT = 40


@pytest.fixture
def project(tmp_path):
    """A variant, raw data labelled by what the predictor answers but for a quarter, documents."""
    variant(tmp_path / "v")
    (tmp_path / "features.yaml").write_text(json.dumps(DOUBLED))
    rules = {**TOP, "rules": [{"answer": {"class": "top[0].index", "score": "top[0].score"}}]}
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    rows = np.random.default_rng(1).normal(size=(COUNT, 4)).astype(np.float32)
    scores = load_session(tmp_path / "v").run({"x": rows * 2})["probabilities"]
    labels = scores.argmax(axis=1)
    labels[::4] = (labels[::4] + 1) % 3
    np.savez(tmp_path / "raw.npz", row=rows, labels=labels)
    return tmp_path


def _measured(project, **more):
    asked = {"evaluation": "raw.npz", "features": "features.yaml", "seconds": 0.05, **more}
    return validate_variant(Adhoc(project / "v", project, **asked), events=Silence())


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code


def _here(project, rules=None):
    with np.load(project / "raw.npz") as data:
        samples = Samples({"row": data["row"]}, data["labels"], COUNT, "raw.npz", "")
    features = features_of(read_document("features.yaml", project))
    chain = Chain(load_session(project / "v"), features, rules)
    return samples, run_samples(chain, samples)[0]


def test_features_measured_on_a_device_and_here_give_the_same_figure(project):
    samples, outputs = _here(project)
    result = _measured(project)
    assert result["figures"]["accuracy"]["value"] == 0.75
    assert resolve("accuracy", project).score(outputs, samples.labels) == 0.75
    # Model inputs in the place of raw ones would score otherwise: features did run.
    assert outputs["probabilities"].shape == (COUNT, 3)


def test_rules_are_what_the_metric_sees(project):
    rules = rules_of(read_document("rules.yaml", project))
    samples, outputs = _here(project, rules)
    assert set(outputs) == {"class", "score"}
    assert outputs["class"].dtype == np.int64
    result = _measured(project, rules="rules.yaml", output="class", source="v/model.onnx")
    assert result["figures"]["accuracy"]["value"] == 0.75
    # The source goes through the same rules.
    assert result["figures"]["accuracy_drop"]["value"] == 0
    assert result["figures"]["agreement"]["value"] == 1
    assert resolve("accuracy", project).score({"class": outputs["class"]}, samples.labels) == 0.75


def test_rules_without_features_take_the_model_inputs(project):
    with np.load(project / "raw.npz") as data:
        np.savez(project / "made.npz", x=data["row"] * 2, labels=data["labels"])
    result = _measured(
        project, evaluation="made.npz", features="", rules="rules.yaml", output="class"
    )
    assert result["figures"]["accuracy"]["value"] == 0.75


def test_raw_data_that_do_not_fit_are_refused(project):
    np.savez(project / "other.npz", wrong=np.zeros((3, 4), np.float32), labels=np.zeros(3, int))
    assert _code(_measured, project, evaluation="other.npz") == "data-input-missing"
    np.savez(project / "other.npz", row=np.zeros((3, 5), np.float32), labels=np.zeros(3, int))
    with pytest.raises(EdgeopsError) as caught:
        _measured(project, evaluation="other.npz")
    assert caught.value.code == "feature-input"
    assert "other.npz, sample 0" in caught.value.where
    assert _code(_measured, project, features="nowhere.yaml") == "document-missing"
    (project / "features.yaml").write_text("format: [")
    assert _code(_measured, project) != ""


def test_answers_become_arrays_that_metrics_read():
    box = {"index": 1, "label": "b", "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0]}
    rows = [
        {"label": "a", "n": 1, "x": 0.5, "found": [box, box], "pair": [1, 2], "more": {"a": 1}},
        {"label": "b", "n": 2, "found": [], "pair": [3, 4], "more": {}, "sure": True},
    ]
    found = table(rows)
    assert found["label"].tolist() == ["a", "b"]
    assert found["n"].tolist() == [1, 2]
    assert found["x"][0] == 0.5
    assert np.isnan(found["x"][1])
    assert found["pair"].tolist() == [[1, 2], [3, 4]]
    assert [part.shape for part in found["found"]] == [(2, 6), (0, 6)]
    assert found["found"][0][0].tolist() == [1, 2, 3, 4, 0.5, 1]
    assert set(found) == {"label", "n", "x", "found", "pair", "sure"}


def test_other_targets_that_rules_ask_are_measured_and_named(project):
    from edgeops.core.variant import read_variant
    from edgeops.stages.validate_measure import measure
    from edgeops.stages.validate_predicting import surroundings

    variant(project / "w", seed=1)
    rules = json.loads((project / "rules.yaml").read_text())
    rules["models"] = {"second": "checker"}
    rules["rules"] = [{"answer": {"class": "argmax(models.second.probabilities)"}}]
    (project / "rules.yaml").write_text(json.dumps(rules))
    around = surroundings(project, "features.yaml", "rules.yaml", {"checker": project / "w"})
    assert around.about()["models"] == {"checker": read_variant(project / "w").digest}
    adhoc = Adhoc(project / "v", project, evaluation="raw.npz", seconds=0.05, output="class")
    job = _job(adhoc, around)
    evidence = measure(job, Silence()).evidence
    with np.load(project / "raw.npz") as data:
        other = load_session(project / "w").run({"x": data["row"] * 2})["probabilities"]
        expected = np.mean(other.argmax(axis=1) == data["labels"])
    assert evidence.figures["accuracy"].value == pytest.approx(expected)
    assert evidence.extra["models"] == around.about()["models"]


def _job(adhoc, around):
    from edgeops.core.variant import read_variant
    from edgeops.stages.validate_job import Job, data_of

    about = read_variant(adhoc.variant)
    samples, raw = data_of(adhoc.evaluation, adhoc.root, about, 0, around)
    return Job(
        name="v",
        folder=adhoc.variant,
        variant=about,
        device="local",
        threads=1,
        samples=samples,
        metric=resolve("accuracy", adhoc.root),
        options=adhoc.options(),
        gates={},
        around=around,
        raw=raw,
    )
