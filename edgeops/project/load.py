"""edgeops.yaml to a Project: every problem at once, each with line, column and a way out.

The checks go from the text (positions) over the shape (schema) to what only the whole tells: an
engine nobody registers, an int8 target without a stage that quantizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.core.gates import parse_bound, parse_name
from edgeops.core.project import FILE, Data, Project, StageSpec, Target
from edgeops.errors import EdgeopsError, Finding, InputError, from_findings
from edgeops.project import problems
from edgeops.project.positions import Document, parse

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = "command"


@dataclass(frozen=True)
class Loaded:
    """A project and where each of its parts stands in the file."""

    project: Project
    document: Document

    def where(self, *path: str) -> str:
        """Return ``edgeops.yaml:LINE:COL`` of the key at ``path``, or of the nearest above it."""
        return self.document.where(path, key=True)


def load_project(root: Path) -> Project:
    """Return the project in the folder ``root``; raises InputError with every problem found."""
    return load(root).project


def load(root: Path) -> Loaded:
    """Return the project in ``root`` with its positions; raises InputError as load_project."""
    return parse_project(_read(root))


def parse_project(text: str) -> Loaded:
    """Return the project that the text of an edgeops.yaml describes; opens no file.

    Raises InputError whose findings are sorted by line.
    """
    document = parse(text, FILE)
    findings = document.findings
    if document.value is None and not findings:
        raise InputError(
            "project-empty",
            f"{FILE} is empty",
            where=f"{FILE}:1:1",
            why="a project states at least its name, its version and its model",
            fix="start from an example: edgeops init DIR, then copy its edgeops.yaml",
        )
    if document.value is None:
        raise from_findings(findings)
    if not isinstance(document.value, dict):
        findings.append(problems.no_mapping(document))
        raise from_findings(findings)
    project = _Checker(document).project()
    if findings or project is None:
        raise from_findings(problems.sorted_findings(findings))
    return Loaded(project, document)


def _read(root: Path) -> str:
    path = root / FILE
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            "project-missing",
            f"there is no {FILE} in {root}",
            where=str(path),
            why="edgeops works on the project in the working directory, or the one -C names",
            fix=_elsewhere(root),
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "project-unreadable",
            f"{FILE} cannot be read",
            where=str(path),
            why=str(error),
            fix="it must be a file you may read, written in UTF-8",
        ) from error


def _elsewhere(root: Path) -> str:
    """Return where to go from a folder that is no project's."""
    for folder in root.resolve().parents:
        if (folder / FILE).is_file():
            return f"go to the project above: edgeops -C {folder} ..."
    return "lay down a project: edgeops init DIR; or go to one: edgeops -C DIR ..."


