"""What is packed around a model is what its predictor takes."""

from __future__ import annotations

import pytest

from edgeops.core.events import Silence
from edgeops.errors import InputError, TrustError
from edgeops.package.fits import check_fits
from edgeops.package.pack import Contents, pack_files
from edgeops.package.verify import verify_bundle
from tests.unit._bundles import FEATURES, make_variant

RULES = """\
format: edgeops.rules/1
steps:
  - {name: top, kind: classification, output: probabilities}
"""


@pytest.fixture
def variant(tmp_path):
    return make_variant(tmp_path / "gateway")


def included(folder, **documents):
    """Write documents and return them as pack is given them."""
    found = {}
    for kind, text in documents.items():
        path = folder / f"{kind}.yaml"
        path.write_text(text)
        found[f"spec/{path.name}"] = path
    return found


def test_documents_that_fit_the_model_are_taken(tmp_path, variant):
    check_fits(included(tmp_path, features=FEATURES, rules=RULES), {"gateway": variant})


def test_features_that_the_model_does_not_take_are_refused_by_target(tmp_path, variant):
    include = included(tmp_path, features=FEATURES.replace("[4]", "[5]"))
    with pytest.raises(InputError) as caught:
        check_fits(include, {"desktop": variant, "gateway": variant})
    assert {finding.code for finding in caught.value.findings} == {"features-model"}
    assert [finding.what.endswith("'gateway'") for finding in caught.value.findings] == [
        False,
        True,
    ]
    assert caught.value.findings[0].where == "spec/features.yaml"


def test_rules_on_an_output_that_the_model_lacks_are_refused_with_their_line(tmp_path, variant):
    include = included(tmp_path, rules=RULES.replace("probabilities", "scores"))
    with pytest.raises(InputError) as caught:
        check_fits(include, {"gateway": variant})
    assert caught.value.code == "rules-malformed"
    assert caught.value.where == "spec/rules.yaml:3:5"


def test_rules_on_what_no_feature_is_called_are_refused_with_their_line(tmp_path, variant):
    rules = RULES + "rules:\n  - answer:\n      first: inputs.xx[0]\n"
    with pytest.raises(InputError) as caught:
        check_fits(included(tmp_path, features=FEATURES, rules=rules), {"gateway": variant})
    assert (caught.value.code, caught.value.why) == ("rules-malformed", "inputs has no 'xx'")
    assert caught.value.where == "spec/rules.yaml:6:14"
    # Without features there is no telling: they may be sealed, or the caller's own.
    check_fits(included(tmp_path, rules=rules), {"gateway": variant})


def test_a_target_that_only_rules_ask_needs_no_features_of_its_own(tmp_path, variant):
    features = FEATURES.replace("x:", "y:") + "outputs: {y: y}\n"
    include = included(tmp_path, features=features, rules=RULES + "models: {other: camera}\n")
    with pytest.raises(InputError) as caught:
        check_fits(include, {"camera": variant, "gateway": variant})
    assert all(finding.what.endswith("'gateway'") for finding in caught.value.findings)


def _bundle(folder, monkeypatch, **documents):
    """Pack documents as a foreign tool might, which asks nobody whether they fit."""
    include = included(folder, **documents)
    contents = Contents("tiny", "1.0.0", {"gateway": folder / "gateway"}, {}, include)
    with monkeypatch.context() as patched:
        patched.setattr("edgeops.package.pack.check_fits", lambda *_: None)
        patched.setattr("edgeops.package.pack._check_asked", lambda *_: None)
        return pack_files(contents, folder / "t.edgeops", sign=None, events=Silence()).path


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ({"features": FEATURES.replace("[4]", "[5]")}, "does not fit the model of the target"),
        ({"rules": RULES.replace("probabilities", "scores")}, "the model has no output 'scores'"),
        (
            {"features": FEATURES, "rules": RULES + "values: {v: 'features.y[0]'}\n"},
            "features has no 'y'",
        ),
        # In a bundle of old, which has no index that would say so.
        ({"rules": RULES + "models: {other: camera}\n"}, "ask the target camera"),
    ],
)
def test_verify_refuses_what_a_device_would(tmp_path, variant, monkeypatch, documents, words):
    assert variant.inputs
    made = _bundle(tmp_path, monkeypatch, **documents)
    monkeypatch.setattr("edgeops.package.verify.read_targets", lambda _: {})
    with pytest.raises(TrustError) as caught:
        verify_bundle(made)
    assert caught.value.code == "bundle-malformed"
    assert words in caught.value.why


def test_verify_takes_what_fits(tmp_path, variant, monkeypatch):
    assert variant.inputs
    made = _bundle(tmp_path, monkeypatch, features=FEATURES, rules=RULES)
    assert verify_bundle(made)["verified"]
