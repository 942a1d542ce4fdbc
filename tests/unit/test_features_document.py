"""The document of features: what is refused and where, what is known before anything runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import ruamel.yaml

import edgeops
from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.runtime.features import FORMAT, columns, misfits, parse
from edgeops.runtime.features.kinds import KINDS
from tests.unit._features import features, made, malformed, misfit

TENSOR = {"kind": "tensor", "shape": [2]}


def test_all_problems_are_told_at_once_with_their_places():
    findings = malformed(
        {
            "format": FORMAT,
            "input": {},
            "inputs": {
                "photo": {"kind": "imag"},
                "x": {
                    "kind": "image",
                    "colur": "rgb",
                    "steps": [{"resize": {"widht": 3}}, {"layot": "NCHW"}],
                },
            },
            "outputs": {"input": "foto"},
        }
    )
    assert [(each.where, each.fix) for each in findings] == [
        ("features.yaml: input", "did you mean 'inputs'?"),
        ("features.yaml: inputs.photo.kind", "did you mean 'image'?"),
        ("features.yaml: inputs.x.colur", "did you mean 'colour'?"),
        ("features.yaml: inputs.x.steps[0].resize.widht", "did you mean 'width'?"),
        ("features.yaml: inputs.x.steps[1]", "did you mean 'layout'?"),
        ("features.yaml: outputs.input", "did you mean 'photo'?"),
    ]
    assert findings[3].details["path"] == ["inputs", "x", "steps", 0, "resize", "widht"]


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ([], "features must be a mapping (key: value)"),
        ({"inputs": {"x": TENSOR}}, "format must be edgeops.features/1"),
        ({"format": "edgeops.features/2", "inputs": {"x": TENSOR}}, "format must be edgeops"),
        ({"format": FORMAT}, "inputs must be a mapping of 1 to 256"),
        ({"format": FORMAT, "inputs": {}}, "inputs must be a mapping of 1 to 256"),
        ({"format": FORMAT, "inputs": {1: TENSOR}}, "an input's name must be a name"),
        ({"format": FORMAT, "inputs": {"x": 3}}, "an input must be a mapping"),
        ({"format": FORMAT, "inputs": {"x": TENSOR}, "outputs": []}, "outputs must be a mapping"),
        ({"format": FORMAT, "inputs": {"x": TENSOR}, "outputs": {"y": {}}}, "the key 'from' is"),
    ],
)
def test_what_is_no_document_is_refused(document, what):
    assert malformed(document)[0].what.startswith(what)


@pytest.mark.parametrize(
    ("steps", "place", "words"),
    [
        ([{"resize": {"width": 0, "height": 2}}], "steps[0].resize.width", "from 1 to 16384"),
        ([{"resize": {"width": 2}}], "steps[0].resize", "width and height, or shortest"),
        ([{"layout": "NCHW"}, {"resize": {"width": 2, "height": 2}}], "steps[1].resize", "follow"),
        ([{"normalize": {"std": 0}}], "steps[0].normalize", "std other than 0"),
        ([{"normalize": {"mean": [1, 2]}}], "steps[0].normalize", "a channel for mean: 3"),
        ([{"cast": "float31"}], "steps[0].cast.dtype", "one of float32"),
        ([{"quantize": {"scale": 1, "zero_point": 200}}], "steps[0].quantize", "-128 to 127"),
        ([{"quantize": {"scale": float("nan")}}], "steps[0].quantize.scale", "number above 0"),
        ([{"clip": {"least": 2, "most": 1}}], "steps[0].clip", "not above most"),
        ([{"resize": 3, "crop": 4}], "steps[0]", "a name, or a mapping"),
        ([3], "steps[0]", "a name, or a mapping"),
        ([{"resize": [3, 4]}], "steps[0].resize", "options by name"),
        ([{"letterbox": {"width": 4, "height": 4, "pad": 300}}], "steps[0].letterbox", "0 to 255"),
        (
            [{"resize": {"width": 4, "height": 4}}, {"centre_crop": {"width": 5, "height": 4}}],
            "steps[1].centre_crop",
            "5 x 4 at -1, 0 of 4 x 4",
        ),
        ([{"resize": {"width": 16384, "height": 16384}}], "steps[0].resize", "elements"),
        ([{"resize": {"width": 10**400, "height": 1}}], "steps[0].resize.width", "16384"),
    ],
)
def test_steps_that_do_not_fit_are_refused(steps, place, words):
    told = misfit("image", *steps)
    assert told.startswith(f"inputs.x.{place} |")
    assert words in told


def test_shapes_and_dtypes_are_known_before_anything_runs():
    document = {
        "format": FORMAT,
        "inputs": {
            "photo": {
                "kind": "image",
                "steps": [{"resize": {"width": 8, "height": 4}}, {"layout": "NCHW"}],
            },
            "a": {"kind": "tensor", "shape": [-1, 3]},
            "b": {"kind": "tensor", "shape": [2, 4]},
            "unused": TENSOR,
        },
        "outputs": {"pixels": "photo", "both": ["b", "a"]},
    }
    found = parse(document)
    assert found.outputs == (
        TensorInfo("both", ("batch", 2, 7), "float32"),
        TensorInfo("pixels", ("batch", 3, 4, 8), "uint8"),
    )
    assert [(item.name, item.kind) for item in found.inputs] == [
        ("a", "tensor"),
        ("b", "tensor"),
        ("photo", "image"),
        ("unused", "tensor"),
    ]
    # Sorted keys, as in the JSON of a bundle, make the same features.
    again = parse(json.loads(json.dumps(document, sort_keys=True)))
    assert again.outputs == found.outputs


def test_inputs_stand_side_by_side_in_the_order_of_the_output():
    both = parse(
        {
            "format": FORMAT,
            "inputs": {"a": TENSOR, "b": TENSOR},
            "outputs": {"x": ["b", "a"]},
        }
    )
    found = both({"a": [1, 2], "b": [3, 4]})
    np.testing.assert_array_equal(found["x"], np.array([[3, 4, 1, 2]], np.float32))


def test_inputs_of_one_output_must_fit_each_other():
    findings = malformed(
        {
            "format": FORMAT,
            "inputs": {"a": TENSOR, "b": {"kind": "tensor", "shape": [2], "dtype": "int8"}},
            "outputs": {"x": ["a", "b"]},
        }
    )
    assert findings[0].where == "features.yaml: outputs.x"


def test_inputs_that_no_model_takes_are_kept_for_rules():
    found = parse({"format": FORMAT, "inputs": {"a": TENSOR, "b": TENSOR}, "outputs": {"x": "a"}})(
        {"a": [1, 2], "b": [3, 4]}
    )
    assert set(found) == {"x"}
    np.testing.assert_array_equal(found.extra["b"], [[3, 4]])


def test_a_batch_is_its_samples_one_after_the_other():
    maker = features("tensor", shape=[2])
    samples = [{"x": [1, 2]}, {"x": np.array([3, 4], np.float32)}]
    batch = maker.batch(samples)["x"]
    np.testing.assert_array_equal(batch, np.concatenate([maker(each)["x"] for each in samples]))
    assert maker.outputs == (TensorInfo("x", ("batch", 2), "float32"),)


def test_samples_of_two_shapes_make_no_batch():
    maker = features("tensor", shape=[-1])
    with pytest.raises(InputError, match="differ in shape"):
        maker.batch([{"x": [1]}, {"x": [1, 2]}])


def test_an_output_without_axis_of_samples_takes_one_sample():
    maker = features("tensor", shape=[-1, 2], outputs={"x": {"from": "x", "batch": False}})
    assert maker.outputs == (TensorInfo("x", ("any", 2), "float32"),)
    assert maker({"x": [[1, 2], [3, 4]]})["x"].shape == (2, 2)
    with pytest.raises(InputError, match="for 2 samples at once"):
        maker.batch([{"x": [[1, 2]]}, {"x": [[1, 2]]}])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "'x' was not given"),
        ({"x": [1], "y": 1}, "no input 'y'"),
        (3, "cannot be int"),
        (["x"], "cannot be list"),
    ],
)
def test_inputs_are_given_by_name(inputs, words):
    with pytest.raises(InputError, match=words) as caught:
        features("tensor", shape=[1])(inputs)
    assert caught.value.code == "feature-input"


def test_an_empty_batch_is_refused():
    with pytest.raises(InputError, match="no sample"):
        features("tensor", shape=[1]).batch([])


@pytest.mark.parametrize(
    ("step", "given", "expected"),
    [
        ({"normalize": {"scale": 2, "mean": [1, 2], "std": [1, 4]}}, [3, 4], [5, 1.5]),
        ({"standardize": {}}, [1, 3], [-1, 1]),
        ({"clip": {"least": 0, "most": 2}}, [-1, 3], [0, 2]),
        ({"log": {"offset": 1, "base": "2"}}, [0, 3], [0, 2]),
        ({"log": {"floor": 0.1, "base": "10"}}, [0, 100], [-1, 2]),
        ({"log": {"base": "db"}}, [10, 100], [10, 20]),
        ({"cast": "int8"}, [0.5, 300], [0, 127]),
        ({"cast": "uint8"}, [1.5, -7], [2, 0]),
        ({"quantize": {"scale": 0.5, "zero_point": 3}}, [1.25, -100], [5, -128]),
        ({"quantize": {"scale": 0.5, "dtype": "uint8"}}, [1.25, -100], [2, 0]),
        ({"reshape": [2, -1]}, [1, 2], [[1], [2]]),
        ({"normalize": {"mean": [1, 2], "std": 2}}, [3, 4], [1, 1]),
    ],
)
def test_steps_on_arrays(step, given, expected):
    found = made("tensor", np.array(given, np.float32), step, shape=[2])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rows_that_follow_each_other_are_put_side_by_side():
    value = np.arange(8, dtype=np.float32).reshape(4, 2)
    for known in (4, -1):
        found = made("tensor", value, {"stack": {"count": 2, "step": 2}}, shape=[known, 2])
        assert found.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(InputError, match="only 4 rows"):
        made("tensor", value, {"stack": {"count": 5}}, shape=[-1, 2])
    assert "at least 5 rows" in misfit("tensor", {"stack": {"count": 5}}, shape=[4, 2])


def test_axes_are_put_in_another_order():
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = made("tensor", value, {"transpose": [1, 0]}, shape=[2, 3])
    np.testing.assert_array_equal(found, value.T)


def test_missing_numbers_of_a_tensor_are_filled_or_refused():
    value = np.array([1, np.nan], np.float32)
    np.testing.assert_array_equal(made("tensor", value, {"fill": 7}, shape=[2]), [1, 7])
    with pytest.raises(InputError, match="1 of 2 features are NaN"):
        made("tensor", value, shape=[2])
    with pytest.raises(InputError, match="NaN"):
        made("tensor", value, {"cast": "int8"}, shape=[2])
    with pytest.raises(InputError, match="NaN"):
        made("tensor", value, {"cast": "bool"}, shape=[2])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(3, np.float32), r"shape \[3\]"),
        (np.zeros(2, np.float64), "float64, not float32"),
        ("text", "not float32"),
        ([[1], [1, 2]], "no array"),
        (object(), "not float32"),
    ],
)
def test_tensors_of_another_shape_or_dtype_are_refused(value, words):
    with pytest.raises(InputError, match=words):
        made("tensor", value, shape=[2])


def test_what_the_model_takes_is_compared_with_what_is_made():
    maker = features("tensor", shape=[2])
    assert misfits(maker, [TensorInfo("x", ("n", 2), "float32")], "f") == ()
    words = [
        each.what
        for each in (
            *misfits(maker, [TensorInfo("x", (1, 3), "float32")], "f"),
            *misfits(maker, [TensorInfo("x", (1, 2), "int8")], "f"),
            *misfits(maker, [TensorInfo("y", (1, 2), "float32")], "f"),
        )
    ]
    assert words == [
        "'x' does not fit the model",
        "'x' does not fit the model",
        "the model's input 'y' is not made",
        "the model has no input 'x'",
    ]


DOCS = Path(edgeops.__file__).parent.parent / "docs" / "formats" / "features.md"


def test_every_step_and_option_is_described():
    text = DOCS.read_text()
    tables = [steps for kind in KINDS.values() for steps in kind.steps.values()]
    for steps in (*tables, *columns.STEPS.values()):
        for name, step in steps.items():
            assert f"`{name}`" in text
            assert [option for option in step.options if f"`{option}`" not in text] == [], name
    options = {option for kind in KINDS.values() for option in kind.options}
    assert [option for option in options if f"`{option}`" not in text] == []


def test_the_example_of_the_documentation_runs():
    text = DOCS.read_text().partition("```yaml\n")[2].partition("```")[0]
    found = parse(ruamel.yaml.YAML(typ="safe", pure=True).load(text))
    assert found.outputs == (TensorInfo("input", ("batch", 3, 240, 320), "float32"),)
    assert found({"photo": np.zeros((48, 64, 3), np.uint8)})["input"].shape == (1, 3, 240, 320)


PHOTO = (np.arange(48 * 64 * 3) * 7919 % 251).astype(np.uint8).reshape(48, 64, 3)
SOUND = (np.arange(1600) * 7919 % 20011 - 10000).astype(np.int16)
SAME = {
    "pixels": (
        (
            "image",
            PHOTO,
            [{"resize": {"width": 31, "height": 37}}, {"normalize": {"std": 255}}],
            {},
        ),
        "dd973d0c38852d4b",
    ),
    "letterbox": (
        ("image", PHOTO, [{"letterbox": {"width": 40, "height": 40, "antialias": False}}], {}),
        "331991a49a43fcc9",
    ),
    "sound": (("audio", SOUND, ["micro_frontend"], {"rate": 16000}), "4f44278acde02f60"),
    "text": (
        ("text", "The QUICK \u00c9", ["lower", "split", {"hash": {"buckets": 5000}}], {}),
        "96575a8d374977e9",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_defined_in_integers_is_the_same_everywhere(name):
    (kind, value, steps, options), digest = SAME[name]
    found = np.ascontiguousarray(made(kind, value, *steps, **options))
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == digest
