"""What runs in the contained process: load, prepare, check, convert, load again, prove."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.contracts import ConvertOptions
from edgeops.core.variant import Variant, entries, write_variant
from edgeops.errors import MissingError, RefusedError, from_findings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeops.convert.prove import Proof
    from edgeops.core.contracts import Converter, Samples
    from edgeops.model.source import Source

ONNX = "onnx"


def work(request: Mapping[str, Any]) -> dict[str, Any]:
    """Do one task of a contained process: ``convert``, or ``locate`` the first difference.

    The request holds ``task``, ``model``, ``kind``, ``out``, ``engine``, ``via``, ``precision``,
    ``input_shapes``, ``simplify``, ``form``, ``opset``, ``samples`` (an .npz or None) and ``data``
    (its name). Raises RefusedError, InputError or MissingError.
    """
    if request["task"] == "locate":
        from edgeops.convert.locate import locate

        return locate(request)
    return convert(request)


def convert(request: Mapping[str, Any]) -> dict[str, Any]:
    """Convert into the folder ``request["out"]`` and prove the result equal.

    Returns ``variant``, ``notes``, ``accuracy`` (or None) and ``took_s`` by step.
    """
    clock = Clock()
    job = opened(request)
    clock.mark("load")
    made = job.make(Path(request["out"]), clock)
    variant = finished(made, job, Path(request["out"]))
    notes = list(job.notes)
    unproven = str(getattr(job.converter, "unproven", "") or "")
    accuracy = None
    if unproven:
        variant = replace(variant, extra={**variant.extra, "unproven": unproven})
        notes.append(f"nothing proves this variant: {unproven}")
    else:
        proof = proven(job, variant, Path(request["out"]))
        variant = replace(variant, parity=proof.parity)
        accuracy = proof.accuracy
        notes += proof.notes
        clock.mark("prove")
    write_variant(Path(request["out"]), variant)
    return {
        "variant": variant.to_json(),
        "notes": notes,
        "accuracy": accuracy,
        "took_s": clock.took,
    }


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self._last = time.perf_counter()

    def mark(self, step: str) -> None:
        """Count what passed since the last mark as ``step``."""
        now = time.perf_counter()
        self.took[step] = round(now - self._last, 4)
        self._last = now


@dataclass
class Job:
    """A conversion under way: the source, who converts it and how, the samples for the proof."""

    source: Source
    converter: Converter
    options: ConvertOptions
    opset: int
    samples: Samples | None
    tolerance: str
    check_changed: Callable[[], None]
    notes: list[str] = field(default_factory=list)

    def make(self, out: Path, clock: Clock) -> Any:
        """Check and convert; what the converter returns is not to be trusted."""
        from edgeops.convert.support import asked

        if self.source.kind != ONNX:
            return self._make_of_file(out, clock)
        prepared = self.prepare()
        clock.mark("prepare")
        findings = asked(self.converter, prepared, self.options)
        if findings:
            raise from_findings(findings, RefusedError)
        clock.mark("check")
        made = self.converter.convert(prepared, out, self.options)
        clock.mark("convert")
        return made

    def prepare(self) -> Any:
        """Return the prepared model; the source's own graph is given up for its memory."""
        from edgeops.model.prepare import prepare

        proto = self.source.proto
        self.source = replace(self.source, proto=None)
        prepared = prepare(
            proto,
            opset=self.opset,
            input_shapes=self.options.input_shapes,
            simplify=self.options.simplify,
        )
        self.notes += prepared.notes
        return prepared.proto

    def _make_of_file(self, out: Path, clock: Clock) -> Any:
        converter: Any = self.converter
        path, kind = self.source.path, self.source.kind
        check = getattr(converter, "check_file", None)
        findings = check(path, kind, self.options) if check else []
        if findings:
            raise from_findings(findings, RefusedError)
        clock.mark("check")
        made = converter.convert_file(path, kind, out, self.options)
        clock.mark("convert")
        return made


def opened(request: Mapping[str, Any]) -> Job:
    """Read the source and the samples and see that they, the engine and the request fit."""
    from edgeops.convert.proof import bounds_for
    from edgeops.convert.reference import Unchanged
    from edgeops.convert.routes import route
    from edgeops.model.source import open_source

    converter = route(request["engine"], request["via"])
    require_engine(request["engine"], converter)
    unchanged = Unchanged(Path(request["model"]))
    source = open_source(Path(request["model"]))
    shapes = {name: tuple(sizes) for name, sizes in request["input_shapes"].items()}
    if shapes and source.kind == ONNX:
        source = _with_shapes(source, shapes)
    options = ConvertOptions(
        request["precision"], shapes, simplify=request["simplify"], form=request["form"]
    )
    return Job(
        source,
        converter,
        options,
        request["opset"],
        _samples(request, source),
        bounds_for(request["precision"], source.precision),
        unchanged.check,
    )


