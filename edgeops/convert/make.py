"""What ``check``, ``convert`` and the convert stage do: open, check, convert contained, prove."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.core.contracts import ConvertOptions
from edgeops.core.files import folder_atomic
from edgeops.core.variant import read_variant, refuse_foreign_folder
from edgeops.errors import (
    Finding,
    MissingError,
    RefusedError,
    UsageProblem,
    from_findings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Converter, Samples
    from edgeops.core.events import Events
    from edgeops.model.load import LoadedModel

FORMS = ("onnx", "ort")


@dataclass(frozen=True)
class Request:
    """What a person asked ``edgeops convert`` for; paths are relative to ``root``."""

    root: Path
    model: Path
    engine: str
    out: Path | None = None
    precision: str = "fp32"
    data: str | None = None
    input_shape: Sequence[str] = ()
    simplify: bool = True
    form: str = "onnx"


def convert_verb(request: Request, *, events: Events) -> dict[str, Any]:
    """Do what ``edgeops convert`` was asked for; raises as ``convert_model`` and UsageProblem."""
    model = request.root / request.model
    name = f"{model.stem}-{request.engine}-{request.precision}"
    if request.form not in FORMS:
        raise UsageProblem(
            "form-unknown",
            f"{request.form!r} is no file format of onnxruntime",
            where="--form",
            fix=f"use one of: {', '.join(FORMS)}",
        )
    return convert_model(
        model,
        request.engine,
        request.root / (request.out or name),
        precision=request.precision,
        input_shapes=parse_shapes(request.input_shape),
        data=request.data,
        root=request.root,
        simplify=request.simplify,
        form=request.form,
        events=events,
    )


def check_model(
    model: Path,
    engine: str,
    *,
    precision: str = "fp32",
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """Say whether ``model`` can be converted for ``engine``; write nothing.

    Raises RefusedError with all findings and ``supported: false`` as its result; InputError for a
    broken file, MissingError for an engine that is not there.
    """
    converter = converter_for(engine)
    shapes = {name: tuple(sizes) for name, sizes in (input_shapes or {}).items()}
    loaded = opened(model, shapes)
    about = {
        "engine": engine,
        "precision": precision,
        "model": str(model),
        "digest": loaded.digest,
        "nodes": len(loaded.proto.graph.node),
    }
    require_precision(converter, precision, quantizable=True, result={"supported": False, **about})
    findings = converter.check(loaded.proto, ConvertOptions(precision, shapes))
    if findings:
        raise from_findings(findings, RefusedError, {"supported": False, **about})
    return {"supported": True, **about, "findings": []}


def parse_shapes(stated: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return sizes by input name from ``NAME=1,3,224,224``; raises UsageProblem."""
    shapes = {}
    for text in stated:
        name, _, sizes = text.rpartition("=")
        try:
            shapes[name] = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            name = ""
        if not name:
            raise UsageProblem(
                "input-shape-bad",
                f"{text!r} is no input shape",
                where="--input-shape",
                why="it takes an input's name and one size for each of its axes",
                fix="write it like --input-shape NAME=1,3,224,224; edgeops inspect lists the names",
            )
    return shapes


