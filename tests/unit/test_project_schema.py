"""The JSON Schema says the same as the loader."""

from __future__ import annotations

import json

import jsonschema
import pytest

from edgeops.cli import main
from edgeops.core import registry
from edgeops.project.jsonschema import json_schema

BASE = {"project": "digits", "version": "1.0.0", "model": "build/model.onnx"}


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft7Validator(json_schema())


def test_schema_is_valid_draft_07():
    schema = json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "$defs" not in json.dumps(schema)


def test_every_reference_leads_somewhere():
    schema = json_schema()
    text = json.dumps(schema)
    names = {part.split('"')[0] for part in text.split('"#/definitions/')[1:]}
    assert names
    assert names <= set(schema["definitions"])


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"data": {"calibration": "data/c.npz"}},
        {"targets": {"gateway": {"engine": "onnxruntime", "precision": "int8"}, "b": None}},
        {"targets": {"phone": {"engine": "mnn", "device": "adb", "binary": "MNNV2Basic.out"}}},
        {"stages": {"train": {"run": "python train.py", "outs": ["data"]}}},
        {"stages": {"convert": {"simplify": True}, "validate": None}},
        {"stages": {"other": {"uses": "convert", "simplify": False}}},
        {"stages": {"convert": {"run": "./my-convert.sh"}}},
        {"stages": {"validate": {"gates": {"accuracy[light=night]": ">= 0.9"}}}},
        {"targets": {"gateway": {"gates": {"latency_p50_ms_vs[rev=main]": "<= 1.03"}}}},
    ],
)
def test_schema_accepts_what_the_loader_accepts(validator, more):
    assert list(validator.iter_errors({**BASE, **more})) == []


@pytest.mark.parametrize(
    "more",
    [
        {"targts": {}},
        {"version": 1.0},
        {"project": "Digits"},
        {"targets": {"a": {"threads": 0}}},
        {"targets": {"a": {"binary": 3}}},
        {"targets": {"A b": {}}},
        {"stages": {"train": {"run": "x", "out": ["data"]}}},
        {"stages": {"convert": {"simplfy": True}}},
        {"stages": {"mine": {}}},
        {"stages": {"other": {"uses": "convert", "simplfy": True}}},
    ],
)
def test_schema_refuses_what_the_loader_refuses(validator, more):
    assert list(validator.iter_errors({**BASE, **more}))


def test_every_option_of_every_stage_is_described():
    definitions = json_schema()["definitions"]
    for plugin in registry.registered("stages"):
        if not plugin.broken:
            for name, about in definitions[f"stage.{plugin.name}"]["properties"].items():
                assert about.get("description"), f"{plugin.name}.{name}"


def test_schema_verb_prints_the_document_itself_in_both_modes(capsys):
    assert main(["schema"]) == 0
    text = capsys.readouterr().out
    assert main(["schema", "--json"]) == 0
    assert json.loads(text) == json.loads(capsys.readouterr().out) == json_schema()
