"""What runs in the contained process: prepare, convert, load, prove."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.convert import proof
from edgeops.convert import samples as sample_files
from edgeops.core import registry
from edgeops.core.contracts import ConvertOptions
from edgeops.core.variant import entries, write_variant
from edgeops.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Samples, Session
    from edgeops.core.variant import Parity, Variant
    from edgeops.model.load import LoadedModel


def work(request: Mapping[str, Any]) -> dict[str, Any]:
    """Convert ``request["model"]`` into the folder ``request["out"]`` and prove it equal.

    The request holds ``model``, ``digest``, ``out``, ``engine``, ``precision``, ``input_shapes``,
    ``simplify``, ``form``, ``opset``, ``samples`` (an .npz or None) and ``data`` (its name).
    Returns ``{"variant", "notes"}``; raises RefusedError or InputError.
    """
    from edgeops.model.load import load_model
    from edgeops.model.prepare import prepare

    model = load_model(Path(request["model"]))
    if model.digest != request["digest"]:
        raise InputError(
            "model-changed",
            f"{model.path.name} changed while it was being converted",
            where=str(model.path),
            why="something else is writing the file",
            fix="wait until it is written, then convert it again",
        )
    shapes = {name: tuple(sizes) for name, sizes in request["input_shapes"].items()}
    prepared = prepare(
        model.proto, opset=request["opset"], input_shapes=shapes, simplify=request["simplify"]
    )
    options = ConvertOptions(
        request["precision"], shapes, simplify=request["simplify"], form=request["form"]
    )
    out = Path(request["out"])
    made: Variant = registry.get("converters", request["engine"]).convert(
        prepared.proto, out, options
    )
    variant = replace(made, source=model.digest, files=entries(out))
    write_variant(out, variant)
    parity = _prove(model, out, variant, request)
    variant = replace(variant, parity=parity)
    write_variant(out, variant)
    return {"variant": variant.to_json(), "notes": list(prepared.notes)}


def _prove(model: LoadedModel, out: Path, variant: Variant, request: Mapping[str, Any]) -> Parity:
    from edgeops.runtime.batch import run_batched
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession
    from edgeops.runtime.session import load_session

    reference = OnnxRuntimeSession(
        model.proto.SerializeToString(), where=f"the source model {model.path.name}"
    )
    converted = load_session(out)
    samples = _samples(request, converted)
    samples = sample_files.affordable(samples, reference)
    expected = run_batched(reference, samples)
    found = run_batched(converted, samples)
    precision = request["precision"]
    parts = proof.each_output(expected, found, precision)
    parity = proof.summary(parts, samples.source, samples.count)
    if not parity.passed:
        raise proof.refusal(parts, parity, _locate(model, out, variant, samples, reference))
    return parity


def _samples(request: Mapping[str, Any], session: Session) -> Samples:
    if request["samples"]:
        return sample_files.read(Path(request["samples"]), request["data"])
    return sample_files.synthetic(session)


def _locate(
    model: LoadedModel, out: Path, variant: Variant, samples: Samples, reference: Session
) -> str:
    import onnx

    from edgeops.convert.locate import first_difference
    from edgeops.runtime.batch import feeds

    if not variant.model_file.endswith(".onnx"):
        return ""
    feed, _ = next(feeds(samples, reference.inputs, 1))
    converted = onnx.load_model(out / variant.model_file)
    return first_difference(model.proto, converted, feed, variant.precision)


def failure(error: RefusedError | InputError | Any) -> dict[str, Any]:
    """Return a refusal as what goes back to the parent process."""
    return {
        "kind": type(error).__name__,
        "code": error.code,
        "what": error.what,
        "where": error.where,
        "why": error.why,
        "fix": error.fix,
        "findings": [asdict(finding) for finding in error.findings],
        "result": error.result,
    }
