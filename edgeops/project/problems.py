"""What can be wrong with an edgeops.yaml, in words: one function a kind of problem."""

from __future__ import annotations

import difflib
import json
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, TypeVar

from edgeops.core.project import FILE
from edgeops.errors import Finding
from edgeops.project.jsonschema import keys_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import BaseModel

    from edgeops.project.positions import Document, Path

    Model = TypeVar("Model", bound=BaseModel)

_MAPPING = "a mapping (key: value)"
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "dataclass_exact_type": _MAPPING,
}
_PLACE_PARTS = 3


def validate(
    model: type[Model],
    value: Mapping[str, Any],
    document: Document,
    path: Path,
    schema: Callable[[], Mapping[str, Any]],
) -> Model | None:
    """Return ``value`` as a ``model``, or None after adding a finding for each misfit.

    ``path`` is where ``value`` stands in the document; ``schema`` tells the valid keys, and is only
    asked when one is not: making a schema takes longer than checking by it.
    """
    from pydantic import ValidationError

    # JSON's meaning of types is YAML's too: a list may become a tuple, 1 may become 1.0.
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        items: list[dict[str, Any]] = [*map(dict, error.errors(include_url=False))]
    wrong: dict[Path, list[dict[str, Any]]] = {}
    for item in items:
        place = _descend(value, item["loc"])
        if item["type"] == "extra_forbidden":
            document.findings.append(unknown_key(document, path, place, schema()))
        elif item["type"] == "missing":
            document.findings.append(_missing(document, (*path, *place), item["loc"][-1]))
        elif item["loc"] and item["loc"][-1] == "[key]":
            document.findings.append(_bad_name(document, (*path, *place), str(place[-1])))
        else:
            wrong.setdefault((*path, *place), []).append(item)
    for place, group in wrong.items():
        document.findings.append(_misfit(document, place, group))
    return None


def _descend(value: Any, loc: Sequence[str | int]) -> Path:
    """Return the parts of pydantic's ``loc`` that the value has; it also names alternatives."""
    found: list[str | int] = []
    for part in loc:
        inside_mapping = isinstance(value, dict) and part in value
        inside_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if inside_mapping or inside_list:
            value = value[part]
            found.append(part)
    return tuple(found)


def unknown_key(document: Document, above: Path, path: Path, schema: Mapping[str, Any]) -> Finding:
    """Return the finding on a key that nothing reads."""
    key = str(path[-1])
    valid = keys_at(schema, path[:-1])
    near = difflib.get_close_matches(key, valid, n=1)
    owner = ".".join(str(part) for part in (*above, *path[:-1]))
    return Finding(
        "key-unknown",
        f"unknown key {key!r}" + (f" in {owner}" if owner else ""),
        where=document.where((*above, *path), key=True),
        why=f"valid keys: {', '.join(valid)}" if valid else "it takes no keys",
        fix=f"did you mean {near[0]!r}?" if near else "remove it",
    )


def _missing(document: Document, parent: Path, key: str | int) -> Finding:
    owner = ".".join(str(part) for part in parent) or FILE
    return Finding(
        "key-missing",
        f"the key {key!r} is missing in {owner}",
        where=document.where(parent, key=True),
        why="it has no default",
        fix=f"add {key}: ...",
    )


def _bad_name(document: Document, path: Path, name: str) -> Finding:
    return Finding(
        "name-bad",
        f"{name!r} cannot be a name",
        where=document.where(path, key=path != ("project",)),
        why="names stand in paths, in stage addresses and in bundles",
        fix="use lower-case letters, digits, - and _, and begin with a letter or a digit",
    )


def _misfit(document: Document, path: Path, items: Sequence[Mapping[str, Any]]) -> Finding:
    name = ".".join(str(part) for part in path) or FILE
    if path == ("version",):
        return _bad_version(document)
    if path == ("project",) and items[0]["type"] == "string_pattern_mismatch":
        return _bad_name(document, path, document.raw[path])
    where = document.where(path)
    expected = list(dict.fromkeys(_EXPECTED.get(item["type"], "") for item in items))
    if all(expected):
        raw = document.raw.get(path)
        fix = "change the value"
        if raw is not None and "text" in expected:
            fix = f'write it in quotes: "{raw}"'
        elif raw is not None and "a list" in expected:
            fix = f"write it as a list: [{raw}]"
        return Finding(
            "type-wrong",
            f"{name} must be {' or '.join(expected)}",
            where=where,
            why=f"it is {_kind(document, path)}",
            fix=fix,
        )
    told = next(item for item in items if item["type"] not in _EXPECTED)
    return Finding(
        "value-bad",
        f"{name} has a value that does not fit",
        where=where,
        why=f"{_words(told)}, and it is {document.raw.get(path, 'something else')}",
        fix="change the value",
    )


