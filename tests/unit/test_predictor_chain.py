"""The predictor with features before the model and rules after it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo
from edgeops.errors import EdgeopsError
from edgeops.runtime import Predictor
from edgeops.runtime.features import parse as parse_features
from edgeops.runtime.predictor_chain import Chain
from edgeops.runtime.rules import parse as parse_rules
from tests.predicting import DOUBLED, TOP, add_documents
from tests.unit._bundles import make_bundle, make_variant
from tests.unit.test_predictor import _unpacked

ROW = np.array([0.1, -0.2, 0.3, 0.4], dtype=np.float32)


@pytest.fixture
def device(tmp_path):
    return _unpacked(tmp_path / "device", make_bundle(tmp_path))


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code


def test_features_take_raw_inputs(device):
    plain = Predictor(device).predict({"x": ROW[None] * 2})
    predictor = Predictor(add_documents(device, features=DOUBLED))
    answer = predictor.predict({"row": ROW})
    np.testing.assert_array_equal(answer["probabilities"], plain["probabilities"])
    assert [one.name for one in predictor.inputs] == ["row"]
    assert [one.name for one in predictor.outputs] == ["probabilities"]
    assert _code(predictor.predict, {"x": ROW}) == "feature-input"


def test_rules_answer(device):
    scores = Predictor(device).predict({"x": ROW[None]})["probabilities"][0]
    predictor = Predictor(add_documents(device, rules=TOP))
    answer = predictor.predict({"x": ROW[None]})
    best = int(scores.argmax())
    assert answer == {"label": predictor.labels[best], "score": pytest.approx(scores[best])}
    assert predictor.rules.fallback == {"label": "unknown", "score": 0}
    json.dumps(answer)


def test_features_and_rules_together(device):
    rules = json.loads(json.dumps(TOP))
    rules["rules"][0]["answer"] |= {"first": "inputs.row[0]", "made": "features.x[0]"}
    predictor = Predictor(add_documents(device, features=DOUBLED, rules=rules))
    answer = predictor.predict({"row": ROW})
    assert answer["first"] == pytest.approx(0.1)
    assert answer["made"] == pytest.approx(0.2)


def test_rules_answer_one_sample_a_call(device):
    predictor = Predictor(add_documents(device, rules=TOP))
    assert _code(predictor.predict, {"x": np.stack([ROW, ROW])}) == "rules-batch"


def test_documents_are_checked_before_there_is_a_sample(device):
    other = json.loads(json.dumps(DOUBLED))
    other["outputs"] = {"y": {"from": "row"}}
    assert _code(Predictor, add_documents(device, features=other)) == "features-model"
    other = json.loads(json.dumps(DOUBLED))
    other["inputs"]["row"]["shape"] = [5]
    assert _code(Predictor, add_documents(device, features=other)) == "features-model"
    wrong = {**TOP, "rules": [{"answer": {"a": "outputs.scores[0]"}}]}
    good = add_documents(device, features=DOUBLED)
    assert _code(Predictor, add_documents(good, rules=wrong)) == "rules-malformed"
    assert _code(Predictor, add_documents(good, rules={})) == "rules-malformed"


def test_names_that_no_feature_has_are_refused_before_there_is_a_sample(device):
    wrong = {**TOP, "rules": [{"answer": {"a": "inputs.rwo[0]"}}]}
    with pytest.raises(EdgeopsError) as caught:
        Predictor(add_documents(device, features=DOUBLED, rules=wrong))
    assert caught.value.code == "rules-malformed"
    assert caught.value.fix == "did you mean 'row'? known: row"


def test_a_document_that_was_changed_is_refused(device):
    add_documents(device, rules=TOP)
    (device / "rules.json").write_text("{}")
    assert _code(Predictor, device) == "digest-mismatch"
    (device / "rules.json").unlink()
    assert _code(Predictor, device) == "digest-mismatch"


def test_a_closed_predictor_answers_no_more(device):
    with Predictor(add_documents(device, rules=TOP)) as predictor:
        predictor.predict({"x": ROW[None]})
    with pytest.raises(RuntimeError, match="closed"):
        predictor.predict({"x": ROW[None]})


class _Session:
    """A model that answers what it is told."""

    def __init__(self, outputs, inputs=(("x", (1, 4)),)):
        self.inputs = tuple(TensorInfo(name, shape, "float32") for name, shape in inputs)
        self.outputs = tuple(
            TensorInfo(name, np.shape(value), "float32") for name, value in outputs.items()
        )
        self.answer = {name: np.asarray(value, np.float32) for name, value in outputs.items()}
        self.given = []

    def run(self, arrays):
        self.given.append(dict(arrays))
        return self.answer


def test_rules_combine_models():
    main, other = (
        _Session({"p": [[0.25, 0.75]]}),
        _Session({"good": [[0.5]]}, [("picture", (1, 4))]),
    )
    rules = parse_rules(
        {
            "format": "edgeops.rules/1",
            "models": {"quality": {"target": "checker", "inputs": {"picture": "x"}}},
            "rules": [{"answer": {"score": "outputs.p[1] * models.quality.good[0]"}}],
        }
    )
    chain = Chain(main, parse_features(DOUBLED), rules, (), {"quality": other})
    assert chain.predict({"row": ROW}) == {"score": 0.375}
    np.testing.assert_array_equal(other.given[0]["picture"], ROW[None] * 2)


def test_rules_ask_models_of_the_bundle(tmp_path):
    from tests.unit.test_predictor import Contents, Silence, pack_files

    for seed, name in enumerate(("camera", "gateway")):
        make_variant(tmp_path / name, seed=seed)
    folders = {name: tmp_path / name for name in ("camera", "gateway")}
    place = tmp_path / "two.edgeops"
    bundle = pack_files(
        Contents("two", "1.0.0", folders, {}, {}), place, sign=None, events=Silence()
    )
    device = _unpacked(tmp_path / "device", bundle.path)
    rules = {
        "format": "edgeops.rules/1",
        "models": {"second": "camera"},
        "rules": [
            {
                "answer": {
                    "mean": "mean(outputs.probabilities[0], models.second.probabilities[0])",
                }
            }
        ],
    }
    alone = [
        Predictor(folders[name]).predict({"x": ROW[None]})["probabilities"] for name in folders
    ]
    found = Predictor(add_documents(device, rules=rules), target="gateway").predict(
        {"x": ROW[None]}
    )
    assert found["mean"] == pytest.approx(np.mean([one[0, 0] for one in alone]))
    rules["models"]["second"] = "phone"
    assert _code(Predictor, add_documents(device, rules=rules), "gateway") == "target-unknown"
