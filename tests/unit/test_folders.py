"""A folder of pictures or sounds as a data set, and raw data bound to features."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from edgeops.core.contracts import Samples
from edgeops.core.variant import TensorInfo
from edgeops.errors import EdgeopsError, InputError
from edgeops.project.datasets import load_samples, samples_for
from edgeops.project.documents import features_of, raw_samples, read_document
from edgeops.runtime.features import Features
from edgeops.runtime.predictor_samples import values
from edgeops.runtime.probe import write_samples
from edgeops.runtime.probe.arrays import read_samples
from edgeops.validate.measured import first

FEATURES = {
    "format": "edgeops.features/1",
    "inputs": {
        "photo": {
            "kind": "image",
            "colour": "grey",
            "steps": [{"resize": {"width": 4, "height": 2}}, {"normalize": {"std": 255}}],
        }
    },
    "outputs": {"x": {"from": "photo"}},
}


def _picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 4), value, np.uint8)).save(path)


@pytest.fixture
def project(tmp_path):
    for name, value in (("dogs/a", 0), ("cats/b", 255), ("cats/a", 51)):
        _picture(tmp_path / "photos" / f"{name}.png", value)
    (tmp_path / "features.yaml").write_text(json.dumps(FEATURES))
    return tmp_path


def _error(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value


def test_subfolders_are_classes(project):
    samples = load_samples("photos", project)
    assert samples.labels.tolist() == [0, 0, 1]
    assert samples.source == "photos"
    assert samples.count == 3
    assert list(samples.arrays) == ["image"]
    assert samples.arrays["image"][0].tobytes() == (project / "photos/cats/a.png").read_bytes()


def test_the_digest_is_of_names_labels_and_bytes(project):
    before = load_samples("photos", project).digest
    assert load_samples("photos", project).digest == before
    _picture(project / "photos/dogs/a.png", 1)
    assert load_samples("photos", project).digest != before


def test_a_table_says_labels_and_slices(project):
    table = project / "photos/labels.csv"
    table.write_text("file,labels,slice:light\ndogs/a.png,dog,day\ncats/a.png,cat,night\n")
    samples = load_samples("photos", project)
    assert samples.labels.tolist() == ["dog", "cat"]
    assert samples.slices["light"].tolist() == ["day", "night"]
    table.write_text("file,labels\ndogs/a.png,1\n")
    assert load_samples("photos", project).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("name,labels\na,1\n", "data-malformed"),
        ("file,labels\nnowhere.png,1\n", "data-malformed"),
        ("file,labels\n../features.yaml,1\n", "path-outside"),
        ("file,labels\ndogs/a.png\n", "data-malformed"),
        ("", "data-malformed"),
    ],
)
def test_a_table_that_is_wrong_is_refused(project, text, code):
    (project / "photos/labels.csv").write_text(text)
    error = _error(load_samples, "photos", project)
    assert (type(error), error.code) == (InputError, code)


def test_a_folder_without_samples_or_of_two_kinds_is_refused(project):
    (project / "empty").mkdir()
    assert _error(load_samples, "empty", project).code == "data-empty"
    (project / "photos/dogs/b.wav").write_bytes(b"RIFF")
    assert _error(load_samples, "photos", project).code == "data-malformed"


def test_raw_pictures_become_what_the_model_takes(project):
    from edgeops.core.variant import TensorInfo

    inputs = (TensorInfo("x", ("N", 2, 4, 1), "float32"),)
    samples = samples_for("photos", project, inputs, labels=True, features="features.yaml")
    assert samples.arrays["x"].shape == (3, 2, 4, 1)
    np.testing.assert_allclose(samples.arrays["x"][:, 0, 0, 0], [0.2, 1, 0], atol=1e-6)
    other = (TensorInfo("x", ("N", 1, 2, 4), "float32"),)
    error = _error(samples_for, "photos", project, other, features="features.yaml")
    assert error.code == "features-model"


def test_pictures_of_a_size_that_the_model_does_not_take_are_mended_in_the_features(project):
    document = json.loads(json.dumps(FEATURES))
    del document["inputs"]["photo"]["steps"][0]
    (project / "features.yaml").write_text(json.dumps(document))
    inputs = (TensorInfo("x", ("N", 3, 5, 1), "float32"),)
    error = _error(samples_for, "photos", project, inputs, features="features.yaml")
    assert error.code == "data-shape"
    assert error.fix.startswith("have the steps in features.yaml make it so; resize")


def test_pictures_reach_a_device_as_they_are(project):
    features = features_of(read_document("features.yaml", project))
    raw = raw_samples(load_samples("photos", project), features)
    assert list(raw.arrays) == ["photo"]
    about = write_samples(project / "data.npz", raw)
    there = read_samples({**about, "file": str(project / "data.npz")})
    for index in range(3):
        assert values(features, there, index) == values(features, raw, index)
    assert values(features, there, 1)["photo"] == (project / "photos/cats/b.png").read_bytes()


TABLE = {
    "format": "edgeops.features/1",
    "inputs": {
        "row": {
            "kind": "columns",
            "columns": [
                {"name": "age", "steps": [{"fill": 1}]},
                {"name": "kind", "type": "text", "steps": [{"one_hot": {"values": ["a", "b"]}}]},
            ],
        }
    },
    "outputs": {"x": {"from": "row"}},
}


def test_columns_stand_under_their_own_names(tmp_path):
    (tmp_path / "features.yaml").write_text(json.dumps(TABLE))
    features = features_of(read_document("features.yaml", tmp_path))
    arrays = {"age": np.array([2.0, np.nan]), "kind": np.array(["a", "b"]), "id": np.arange(2)}
    raw = raw_samples(Samples(arrays, None, 2, "t.csv", ""), features)
    assert set(raw.arrays) == {"age", "kind"}
    assert values(features, raw, 0) == {"row": {"age": 2.0, "kind": "a"}}
    made = [features(values(features, raw, index))["x"].tolist() for index in range(2)]
    assert made == [[[2.0, 1.0, 0.0]], [[1.0, 0.0, 1.0]]]
    error = _error(raw_samples, Samples({"id": np.arange(2)}, None, 2, "t.csv", ""), features)
    assert error.code == "data-input-missing"
    assert error.fix.startswith("save an array called 'row' (columns)")


def test_few_samples_are_spread_over_a_folder_and_know_all_slices(project):
    for index in range(100):
        _picture(project / "many" / f"{index:03}.png", index)
    rows = [f"{index:03}.png,{index},{index // 50}" for index in range(100)]
    (project / "many/labels.csv").write_text("\n".join(["file,labels,slice:half", *rows]))
    (project / "many/001.png").write_bytes(b"broken")
    inputs = (TensorInfo("x", (1, 2, 4, 1), "float32"),)
    whole = {"labels": True, "features": "features.yaml"}
    assert _error(samples_for, "many", project, inputs, **whole).code == "feature-input"
    found = samples_for("many", project, inputs, **whole, only_few=True)
    assert (found.count, len(found.arrays["x"])) == (32, 32)
    assert found.labels.tolist()[:2] + found.labels.tolist()[-2:] == [0, 3, 95, 99]
    np.testing.assert_allclose(found.arrays["x"][:, 0, 0, 0], found.labels / 255, rtol=1e-6)
    assert found.slices["half"].tolist() == ["0"] * 50 + ["1"] * 50


def test_few_of_an_archive_are_few_features(project):
    raw = np.arange(40, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(4, 2)
    np.savez(project / "raw.npz", photo=raw, labels=np.arange(40))
    inputs = (TensorInfo("x", (1, 2, 4, 1), "float32"),)
    found = samples_for("raw.npz", project, inputs, features="features.yaml", only_few=True)
    assert found.count == len(found.labels) == len(found.arrays["x"]) == 32


def test_files_without_features_are_told_as_such(project):
    error = _error(samples_for, "photos", project, (TensorInfo("x", (1, 4), "float32"),))
    (finding,) = error.findings
    assert (finding.code, finding.where) == ("data-input-missing", "photos")
    assert finding.fix.startswith("write features: features.yaml under data")


def test_features_of_text_are_text_to_a_model_that_takes_text(project):
    document = {"format": "edgeops.features/1", "inputs": {"t": {"kind": "text"}}}
    (project / "text.yaml").write_text(json.dumps(document))
    np.savez(project / "raw.npz", t=np.array(["Ab", "Cde"]))
    inputs = (TensorInfo("t", ("N",), "str"),)
    found = samples_for("raw.npz", project, inputs, features="text.yaml")
    assert found.arrays["t"].tolist() == ["Ab", "Cde"]


def test_features_are_made_of_no_more_than_is_taken(project, monkeypatch):
    np.savez(project / "raw.npz", photo=np.zeros((40, 2, 4), np.uint8), labels=np.arange(40))
    inputs = (TensorInfo("x", (1, 2, 4, 1), "float32"),)
    counted = []
    call = Features.__call__
    monkeypatch.setattr(Features, "__call__", lambda *a: counted.append(1) or call(*a))

    def take(whole):
        return first(whole, 3)

    found = samples_for("raw.npz", project, inputs, features="features.yaml", take=take)
    assert (found.labels.tolist(), len(found.arrays["x"]), len(counted)) == ([0, 1, 2], 3, 3)
    np.savez(project / "made.npz", x=np.zeros((40, 2, 4, 1), np.float32))
    assert samples_for("made.npz", project, inputs, take=take).count == 3