class _Checker:
    """Collects findings on one document, and builds the project when there are none."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._value: dict[str, Any] = document.value
        self._find = document.findings.append

    def project(self) -> Project | None:
        """Return the project, or None when it is not even shaped like one."""
        from edgeops.project.jsonschema import project_schema
        from edgeops.project.schema import ProjectModel

        model = problems.validate(ProjectModel, self._value, self._document, (), project_schema)
        stages = self._stages()
        self._targets()
        self._paths()
        self._precisions()
        if model is None or self._document.findings:
            return None
        data = model.data
        return Project(
            name=model.project,
            version=model.version,
            model=model.model,
            data=Data(data.calibration, data.evaluation, data.features) if data else Data(),
            targets={
                name: Target(name, **target.model_dump()) if target else Target(name)
                for name, target in (model.targets or {}).items()
            },
            stages=stages,
            given=self._document.given(),
        )

    def _stages(self) -> dict[str, StageSpec]:
        specs = {}
        for name, entry in self._entries("stages"):
            spec = self._stage(name, entry)
            if spec:
                specs[name] = spec
        return specs

    def _stage(self, name: str, entry: dict[str, Any]) -> StageSpec | None:
        path = ("stages", name)
        uses = entry.get("uses")
        if uses is not None and not isinstance(uses, str):
            self._find(problems.uses_no_text(self._document, path))
            return None
        plugin = uses or (COMMAND if "run" in entry else name)
        known = registry.names("stages") if uses or "run" in entry else registry.own("stages")
        if plugin not in known:
            self._find(problems.unknown_stage(self._document, path, plugin, uses, known))
            return None
        try:
            stage = registry.get("stages", plugin)
        except EdgeopsError as error:
            where = self._document.where(path, key=True)
            self._find(Finding("stage-broken", error.what, where, error.why, error.fix))
            return None
        options = self._options(stage, entry, path)
        given = tuple(key for key in entry if key != "uses")
        return StageSpec(name, plugin, options, given) if options is not None else None

    def _options(self, stage: Any, entry: dict[str, Any], path: tuple[str, ...]) -> Any:
        from edgeops.project.jsonschema import stage_schema
        from edgeops.project.schema import options_model

        try:
            model = options_model(stage.Options)
        except (TypeError, NameError, ValueError) as error:
            self._find(problems.broken_options(self._document, path, stage, error))
            return None
        values = {key: value for key, value in entry.items() if key != "uses"}

        def schema() -> dict[str, Any]:
            about, parts = stage_schema(stage)
            return {**about, "$defs": parts}

        valid = problems.validate(model, values, self._document, path, schema)
        self._gates(entry.get("gates"), (*path, "gates"))
        if valid is None:
            return None
        try:
            return stage.Options(
                **{name: getattr(valid, name) for name in type(valid).model_fields}
            )
        except (TypeError, ValueError) as error:
            where = self._document.where(path)
            fix = f"see: edgeops schema, under stage.{stage.info.name}"
            self._find(
                Finding("value-bad", f"stage {path[-1]!r} is not set right", where, str(error), fix)
            )
            return None

    def _targets(self) -> None:
        for name, entry in self._entries("targets"):
            path = ("targets", name)
            self._gates(entry.get("gates"), (*path, "gates"))
            self._registered("engine", "engines", entry.get("engine"), path)
            device = entry.get("device")
            kind = device.partition(":")[0] if isinstance(device, str) else None
            self._registered("device", "devices", kind, path)

    def _registered(self, key: str, group: str, value: Any, path: tuple[str, ...]) -> None:
        known = registry.names(group)
        if isinstance(value, str) and value and value not in known:
            self._find(problems.unknown_plugin(self._document, (*path, key), value, known))

    def _gates(self, gates: Any, path: tuple[str, ...]) -> None:
        for name, bound in gates.items() if isinstance(gates, dict) else ():
            try:
                parse_name(str(name))
            except ValueError as error:
                self._find(problems.bad_gate_name(self._document, (*path, name), str(error)))
            if not isinstance(bound, str):
                continue
            try:
                parse_bound(bound)
            except ValueError as error:
                self._find(problems.bad_bound(self._document, (*path, name), str(error)))

    def _paths(self) -> None:
        data = self._value.get("data")
        stated: list[tuple[tuple[str, ...], Any]] = [(("model",), self._value.get("model"))]
        if isinstance(data, dict):
            stated += [(("data", key), value) for key, value in data.items()]
        for path, value in stated:
            if isinstance(value, str) and problems.leads_outside(value):
                self._find(problems.outside(self._document, path, value))

    def _precisions(self) -> None:
        for name, entry in self._entries("stages"):
            if "quantize" in (name, entry.get("uses")):
                return
        for name, entry in self._entries("targets"):
            if entry.get("precision") == "int8":
                self._find(problems.needs_quantize(self._document, name))

    def _entries(self, key: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the named mappings under ``key``; an empty entry is an empty mapping."""
        entries = self._value.get(key)
        if not isinstance(entries, dict):
            return []
        return [
            (name, {} if entry is None else entry)
            for name, entry in entries.items()
            if entry is None or isinstance(entry, dict)
        ]