def require_engine(engine: str, converter: Converter) -> None:
    """Raise MissingError when what runs the result is not here, before time is spent."""
    from edgeops.core import registry

    if getattr(converter, "unproven", ""):
        return
    missing = registry.get("engines", engine).available()
    if missing is not None:
        raise MissingError(
            missing.code, missing.what, where=missing.where, why=missing.why, fix=missing.fix
        )


def _with_shapes(source: Source, shapes: Mapping[str, tuple[int, ...]]) -> Source:
    from edgeops.model.load import graph_inputs, graph_outputs
    from edgeops.model.prepare import fixed

    proto = fixed(source.proto, shapes)
    return replace(source, proto=proto, inputs=graph_inputs(proto), outputs=graph_outputs(proto))


def _samples(request: Mapping[str, Any], source: Source) -> Samples | None:
    if not request["samples"]:
        return None
    from edgeops.convert.samples import read
    from edgeops.project.datasets import check_fit
    from edgeops.runtime.batch import bind

    samples = read(Path(request["samples"]), request["data"])
    findings = check_fit(samples, source.inputs, labels=False)
    if findings:
        raise from_findings(findings)
    return bind(samples, source.inputs)


def finished(made: Any, job: Job, out: Path) -> Variant:
    """Return the variant with what only the outside knows, written beside its files.

    Raises RefusedError ``convert-garbage`` or ``convert-empty`` when what the converter returned
    or left behind is not what it was asked for.
    """
    if not isinstance(made, Variant):
        raise _garbage(job, f"it returned {type(made).__name__}, not what it made")
    links = [path.name for path in out.rglob("*") if path.is_symlink()]
    if links:
        raise _garbage(job, f"{links[0]} is a link to somewhere else")
    model = out / made.model_file
    if not model.is_file() or not model.stat().st_size:
        state = "is empty" if model.is_file() else "is not there"
        raise RefusedError(
            "convert-empty",
            f"the converter for {job.converter.name} says it is done, but made nothing",
            where=made.model_file,
            why=f"its file {made.model_file} {state}",
            fix="use another engine or route; edgeops check MODEL --all shows which take the model",
        )
    for side in ("inputs", "outputs"):
        wanted = [(t.name, t.dtype) for t in getattr(job.source, side)]
        has = [(t.name, t.dtype) for t in getattr(made, side)]
        if has != wanted:
            raise _garbage(job, f"it has the {side} {_listed(has)}, the source {_listed(wanted)}")
    precision = "int8" if job.tolerance == "quantized" else job.tolerance
    variant = replace(
        made, precision=precision, source=job.source.digest, files=entries(out), parity=None
    )
    write_variant(out, variant)
    return variant


def proven(job: Job, variant: Variant, out: Path) -> Proof:
    """Load what was made on its own engine and compare it with the source.

    One after the other: two engines at once would hold the weights twice. Made-up samples on which
    the source does not agree with itself are left out when they are what fails.
    """
    from edgeops.convert.prove import compare, expect
    from edgeops.convert.reference import reference
    from edgeops.convert.samples import chosen
    from edgeops.runtime.session import load_session

    source = reference(job.source, job.converter)
    job.check_changed()
    expected = expect(source, variant.inputs, job.samples)
    del source
    converted = load_session(out)
    try:
        return compare(expected, converted, job.tolerance)
    except RefusedError as error:
        if error.code not in ("parity-failed", "parity-nan"):
            raise
        rows = _steady(job, expected.samples, error)
        if rows is None or job.samples is not None:
            raise
    kept = chosen(expected.samples, rows)
    count = expected.samples.count - kept.count
    expected = expect(reference(job.source, job.converter), variant.inputs, kept)
    try:
        proof = compare(expected, converted, job.tolerance)
    except RefusedError as error:
        error.result.setdefault("differs", {})["rows"] = rows
        raise
    note = f"{count} made-up samples were left out: the source does not agree with itself on them"
    return replace(proof, notes=(*proof.notes, note))


def _steady(job: Job, samples: Samples, error: RefusedError) -> list[int] | None:
    """Return the rows of samples that count, and say in the refusal when the one that failed does not."""
    from edgeops.convert.reference import otherwise, reference
    from edgeops.convert.steady import steady, unsteadiness

    source = reference(job.source, job.converter)
    found = unsteadiness(source, otherwise(job.source), samples, job.tolerance)
    differs = error.result["differs"]
    much = found[min(differs["sample"], len(found) - 1)]
    if differs["count"] == samples.count and much > 1:
        error.why += f"; the source differs from itself there, by {much:.1f} times what is allowed"
    return steady(found)


def _garbage(job: Job, why: str) -> RefusedError:
    return RefusedError(
        "convert-garbage",
        f"the converter for {job.converter.name} says it is done, but made something else",
        where=job.converter.name,
        why=why,
        fix="use another engine or route; edgeops check MODEL --all shows which take the model",
    )


def _listed(tensors: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in tensors) or "nothing"
