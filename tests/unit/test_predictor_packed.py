"""Features and rules from YAML through a bundle to the predictor, and the evidence about them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeops.core.events import Silence
from edgeops.errors import MissingError, TrustError
from edgeops.package.pack import Contents, pack_files
from edgeops.package.sealing import make_recipient
from edgeops.package.verify import verify_bundle
from edgeops.project.documents import read_document
from edgeops.runtime import Predictor
from tests.predicting import DOUBLED, TOP
from tests.unit._bundles import make_evidence, make_variant
from tests.unit.test_predictor import _unpacked

FILES = ("features.yaml", "rules.yaml", "labels.txt")


@pytest.fixture
def project(tmp_path):
    make_variant(tmp_path / "gateway")
    (tmp_path / "features.yaml").write_text(json.dumps(DOUBLED))
    (tmp_path / "rules.yaml").write_text(json.dumps(TOP))
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    return tmp_path


def _packed(project, extra=None, files=FILES, **more):
    from edgeops.core.variant import read_variant

    evidence = {}
    if extra is not None:
        path = project / "evidence.json"
        make_evidence(path, read_variant(project / "gateway"), extra=extra)
        evidence = {"gateway": path}
    contents = Contents(
        "tiny",
        "1.0.0",
        {"gateway": project / "gateway"},
        evidence,
        {name: project / name for name in files},
        **more,
    )
    return pack_files(contents, project / "tiny.edgeops", sign=None, events=Silence()).path


def _about(project, *kinds):
    return {kind: read_document(f"{kind}.yaml", project).about() for kind in kinds}


def test_a_device_runs_what_the_documents_say(project):
    device = _unpacked(project / "device", _packed(project))
    predictor = Predictor(device)
    row = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    scores = Predictor(project / "gateway").predict({"x": row[None] * 2})["probabilities"][0]
    best = int(scores.argmax())
    assert predictor.predict({"row": row}) == {
        "label": ("cat", "dog", "bird")[best],
        "score": pytest.approx(float(scores[best])),
    }


def test_a_variant_that_is_there_for_rules_is_not_taken_for_the_target(project):
    rules = {**TOP, "models": {"second": "camera"}}
    rules["steps"] = [{"name": "top", "kind": "classification", "model": "second"}]
    (project / "rules.yaml").write_text(json.dumps(rules))
    make_variant(project / "camera", seed=1)
    folders = {name: project / name for name in ("gateway", "camera")}
    include = {name: project / name for name in FILES}
    contents = Contents("tiny", "1.0.0", folders, {}, include)
    bundle = pack_files(contents, project / "two.edgeops", sign=None, events=Silence()).path
    predictor = Predictor(_unpacked(project / "device", bundle))
    assert predictor.target == "gateway"
    row = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    scores = Predictor(project / "camera").predict({"x": row[None] * 2})["probabilities"][0]
    assert predictor.predict({"row": row})["score"] == pytest.approx(float(scores.max()))


def test_a_device_with_a_key_runs_what_is_sealed(project):
    make_recipient(project / "key")
    sealed = {
        "encrypt": ("variant", "features", "rules", "labels"),
        "recipients": (project / "key",),
    }
    device = _unpacked(project / "device", _packed(project, **sealed))
    with pytest.raises(MissingError) as caught:
        Predictor(device)
    assert caught.value.code == "sealed-key-needed"
    open_one = Predictor(_unpacked(project / "open", _packed(project)))
    predictor = Predictor(device, key=project / "key" / "device.key")
    row = {"row": np.array([0.1, -0.2, 0.3, 0.4], np.float32)}
    assert predictor.predict(row) == open_one.predict(row)
    assert predictor.labels == ("cat", "dog", "bird")
    (device / "rules.json").write_bytes(b"{}")
    with pytest.raises(TrustError):
        Predictor(device, key=project / "key" / "device.key")


def test_evidence_of_the_packed_documents_is_packed(project):
    bundle = _packed(project, _about(project, "features", "rules"))
    assert verify_bundle(bundle)["verified"]
    assert verify_bundle(_packed(project, {}))["verified"]


def test_evidence_of_other_features_is_refused(project):
    about = _about(project, "features")
    changed = json.loads(json.dumps(DOUBLED))
    changed["inputs"]["row"]["steps"] = [{"normalize": {"scale": 3.0}}]
    (project / "features.yaml").write_text(json.dumps(changed))
    with pytest.raises(TrustError) as caught:
        _packed(project, about)
    assert caught.value.code == "features-not-validated"
    old, new = (
        about["features"]["digest"][:19],
        _about(project, "features")["features"]["digest"][:19],
    )
    assert caught.value.why == f"gateway was measured with the features {old}, packed is {new}"
    with pytest.raises(TrustError) as caught:
        _packed(project, about, files=("labels.txt",))
    assert caught.value.why.endswith("packed is none")


def test_evidence_of_another_model_that_rules_ask_is_refused(project):
    with pytest.raises(TrustError) as caught:
        _packed(project, {"models": {"gateway": "sha256:0123456789abcdef"}})
    assert "asked gateway as sha256:0123456789ab" in caught.value.why


def test_evidence_of_other_rules_is_refused(project):
    about = _about(project, "features", "rules")
    (project / "rules.yaml").write_text(json.dumps({**TOP, "fallback": {}}))
    with pytest.raises(TrustError) as caught:
        _packed(project, about)
    assert "with the rules" in caught.value.why
