"""``edgeops schema``."""

from __future__ import annotations

from edgeops import console
from edgeops.commands.options import JsonFlag


def schema(as_json: JsonFlag = False) -> None:
    """Print the JSON Schema of edgeops.yaml."""
    from edgeops.project.jsonschema import json_schema
    from edgeops.views.schema import view

    console.present(lambda _: json_schema(), view, as_json=as_json)