def _words(item: Mapping[str, Any]) -> str:
    text = str(item["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return f"it must be {text}" if text != item["msg"] else text


def _kind(document: Document, path: Path) -> str:
    value = document.value
    for part in path:
        value = value[part]
    shown = document.raw.get(path, "")
    kinds = {
        bool: f"the truth value {shown}",
        int: f"the number {shown}",
        float: f"the number {shown}",
        str: f"the text {shown!r}",
        list: "a list",
        dict: "a mapping",
    }
    return kinds.get(type(value), "empty")


def _bad_version(document: Document) -> Finding:
    value, raw = document.value["version"], document.raw.get(("version",), "")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Finding(
            "version-bad",
            f"version {raw} is a number for YAML, not a text",
            where=document.where(("version",)),
            why="1.10 as a number is 1.1: the version would change on its way",
            fix=f"write three parts, which need no quotes: {_three(raw)}",
        )
    return Finding(
        "version-bad",
        f"{raw!r} is no version",
        where=document.where(("version",)),
        why="devices and rollbacks compare versions, so they follow semver.org",
        fix="write MAJOR.MINOR.PATCH, such as 1.0.0 or 1.1.0-rc.1",
    )


def _three(raw: str) -> str:
    parts = raw.split(".")
    whole = all(part.isdigit() for part in parts)
    return ".".join([*parts, "0", "0"][:_PLACE_PARTS]) if whole else "1.0.0"


def no_mapping(document: Document) -> Finding:
    """Return the finding on a file that is a list or a single value."""
    return Finding(
        "type-wrong",
        f"{FILE} must be {_MAPPING}",
        where=document.where(()),
        why=f"it is {_kind(document, ())}",
        fix="begin with: project: NAME",
    )


def uses_no_text(document: Document, path: Path) -> Finding:
    """Return the finding on a ``uses`` that names nothing."""
    return Finding(
        "type-wrong",
        f"{'.'.join(map(str, path))}.uses must be text",
        where=document.where((*path, "uses")),
        why=f"it is {_kind(document, (*path, 'uses'))}",
        fix="name a stage plugin; edgeops plugins lists them",
    )


def unknown_stage(
    document: Document, path: Path, plugin: str, uses: str | None, known: Sequence[str]
) -> Finding:
    """Return the finding on a stage that no plugin does."""
    near = difflib.get_close_matches(plugin, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    if uses:
        return Finding(
            "stage-unknown",
            f"no stage plugin is called {plugin!r}",
            where=document.where((*path, "uses")),
            why=f"registered: {', '.join(known)}",
            fix=f"{hint}Name one of these, or install the package that brings {plugin!r}",
        )
    return Finding(
        "stage-unknown",
        f"the stage {plugin!r} does not say what does it",
        where=document.where(path, key=True),
        why=f"only built-in stages need not say so: {', '.join(known)}",
        fix=f"{hint}Add run: COMMAND for a command of your own, or uses: PLUGIN",
    )


def broken_options(document: Document, path: Path, stage: Any, error: Exception) -> Finding:
    """Return the finding on a plugin whose Options cannot be checked."""
    return Finding(
        "stage-broken",
        f"the stage plugin {stage.info.name!r} does not say its options as it should",
        where=document.where(path, key=True),
        why=f"{type(error).__name__}: {error}",
        fix="upgrade or remove the package that brings it; edgeops plugins lists all",
    )


def unknown_plugin(document: Document, path: Path, value: str, known: Sequence[str]) -> Finding:
    """Return the finding on an engine or device that nobody registers."""
    near = difflib.get_close_matches(value.partition(":")[0], known, n=1)
    key = path[-1]
    code = "engine-unknown" if key == "engine" else "device-unknown"
    return Finding(
        code,
        f"no {key} is called {value!r}",
        where=document.where(path),
        why=f"registered here: {', '.join(known)}",
        fix=f"did you mean {near[0]!r}?" if near else "use one of these, or install its package",
    )


def bad_bound(document: Document, path: Path, why: str) -> Finding:
    """Return the finding on a gate whose bound cannot be read."""
    return Finding(
        "gate-bound",
        f"the gate {path[-1]!r} has no bound that can be judged",
        where=document.where(path),
        why=why,
        fix='write an operator and a number in quotes: ">= 0.95", "<= 5"',
    )


def bad_gate_name(document: Document, path: Path, why: str) -> Finding:
    """Return the finding on a gate whose name cannot be that of a figure."""
    return Finding(
        "gate-name",
        f"{path[-1]!r} cannot be the name of a figure",
        where=document.where(path, key=True),
        why=why,
        fix="write accuracy, accuracy[light=night] or latency_p50_ms_vs[rev=main]; "
        "in {...} the name needs quotes",
    )


def leads_outside(path: str) -> bool:
    """Return whether a stated path is absolute or climbs out of its folder."""
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
    return absolute or ".." in PurePosixPath(path).parts or "\\" in path or "\0" in path


def outside(document: Document, path: Path, value: str) -> Finding:
    """Return the finding on a path that leads out of the project."""
    return Finding(
        "path-outside",
        f"{'.'.join(map(str, path))} leads outside the project: {value}",
        where=document.where(path),
        why="a project is one folder, so that it can be moved, cloned and run by CI",
        fix="put the file inside the project's folder and name it by its relative path",
    )


def needs_quantize(document: Document, target: str) -> Finding:
    """Return the finding on an int8 target in a project that never quantizes."""
    return Finding(
        "quantize-missing",
        f"target {target!r} asks for int8, but no stage quantizes",
        where=document.where(("targets", target, "precision")),
        why="int8 weights come from the quantize stage",
        fix="add it under stages, after convert: quantize: {max_drop: 0.01}",
    )


def place(finding: Finding) -> tuple[int, int]:
    """Return line and column of a finding, for sorting."""
    parts = finding.where.rsplit(":", 2)
    if len(parts) != _PLACE_PARTS or not all(part.isdigit() for part in parts[1:]):
        return (0, 0)
    return (int(parts[1]), int(parts[2]))


def sorted_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order of the file, each once."""
    return sorted({(f.code, f.where, f.what): f for f in findings}.values(), key=place)
