"""The JSON Schema of edgeops.yaml, from the same models that check it.

Draft-07, because that is what the YAML language servers of editors read: shared parts stand under
``definitions`` (https://json-schema.org/draft-07/schema).
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from edgeops.core import registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DRAFT = "http://json-schema.org/draft-07/schema#"
_REF = "#/definitions/{model}"


def json_schema() -> dict[str, Any]:
    """Return the schema of edgeops.yaml with the options of every registered stage."""
    from edgeops.project.schema import ProjectModel

    document = ProjectModel.model_json_schema(ref_template=_REF)
    definitions = document.pop("$defs", {})
    known: dict[str, Any] = {}
    own = registry.own("stages")
    used: list[dict[str, Any]] = []
    for plugin in registry.registered("stages"):
        if plugin.broken:
            continue
        schema, parts = stage_schema(plugin.value)
        definitions.update(parts)
        definitions[f"stage.{plugin.name}"] = schema
        reference = {"$ref": _REF.format(model=f"stage.{plugin.name}")}
        used.append({"if": _uses(plugin.name), "then": reference})
        if plugin.name in own and plugin.name != "command":
            known[plugin.name] = _entry(reference)
    definitions["stage"] = _any_stage(used)
    definitions["stage-or-nothing"] = _nothing_or({"$ref": _REF.format(model="stage")})
    document["properties"]["stages"] = {
        "description": document["properties"]["stages"]["description"],
        "type": ["object", "null"],
        "properties": known,
        "propertyNames": {"pattern": _name_pattern()},
        "additionalProperties": {"$ref": _REF.format(model="stage-or-nothing")},
    }
    document["properties"]["targets"]["propertyNames"] = {"pattern": _name_pattern()}
    return {
        "$schema": DRAFT,
        "title": "edgeops.yaml",
        **{key: value for key, value in document.items() if key != "title"},
        "definitions": dict(sorted(definitions.items())),
    }


def stage_schema(stage: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of a stage's entry and the definitions that it refers to."""
    own = f"stage.{stage.info.name}."
    text = json.dumps(options_schema(stage.Options))
    schema = json.loads(text.replace(_REF.format(model=""), _REF.format(model=own)))
    parts = {own + name: part for name, part in schema.pop("$defs", {}).items()}
    schema["title"] = stage.info.name
    schema["description"] = stage.info.summary
    schema["properties"] = {
        "uses": {
            "type": "string",
            "const": stage.info.name,
            "description": "The plugin that does this stage.",
        },
        **schema.get("properties", {}),
    }
    return schema, parts


@cache
def options_schema(options: Any) -> Mapping[str, Any]:
    """Return the schema of a plugin's options alone, its parts still under ``$defs``."""
    from edgeops.project.schema import options_model

    return options_model(options).model_json_schema(ref_template=_REF)


@cache
def project_schema() -> Mapping[str, Any]:
    """Return the schema of all but the stages' options, its parts still under ``$defs``."""
    from edgeops.project.schema import ProjectModel

    return ProjectModel.model_json_schema(ref_template=_REF)


def keys_at(schema: Mapping[str, Any], path: Sequence[str | int]) -> tuple[str, ...]:
    """Return the keys that ``schema`` allows at ``path``, none where any are."""
    nodes: list[Mapping[str, Any]] = [schema]
    for part in path:
        nodes = [child for node in nodes for child in _children(schema, node, part)]
    found = [key for node in _open(schema, nodes) for key in node.get("properties", {})]
    return tuple(dict.fromkeys(found))


def _children(
    schema: Mapping[str, Any], node: Mapping[str, Any], part: str | int
) -> list[Mapping[str, Any]]:
    children = []
    for option in _open(schema, [node]):
        if isinstance(part, int):
            children.append(option.get("items"))
        elif part in option.get("properties", {}):
            children.append(option["properties"][part])
        else:
            children += [option.get("additionalProperties")]
            children += option.get("patternProperties", {}).values()
    return [child for child in children if isinstance(child, dict)]


def _open(schema: Mapping[str, Any], nodes: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Follow references and alternatives down to what says something itself."""
    found = []
    for node in nodes:
        if "$ref" in node:
            name = node["$ref"].removeprefix(_REF.format(model=""))
            found += _open(schema, [schema.get("$defs", {}).get(name, {})])
        elif "anyOf" in node:
            found += _open(schema, node["anyOf"])
        else:
            found.append(node)
    return found


def _uses(name: str) -> dict[str, Any]:
    by_name = {"required": ["uses"], "properties": {"uses": {"const": name}}}
    if name != "command":
        return by_name
    return {"anyOf": [by_name, {"required": ["run"], "not": {"required": ["uses"]}}]}


def _entry(reference: dict[str, Any]) -> dict[str, Any]:
    """Allow a built-in stage's own options, or another way of doing a stage of that name."""
    other = {"anyOf": [{"required": ["uses"]}, {"required": ["run"]}]}
    anything = {"$ref": _REF.format(model="stage")}
    return _nothing_or({"if": other, "then": anything, "else": reference})


def _any_stage(used: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "A stage says which plugin it uses, or which command it runs.",
        "properties": {
            "uses": {"type": "string", "description": "The plugin that does this stage."},
            "run": {"type": "string", "description": "The shell command that does this stage."},
        },
        "anyOf": [{"required": ["uses"]}, {"required": ["run"]}],
        "allOf": used,
    }


def _nothing_or(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _name_pattern() -> str:
    from edgeops.project.schema import NAME

    return NAME
