"""Whatever bytes a model file has, inspect answers or refuses; it never breaks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.errors import InputError
from edgeops.model.inspect import inspect_model
from tests.unit import _model_files as files

KINDS = ["tflite", "mnn", "ort", "ncnn", "openvino"]
edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the paths of one file of each format, and their bytes."""
    paths = files.write_all(tmp_path_factory.mktemp("models"))
    return {kind: (path, path.read_bytes()) for kind, path in paths.items()}


def answered(path):
    """Return whether inspect answered; its answer must be printable as JSON."""
    try:
        about = inspect_model(path)
    except InputError:  # exit 3, whatever the damage
        return False
    json.dumps(about)
    return True


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(changes=edits)
def test_inspect_survives_changed_bytes(made, kind, changes):
    path, data = made[kind]
    changed = bytearray(data)
    for place, value in changes:
        changed[place % len(changed)] = value
    path.write_bytes(changed)
    answered(path)


@pytest.mark.parametrize("kind", KINDS)
def test_inspect_survives_every_length(made, kind):
    path, data = made[kind]
    lengths = range(0, len(data), max(1, len(data) // 120))
    whole = sum(answered(path) for length in lengths if path.write_bytes(data[:length]) >= 0)
    path.write_bytes(data)
    assert answered(path)
    assert whole < len(lengths) // 2
