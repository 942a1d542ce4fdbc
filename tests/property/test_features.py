"""Any document and any value: features, or an error of edgeops; the declared shapes; always the same."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeops.errors import EdgeopsError
from edgeops.runtime.features import FORMAT, parse
from edgeops.runtime.features.audio_steps import STEPS as AUDIO
from edgeops.runtime.features.columns import STEPS as COLUMNS
from edgeops.runtime.features.image_steps import STEPS as IMAGE
from edgeops.runtime.features.kinds import KINDS
from edgeops.runtime.features.text import TEXT
from tests.unit._features import wav

QUICK = settings(deadline=None, max_examples=150)
STATES = (IMAGE, AUDIO, COLUMNS, TEXT.steps)
NAMES = sorted({name for states in STATES for steps in states.values() for name in steps})
KEYS = sorted(
    {
        key
        for states in STATES
        for steps in states.values()
        for step in steps.values()
        for key in step.options
    }
)
WORDS = ("float32", "int8", "NCHW", "NHWC", "bilinear", "nearest", "hann", "none", "end", "db", "a")
NUMBERS = (
    st.integers(-3, 40)
    | st.floats(-3, 300)
    | st.sampled_from([10**400, -(2**70), float("nan"), float("inf"), 1e308, -0.0, True, 0.5])
)
VALUES = st.recursive(
    st.none() | NUMBERS | st.sampled_from(WORDS) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=6,
)


@st.composite
def a_step(draw, states):
    """Draw a step that is nearly right: its own options, most with a value that is near."""
    name, step = draw(
        st.sampled_from([pair for steps in states.values() for pair in steps.items()])
    )
    near = {key: NUMBERS | st.sampled_from(WORDS) | VALUES for key in step.options}
    options = {
        key: draw(near[key])
        for key in step.options
        if draw(st.booleans()) or step.options[key].default is not None
    }
    return {name: options}


FIXED = {
    "image": [{"colour": "grey"}, {"colour": "bgr", "max_pixels": 5000}],
    "audio": [{"rate": 8000, "resample": True}, {"rate": 16000, "max_seconds": 1}],
    "text": [{}],
    "bytes": [{}],
    "tensor": [{"shape": [2, 3]}, {"shape": [-1], "dtype": "int8"}, {"shape": []}],
}
GOOD = {
    "image": [
        {"resize": {"width": 5, "height": 4}},
        {"letterbox": {"width": 5, "height": 4}},
        {"resize": {"shortest": 3}},
        {"normalize": {"mean": 1, "std": 2}},
        {"layout": "NCHW"},
    ],
    "audio": [
        {"length": 50},
        {"frames": {"length": 16, "step": 8, "pad": "end"}},
        "spectrum",
        {"mel": {"bins": 4}},
        {"log": {"offset": 1e-6}},
        {"mfcc": 3},
    ],
    "text": [
        "lower",
        "split",
        "encode",
        {"vocabulary": {"tokens": ["a"], "unknown": 1}},
        {"hash": 9},
    ],
    "bytes": ["codes", {"length": 5}, {"ends": {"first": 2, "last": 2, "pad": 256}}],
    "tensor": [{"clip": {"least": 0}}, "standardize", {"quantize": {"scale": 0.5}}],
}


@st.composite
def an_input(draw):
    kind = draw(st.sampled_from(sorted(KINDS)))
    step = st.sampled_from(GOOD[kind]) | a_step(KINDS[kind].steps)
    return {
        "kind": kind,
        **draw(st.sampled_from(FIXED[kind])),
        "steps": draw(st.lists(step, max_size=5)),
    }


@st.composite
def a_column(draw):
    step = a_step(COLUMNS) | st.sampled_from([{"fill": 1}, {"fill": "a"}, {"one_hot": ["a"]}])
    kind = draw(st.sampled_from(["number", "text"]))
    return {
        "name": draw(st.sampled_from("ab")),
        "type": kind,
        "steps": draw(st.lists(step, max_size=3)),
    }


TABLES = st.builds(
    lambda columns: {"kind": "columns", "columns": columns}, st.lists(a_column(), max_size=3)
)


def picture(array, kind):
    data = io.BytesIO()
    Image.fromarray(array).save(data, kind)
    return data.getvalue()


def cut(data):
    """Return the strategy of a file with bytes changed and its end cut off."""
    return st.builds(
        lambda end, at, byte: (data[:at] + bytes([byte]) + data[at + 1 :])[:end],
        st.integers(0, len(data)),
        st.integers(0, len(data) - 1),
        st.integers(0, 255),
    )


PIXELS = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
FILES = [
    picture(PIXELS, "PNG"),
    picture(PIXELS, "JPEG"),
    picture(PIXELS[..., 0], "GIF"),
    picture(PIXELS, "BMP"),
    picture(PIXELS, "WEBP"),
    wav(bytes(range(120)), rate=8000),
    wav(bytes(range(120)), rate=16000, channels=2, bits=24),
    wav(bytes(range(120)), rate=8000, kind=3, bits=32),
]
RAW = (
    st.sampled_from([*FILES, PIXELS, PIXELS[..., 0]])
    | st.sampled_from(FILES).flatmap(cut)
    | st.binary(max_size=40)
    | st.text(max_size=20)
    | VALUES
    | st.sampled_from(
        [np.zeros(2), np.zeros((2, 3), np.float32), np.full(30, np.nan), np.array("x")]
    )
    | st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2)
    | st.lists(VALUES, max_size=2)
)


def answered(call, code):
    """Return what a call gives, None where it refuses with the one code that it may have."""
    try:
        return call()
    except EdgeopsError as caught:
        if caught.code != code:
            raise
        return None


def used(document, values):
    """Make features and check what is promised of them; return whether there were any."""
    features = answered(lambda: parse(document), "features-malformed")
    if features is None:
        return False
    for value in values:
        inputs = {item.name: value for item in features.inputs}
        found = answered(lambda: features(inputs), "feature-input")  # noqa: B023 - called at once
        if found is None:
            continue
        again = features(inputs)
        for tensor in features.outputs:
            array = found[tensor.name]
            assert str(array.dtype) == tensor.dtype.replace("str", "object")
            assert len(array.shape) == len(tensor.shape)
            assert all(
                isinstance(size, str) or size == given
                for size, given in zip(tensor.shape, array.shape, strict=True)
            )
            assert array.dtype.kind != "f" or np.isfinite(array).all()
            np.testing.assert_array_equal(array, again[tensor.name])
    return True


@QUICK
@given(st.dictionaries(st.sampled_from(["format", "inputs", "outputs", "x"]), VALUES) | VALUES)
def test_any_document_is_refused_in_words(document):
    used(document, [])


@settings(deadline=None, max_examples=400)
@given(an_input(), st.lists(RAW, min_size=1, max_size=4))
def test_documents_that_are_nearly_right_and_any_value(about, values):
    used({"format": FORMAT, "inputs": {"x": about}}, values)


@QUICK
@given(TABLES, st.lists(RAW, min_size=1, max_size=4))
@example(
    {"kind": "columns", "columns": [{"name": "a", "steps": ["log1p", {"clip": {"most": 3}}]}]},
    [{"a": -1}, {"a": -2}, {"a": 1e308}],
)
def test_columns_that_are_nearly_right_and_any_row(about, values):
    used({"format": FORMAT, "inputs": {"x": about}}, values)


@QUICK
@given(st.sampled_from(FILES).flatmap(cut))
def test_any_broken_file_is_a_picture_or_refused(data):
    assert used({"format": FORMAT, "inputs": {"x": {"kind": "image"}}}, [data])
    sound = {"kind": "audio", "rate": 8000, "resample": True}
    assert used({"format": FORMAT, "inputs": {"x": sound}}, [data])


@QUICK
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.booleans()
)
def test_pixels_stay_between_those_of_the_picture(height, width, rows, columns, antialias):
    about = {
        "kind": "image",
        "colour": "grey",
        "steps": [{"resize": {"width": columns, "height": rows, "antialias": antialias}}],
    }
    features = parse({"format": FORMAT, "inputs": {"x": about}})
    array = np.random.default_rng(height * width).integers(9, 201, (height, width), dtype=np.uint8)
    found = features({"x": array})["x"]
    assert found.shape == (1, rows, columns, 1)
    assert array.min() <= found.min() <= found.max() <= array.max()


@QUICK
@given(st.lists(st.dictionaries(st.sampled_from("ab"), st.floats(-9, 9)), min_size=1, max_size=5))
def test_rows_of_a_batch_are_those_of_single_calls(rows):
    columns = [
        {"name": "a", "steps": [{"fill": 3}, {"bucketize": [0, 1]}, "one_hot"]},
        {"name": "b", "steps": [{"fill": 0}, {"standard": {"mean": 1, "std": 3}}]},
    ]
    about = {"kind": "columns", "columns": columns}
    features = parse({"format": FORMAT, "inputs": {"x": about}})
    batch = features.batch([{"x": row} for row in rows])["x"]
    single = np.concatenate([features({"x": row})["x"] for row in rows])
    np.testing.assert_array_equal(batch, single)
