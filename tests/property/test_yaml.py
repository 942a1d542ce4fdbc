"""Any text becomes a document or findings with a place; plain data comes back as it was."""

from __future__ import annotations

import json

import ruamel.yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.errors import InputError
from edgeops.project.load import parse_project
from edgeops.project.positions import parse

# The first example imports the schema, and test machines are busy.
UNTIMED = settings(deadline=None)

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cf", "Co", "Cn", "Zl", "Zp"]),
    max_size=12,
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


def written(value):
    return json.dumps(value, ensure_ascii=False)


def dumped(value):
    """Return the value as YAML: a block of its keys, the rest as JSON, which YAML includes."""
    lines = [f"{written(key)}: {written(inner)}" for key, inner in value.items()]
    return "\n".join(lines) + "\n"


@UNTIMED
@given(st.dictionaries(WORDS, DATA, min_size=1, max_size=5))
def test_plain_data_comes_back_as_the_reader_of_dvc_reads_it(value):
    text = dumped(value)
    document = parse(text, "x.yaml")
    assert document.findings == []
    assert document.value == ruamel.yaml.YAML(typ="safe", pure=True).load(text)


@UNTIMED
@given(st.dictionaries(WORDS, DATA, min_size=1, max_size=5))
def test_every_key_has_a_place_within_the_text(value):
    text = dumped(value)
    lines = text.split("\n")
    document = parse(text, "x.yaml")
    assert {path[0] for path in document.keys} == set(value)
    for line, column in [*document.keys.values(), *document.values.values()]:
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1


@UNTIMED
@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text):
    document = parse(text, "x.yaml")
    for finding in document.findings:
        assert finding.where.startswith("x.yaml:")
        assert [int(part) >= 1 for part in finding.where.split(":")[1:]] == [True, True]


FRAGMENTS = st.sampled_from(
    [
        "project: digits",
        "version: 1.0.0",
        "version: 1.0",
        "model: m.onnx",
        "targets: {a: {engine: onnxruntime}, b: }",
        "targets: [a]",
        "targets:",
        "  gateway: {threads: x}",
        "stages: {train: {run: x}}",
        "stages:",
        "  convert: {simplify: 3}",
        "data: {calibration: ../x}",
        "data: 3",
        "bogus: 1",
        "- x",
        "  - y",
        "? [a]",
        "&a b: *a",
    ]
)


@UNTIMED
@given(st.lists(FRAGMENTS, max_size=8))
def test_project_file_of_any_pieces_is_a_project_or_findings_with_places(lines):
    try:
        project = parse_project("\n".join(lines)).project
    except InputError as error:
        for finding in error.findings or [error]:
            assert finding.code
            assert finding.fix
            assert finding.where.startswith("edgeops.yaml:")
    else:
        assert project.version == "1.0.0"
