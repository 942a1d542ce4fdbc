"""What ``convert`` and the convert stage do: ask, have it done contained, move the result in place.

Nothing of the model is parsed in this process, and no engine is imported: an untrusted file and a
faulty library both stay in the contained one (``convert.contain``).
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.convert import routes
from edgeops.core.files import folder_atomic
from edgeops.core.variant import read_variant, refuse_foreign_folder
from edgeops.errors import MissingError, RefusedError, UsageProblem, from_findings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Converter, Samples
    from edgeops.core.events import Events

OPSET = 17
_MODEL = " MODEL "


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
    form: str = ""
    via: str = ""
    features: str = ""


@dataclass(frozen=True)
class Recipe:
    """How a model is converted; ``form`` and ``via`` are "" for the engine's own first choice."""

    precision: str = "fp32"
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    simplify: bool = True
    form: str = ""
    via: str = ""
    opset: int = OPSET


def convert_verb(request: Request, *, events: Events) -> dict[str, Any]:
    """Do what ``edgeops convert`` was asked for; raises as ``convert_model`` and UsageProblem."""
    model = request.root / request.model
    name = f"{model.stem}-{request.engine}-{request.precision}"
    recipe = Recipe(
        request.precision,
        parse_shapes(request.input_shape),
        request.simplify,
        request.form,
        request.via,
    )
    return convert_model(
        model,
        request.engine,
        request.root / (request.out or name),
        recipe,
        data=request.data,
        features=request.features,
        root=request.root,
        events=events,
    )


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
    recipe: Recipe | None = None,
    *,
    data: str | None = None,
    features: str = "",
    root: Path | None = None,
    events: Events,
) -> dict[str, Any]:
    """Convert ``model`` for ``engine`` into the variant folder ``out``, proven equal.

    ``data`` names real samples as ``project.datasets.load_samples`` takes them, relative to
    ``root``, with ``features`` where they are raw; without them the proof runs on seeded noise and
    says so. ``out`` is left as it was
    when anything is refused: RefusedError, InputError, MissingError or UsageProblem.
    """
    start = time.perf_counter()
    recipe = recipe or Recipe()
    converter = available(routes.route(engine, recipe.via))
    misfits = routes.precision_misfits(converter, recipe.precision)
    if misfits:
        raise from_findings(misfits, RefusedError)
    form = routes.form_for(converter, recipe.form)
    refuse_foreign_folder(out, "convert")
    request = {
        **asdict(recipe),
        "form": form,
        "model": str(model.absolute()),
        "kind": require_kind(converter, model),
        "engine": engine,
        "samples": None,
        "data": "",
        "named": _named(model, root),
    }
    events.step(f"converting {model.name} for {engine} ({recipe.precision}), proving it equal")
    with tempfile.TemporaryDirectory(prefix="edgeops-") as room:
        if data:
            request |= _saved(data, features, root or model.parent, Path(room))
        answer = _converted(request, out.absolute(), events=events)
    parity = answer["variant"]["parity"]
    if parity:
        events.figure("parity_max_abs", parity["max_abs"])
    return {**_result(answer, out), "seconds": round(time.perf_counter() - start, 3)}


def _saved(data: str, features: str, root: Path, room: Path) -> dict[str, Any]:
    """Read a data set here, where a project's own functions have their user's rights."""
    from edgeops.convert.samples import pick, save
    from edgeops.project.datasets import load_samples

    samples: Samples = load_samples(data, root, features)
    file = room / "samples.npz"
    save(pick(samples), file)
    return {"samples": str(file), "data": samples.source}


def _converted(request: Mapping[str, Any], out: Path, *, events: Events) -> dict[str, Any]:
    from edgeops.convert.contain import contained
    from edgeops.convert.suspect import with_suspect

    size = Path(request["model"]).stat().st_size if Path(request["model"]).is_file() else 0
    try:
        with folder_atomic(out) as new:
            return contained({**request, "task": "convert", "out": str(new)}, model_bytes=size)
    except RefusedError as error:
        told = with_suspect(error, request, model_bytes=size, events=events)
        # Findings of tables name commands to type, for whichever model.
        told.fix = told.fix.replace(_MODEL, f" {request['named']} ")
        told.findings = tuple(
            replace(finding, fix=finding.fix.replace(_MODEL, f" {request['named']} "))
            for finding in told.findings
        )
        raise told from error


def _named(model: Path, root: Path | None) -> str:
    base = root or Path.cwd()
    return str(model.relative_to(base)) if model.is_relative_to(base) else str(model)


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
        "unproven": variant.extra.get("unproven", ""),
        "accuracy": answer.get("accuracy"),
        "notes": list(answer["notes"]),
        "took_s": answer["took_s"],
        "peak_mb": round(answer["peak_bytes"] / 1e6, 1),
    }


def available(converter: Converter) -> Converter:
    """Return the converter; raises MissingError with what it lacks."""
    missing = converter.available()
    if missing is not None:
        raise MissingError(
            missing.code, missing.what, where=missing.where, why=missing.why, fix=missing.fix
        )
    return converter


def require_kind(converter: Converter, model: Path) -> str:
    """Return what kind of file a model is; raises RefusedError ``source-unsupported``.

    A kind that only converters in environments of their own take is a MissingError
    ``environment-missing`` while these are not made.
    """
    from edgeops.model.source import kind_of

    kind = kind_of(model)
    if kind in routes.sources_of(converter):
        return kind
    raise routes.wrong_kind(converter, kind, model)
