"""What ``edgeops check`` does: load, prepare, ask tables and converters; write nothing."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.convert.routes import (
    engine_of,
    precision_misfits,
    route,
    sources_of,
    wrong_kind,
)
from edgeops.core import registry
from edgeops.core.contracts import ConvertOptions
from edgeops.errors import (
    EdgeopsError,
    Finding,
    InputError,
    MissingError,
    RefusedError,
    UsageProblem,
    from_findings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Converter
    from edgeops.core.events import Events
    from edgeops.core.variant import TensorInfo

    Shapes = Mapping[str, Sequence[int]]

SUFFIXES = (".onnx", ".tflite", ".pt2")
OPSET = 17


@dataclass(frozen=True)
class Examined:
    """A model that was opened and prepared once, for any number of engines.

    ``proto`` and the number of ``nodes`` of the source are those of ONNX, None of other kinds.
    """

    path: Path
    kind: str
    digest: str
    inputs: tuple[TensorInfo, ...]
    options: ConvertOptions
    nodes: int | None = None
    proto: Any = None


@dataclass(frozen=True)
class CheckRequest:
    """What a person asked ``edgeops check`` for; paths are relative to ``root``."""

    root: Path
    models: Sequence[Path]
    engine: str | None = None
    every: bool = False
    precision: str = "fp32"
    input_shape: Sequence[str] = ()


def check_verb(request: CheckRequest, *, events: Events) -> dict[str, Any]:
    """Do what ``edgeops check`` was asked for; raises as its two forms and UsageProblem."""
    from edgeops.convert.make import parse_shapes

    if request.every == bool(request.engine):
        raise UsageProblem(
            "check-engine",
            "check takes one of --to ENGINE and --all",
            where="--to",
            why="both are given" if request.every else "none is given",
            fix=f"use --to with one of: {', '.join(known_engines())}; or --all",
        )
    if request.engine and len(request.models) > 1:
        raise UsageProblem(
            "check-models",
            f"check --to takes one model, not {len(request.models)}",
            where=str(request.models[1]),
            fix="check several with --all, which shows every engine",
        )
    paths = [request.root / model for model in request.models]
    shapes = parse_shapes(request.input_shape)
    if request.engine is None:
        return check_all(
            paths,
            precision=request.precision,
            input_shapes=shapes,
            root=request.root,
            events=events,
        )
    return check_model(
        paths[0],
        request.engine,
        precision=request.precision,
        input_shapes=shapes,
        root=request.root,
    )


def check_model(
    model: Path,
    engine: str,
    *,
    precision: str = "fp32",
    input_shapes: Shapes | None = None,
    root: Path | None = None,
) -> dict[str, Any]:
    """Say whether ``model`` can be converted for ``engine``, which need not be installed.

    Raises RefusedError with all findings and ``supported: false`` as its result; InputError for a
    broken file, MissingError for an engine that nobody registers, or that has no table and is not
    installed. Commands in findings name the model relative to ``root``.
    """
    converter = route(engine)
    examined = examine(model, ConvertOptions(precision, _shapes(input_shapes)))
    absent = converter.available()
    result = {
        "engine": engine,
        "precision": precision,
        "model": _named(model, root),
        "digest": examined.digest,
        "nodes": examined.nodes,
        "installed": absent is None,
        "notes": [f"{absent.what}: {absent.fix}"] if absent else [],
    }
    findings = misfits(converter, examined, root=root)
    if findings:
        raise from_findings(findings, RefusedError, {"supported": False, **result})
    return {"supported": True, **result, "findings": []}


def check_all(
    models: Sequence[Path],
    *,
    precision: str = "fp32",
    input_shapes: Shapes | None = None,
    root: Path | None = None,
    events: Events,
) -> dict[str, Any]:
    """Return the support matrix of models, or folders of them, and all engines.

    ``input_shapes`` hold for the models that have inputs of these names. Raises with the matrix as
    result: RefusedError ``no-engine`` when a model has no engine, InputError ``models-broken`` when
    one cannot be read.
    """
    paths = _models(models)
    engines = known_engines()
    events.step("checking models", total=len(paths))
    rows: list[dict[str, Any]] = []
    broken, homeless = [], []
    for path in paths:
        name = _named(path, root)
        try:
            of_model = _row(path, engines, precision, input_shapes or {}, root)
        except RefusedError as error:
            of_model = [_entry(engine, [_told(error)]) for engine in engines]
        except InputError as error:
            if len(paths) == 1:
                raise
            of_model = [_entry(engine, [_told(error)]) for engine in engines]
            broken.append(name)
        rows.extend({"model": name, **entry} for entry in of_model)
        if name not in broken and not any(entry["supported"] for entry in of_model):
            homeless.append(name)
        events.advance()
    result = {"models": [_named(path, root) for path in paths], "engines": engines, "matrix": rows}
    if broken:
        raise InputError(
            "models-broken",
            f"{_count(broken, 'model')} of {len(paths)} cannot be read: {', '.join(broken)}",
            where=broken[0],
            why=next(row["findings"][0]["what"] for row in rows if row["model"] == broken[0]),
            fix=f"edgeops inspect {broken[0]} says more",
            result=result,
        )
    if homeless:
        raise RefusedError(
            "no-engine",
            f"{_count(homeless, 'model')} of {len(paths)} can go to no engine: "
            f"{', '.join(homeless)}",
            where=homeless[0],
            why="each engine has something against it",
            fix=f"edgeops check {homeless[0]} --to {engines[0]} says what, node by node",
            result=result,
        )
    return result


def examine(path: Path, options: ConvertOptions, *, opset: int = OPSET) -> Examined:
    """Open a model and, where it is ONNX, prepare it.

    Raises InputError for a broken file or shapes that do not fit, RefusedError for a .tflite that
    no engine here runs.
    """
    from edgeops.model.load import graph_inputs
    from edgeops.model.prepare import prepare
    from edgeops.model.source import open_source

    source = open_source(path)
    if source.proto is None:
        return Examined(path, source.kind, source.digest, source.inputs, options)
    prepared = prepare(
        source.proto, opset=opset, input_shapes=options.input_shapes, simplify=options.simplify
    )
    return Examined(
        path,
        source.kind,
        source.digest,
        graph_inputs(prepared.proto),
        options,
        len(source.proto.graph.node),
        prepared.proto,
    )


def misfits(
    converter: Converter,
    examined: Examined,
    *,
    root: Path | None = None,
    makes_int8: bool = True,
) -> list[Finding]:
    """Return all that stands against converting a model, commands in it naming the model.

    int8 passes where ``makes_int8`` says that quantize comes after it. Raises MissingError when
    the engine is not installed and has no table.
    """
    also = ("int8",) if makes_int8 else ()
    found = precision_misfits(converter, examined.options.precision, also)
    if examined.kind not in sources_of(converter):
        found.append(_told(wrong_kind(converter, examined.kind, examined.path)))
    else:
        found += _of_model(converter, examined)
    name = _named(examined.path, root)
    return [replace(finding, fix=finding.fix.replace(" MODEL ", f" {name} ")) for finding in found]


def known_engines() -> list[str]:
    """Return the engines that a model can be checked for: with a table, or installed."""
    from edgeops.convert.support.tables import names

    found = [name for name in names() if name in registry.names("converters")]
    for plugin in registry.registered("converters"):
        if plugin.value is None or engine_of(plugin.value) in found:
            continue
        if plugin.value.available() is None:
            found.append(engine_of(plugin.value))
    return sorted(found)


def _of_model(converter: Converter, examined: Examined) -> list[Finding]:
    from edgeops.convert.support import asked, findings
    from edgeops.convert.support.facts import read_once
    from edgeops.convert.support.tables import table

    absent = converter.available()
    if examined.proto is None:
        check_file = getattr(converter, "check_file", None)
        return list(
            check_file(examined.path, examined.kind, examined.options) if check_file else ()
        )
    if absent is None:
        with read_once(examined.proto):
            return asked(converter, examined.proto, examined.options)
    engine = engine_of(converter)
    if table(engine) is None:
        raise MissingError(
            absent.code, absent.what, where=absent.where, why=absent.why, fix=absent.fix
        )
    return findings(engine, examined.proto, examined.options)


def _row(
    path: Path, engines: Sequence[str], precision: str, shapes: Shapes, root: Path | None
) -> list[dict[str, Any]]:
    from edgeops.convert.support.facts import read_once
    from edgeops.model.source import open_source

    inputs = {tensor.name for tensor in open_source(path).inputs} if shapes else set()
    own = {name: sizes for name, sizes in shapes.items() if name in inputs}
    examined = examine(path, ConvertOptions(precision, _shapes(own)))
    with read_once(examined.proto) if examined.proto is not None else nullcontext():
        return [_entry(engine, _against(engine, examined, root)) for engine in engines]


def _against(engine: str, examined: Examined, root: Path | None) -> list[Finding]:
    try:
        return misfits(route(engine), examined, root=root)
    except MissingError as error:
        return [_told(error)]


def _entry(engine: str, found: Sequence[Finding]) -> dict[str, Any]:
    findings = [finding.to_json() for finding in found]
    return {"engine": engine, "supported": not found, "findings": findings}


def _told(error: EdgeopsError) -> Finding:
    details = {"node": "", "op": "", "alternatives": []}
    return Finding(error.code, error.what, error.where, error.why, error.fix, details)


def _models(stated: Sequence[Path]) -> list[Path]:
    """Return the files themselves, and all models below the folders."""
    found: list[Path] = []
    for path in stated:
        below = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        found += below if path.is_dir() else [path]
        if path.is_dir() and not below:
            raise InputError(
                "models-none",
                f"there is no model below {path.name}",
                where=str(path),
                why=f"no file ends in {' or '.join(SUFFIXES)}",
                fix="name a folder with models, or the models themselves",
            )
    return list(dict.fromkeys(found))


def _named(path: Path, root: Path | None) -> str:
    base = root or Path.cwd()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def _shapes(stated: Shapes | None) -> dict[str, tuple[int, ...]]:
    return {name: tuple(sizes) for name, sizes in (stated or {}).items()}


def _count(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}" if len(names) == 1 else f"{len(names)} {what}s"
