"""Names of features, inputs and images in rules are held against the features that there are."""

from __future__ import annotations

import pytest

from edgeops.errors import InputError
from edgeops.runtime.features import parse as parse_features
from edgeops.runtime.rules import FORMAT, parse
from edgeops.runtime.rules.trial import check_taken

FEATURES = parse_features(
    {
        "format": "edgeops.features/1",
        "inputs": {
            "photo": {
                "kind": "image",
                "steps": [{"resize": {"width": 4, "height": 4}}, "normalize", {"layout": "NCHW"}],
            },
            "amount": {"kind": "tensor", "shape": [1]},
        },
        "outputs": {"image": "photo"},
    }
)
BOXES = {"name": "boxes", "kind": "detection", "form": "yolo"}


def _rules(*expressions, **parts):
    answer = {f"a{number}": each for number, each in enumerate(expressions)} or {"a": 1}
    return parse({"format": FORMAT, **parts, "rules": [{"answer": answer}]}, "rules.yaml")


@pytest.mark.parametrize(
    ("rules", "path", "why", "fix"),
    [
        (
            _rules("1", "features.imgae[0]"),
            "rules[0].answer.a1",
            "features has no 'imgae'",
            "did you mean 'image'? known: image, amount, photo",
        ),
        (
            _rules("1", values={"v": "inputs['amuont'] == 1.0"}),
            "values.v",
            "inputs has no 'amuont'",
            "did you mean 'amount'? known: amount, photo",
        ),
        # The model's input is nothing that a caller gives.
        (_rules("inputs.image"), "rules[0].answer.a0", "inputs has no 'image'", "known: amount,"),
        (
            _rules("zz[0]", values={"zz": "features.zz"}),
            "values.zz",
            "features has no 'zz'",
            "known: image, amount, photo",
        ),
        (
            _rules(steps=[{**BOXES, "image": "phot"}]),
            "steps[0].image",
            "images has no 'phot'",
            "did you mean 'photo'? known: photo",
        ),
        # An input, but no image: nothing says how it was placed.
        (
            _rules(steps=[{**BOXES, "image": "amount"}]),
            "steps[0].image",
            "'amount'",
            "known: photo",
        ),
        (
            _rules(models={"m": {"target": "other", "inputs": {"x": "imag"}}}),
            "models.m.inputs.x",
            "features has no 'imag'",
            "did you mean 'image'?",
        ),
    ],
)
def test_a_name_that_no_feature_has_is_refused_with_the_nearest(rules, path, why, fix):
    with pytest.raises(InputError) as caught:
        check_taken(rules, FEATURES)
    assert caught.value.code == "rules-malformed"
    assert caught.value.findings[0].details["path"] == path
    assert why in caught.value.why
    assert caught.value.fix.startswith(fix)


def test_names_that_there_are_are_taken():
    check_taken(
        _rules(
            "features.image[0]",
            "features.amount[0] + inputs.amount[0]",
            "has(inputs.photo) ? 'features.imgae' : 'inputs.photoo'",
            "features['ima' + 'ge'].size()",
            steps=[{**BOXES, "image": "photo"}],
            models={"m": {"target": "other", "inputs": {"x": "image", "y": "amount"}}},
        ),
        FEATURES,
    )