def convert_model(
    model: Path,
    engine: str,
    out: Path,
    *,
    precision: str = "fp32",
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    data: str | None = None,
    root: Path | None = None,
    simplify: bool = True,
    form: str = "onnx",
    opset: int = 17,
    events: Events,
) -> dict[str, Any]:
    """Convert ``model`` for ``engine`` into the variant folder ``out``, proven equal.

    ``data`` names real samples as ``project.datasets.load_samples`` takes them, relative to
    ``root``; without them the proof runs on seeded noise and says so. ``out`` is left as it was
    when anything is refused: RefusedError, InputError or MissingError.
    """
    start = time.perf_counter()
    converter = converter_for(engine)
    require_precision(converter, precision)
    shapes = {name: tuple(sizes) for name, sizes in (input_shapes or {}).items()}
    refuse_foreign_folder(out, "convert")
    events.step(f"checking {model.name} for {engine}")
    loaded = opened(model, shapes)
    findings = converter.check(loaded.proto, ConvertOptions(precision, shapes))
    if findings:
        raise from_findings(findings, RefusedError)
    samples = fitting_samples(data, root or model.parent, loaded) if data else None
    request = {
        "model": str(model),
        "digest": loaded.digest,
        "engine": engine,
        "precision": precision,
        "input_shapes": {name: list(sizes) for name, sizes in shapes.items()},
        "simplify": simplify,
        "form": form,
        "opset": opset,
    }
    events.step(f"converting {model.name} for {engine} ({precision}), proving it equal")
    answer = _contained(request, out, samples, model_bytes=loaded.proto.ByteSize())
    events.figure("parity_max_abs", answer["variant"]["parity"]["max_abs"])
    return {**_result(answer, out), "seconds": round(time.perf_counter() - start, 3)}


def _contained(
    request: dict[str, Any], out: Path, samples: Samples | None, *, model_bytes: int
) -> dict[str, Any]:
    from edgeops.convert.contain import contained
    from edgeops.convert.samples import pick, save

    with folder_atomic(out) as new, tempfile.TemporaryDirectory(prefix="edgeops-") as scratch:
        request |= {"out": str(new), "samples": None, "data": ""}
        if samples is not None:
            file = Path(scratch) / "samples.npz"
            save(pick(samples), file)
            request |= {"samples": str(file), "data": samples.source}
        return contained(request, model_bytes=model_bytes)


def _result(answer: Mapping[str, Any], out: Path) -> dict[str, Any]:
    variant = read_variant(out)
    return {
        "variant": str(out),
        "digest": variant.digest,
        "engine": variant.engine,
        "engine_version": variant.engine_version,
        "precision": variant.precision,
        "source": variant.source,
        "files": [asdict(entry) for entry in variant.files],
        "parity": asdict(variant.parity) if variant.parity else None,
        "notes": list(answer["notes"]),
    }


def converter_for(engine: str) -> Converter:
    """Return an engine's converter; raises MissingError with what it lacks."""
    converter: Converter = registry.get("converters", engine)
    missing = converter.available()
    if missing is not None:
        raise MissingError(
            missing.code, missing.what, where=missing.where, why=missing.why, fix=missing.fix
        )
    return converter


def opened(path: Path, shapes: Mapping[str, Sequence[int]]) -> LoadedModel:
    """Load a model with its input shapes fixed as asked."""
    from edgeops.model.load import graph_inputs, graph_outputs, load_model
    from edgeops.model.prepare import fixed

    loaded = load_model(path)
    if not shapes:
        return loaded
    proto = fixed(loaded.proto, shapes)
    return replace(loaded, proto=proto, inputs=graph_inputs(proto), outputs=graph_outputs(proto))


def fitting_samples(data: str, root: Path, model: LoadedModel) -> Samples:
    """Read a data set, refusing one that does not fit the model's inputs."""
    from edgeops.project.datasets import samples_for

    return samples_for(data, root, model.inputs)


def require_precision(
    converter: Converter,
    precision: str,
    *,
    quantizable: bool = False,
    result: Mapping[str, Any] | None = None,
) -> None:
    """Raise RefusedError ``precision-unsupported``; ``quantizable`` lets int8 pass for later."""
    allowed = (*converter.precisions, *(("int8",) if quantizable else ()))
    if precision in allowed:
        return
    int8 = precision == "int8"
    finding = Finding(
        "precision-unsupported",
        f"convert for {converter.name} does not make {precision}",
        where=converter.name,
        why=f"it makes {', '.join(converter.precisions)}",
        fix="make it with edgeops quantize" if int8 else f"use one of: {', '.join(allowed)}",
        details={"node": "", "op": "", "alternatives": list(allowed)},
    )
    raise from_findings([finding], RefusedError, result)
