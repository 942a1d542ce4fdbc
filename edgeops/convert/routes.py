"""Which converter writes an engine's files, where there are several, and what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core import registry
from edgeops.errors import Finding, MissingError, RefusedError, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import Converter
    from edgeops.errors import EdgeopsError

ONNX = "onnx"
KINDS = {
    "onnx": "an ONNX model",
    "tflite": "a TensorFlow Lite model",
    "pt2": "a torch.export program",
}


def route(engine: str, via: str = "") -> Converter:
    """Return the converter for ``engine``: the one called ``via``, else the engine's own.

    Raises MissingError ``plugin-unknown`` or ``plugin-broken``, UsageProblem ``route-unknown``
    when ``via`` writes no files of this engine.
    """
    known = registry.names("converters")
    if not via:
        others = () if engine in known else routes(engine)
        return _get(others[0] if others else engine)
    if via in known:
        converter = _get(via)
        if engine_of(converter) == engine:
            return converter
    there = routes(engine)
    if not there:
        return _get(engine)
    raise UsageProblem(
        "route-unknown",
        f"{via!r} is no way to convert for {engine}",
        where="via",
        why=f"ways to {engine}: {', '.join(there)}",
        fix=f"use one of: {', '.join(there)}; edgeops plugins lists all converters",
    )


def routes(engine: str) -> tuple[str, ...]:
    """Return the names of all converters for ``engine`` that load, its own first."""
    found = [
        plugin.name
        for plugin in registry.registered("converters")
        if plugin.value is not None and engine_of(plugin.value) == engine
    ]
    return tuple(sorted(found, key=lambda name: name != engine))


def engine_of(converter: Converter) -> str:
    """Return the engine whose files the converter writes."""
    return getattr(converter, "engine", "") or converter.name


def sources_of(converter: Converter) -> tuple[str, ...]:
    """Return the kinds of model file that the converter takes."""
    return tuple(getattr(converter, "sources", (ONNX,)))


def forms_of(converter: Converter) -> tuple[str, ...]:
    """Return the file formats of the converter's engine, the default first."""
    return tuple(getattr(converter, "forms", ()))


def unproven_of(converter: Converter) -> str:
    """Return why the converter's variants cannot be run here, "" when they can."""
    return str(getattr(converter, "unproven", "") or "")


def form_for(converter: Converter, form: str) -> str:
    """Return the file format to make; raises UsageProblem ``form-unknown``."""
    forms = forms_of(converter)
    if form in forms or (not form and not forms):
        return form
    if not form:
        return forms[0]
    engine = engine_of(converter)
    raise UsageProblem(
        "form-unknown",
        f"{form!r} is no file format of {engine}",
        where="form",
        why=f"{engine} has {', '.join(forms)}" if forms else f"{engine} has only one",
        fix=f"use one of: {', '.join(forms)}" if forms else "leave it out",
    )


def own_form(converter: Converter, form: str) -> str:
    """Return ``form`` where the converter's engine has it, "" where that is another engine's."""
    return form if form in forms_of(converter) else ""


def known_forms() -> tuple[str, ...]:
    """Return the file formats of all engines that have several."""
    plugins = registry.registered("converters")
    found = [forms_of(plugin.value) for plugin in plugins if plugin.value is not None]
    return tuple(dict.fromkeys(form for forms in found for form in forms))


def precision_misfits(
    converter: Converter, precision: str, also: Sequence[str] = ()
) -> list[Finding]:
    """Return a finding for a precision that the converter does not make, nor one of ``also``."""
    allowed = (*converter.precisions, *also)
    if precision in allowed:
        return []
    int8 = precision == "int8"
    return [
        Finding(
            "precision-unsupported",
            f"convert for {engine_of(converter)} does not make {precision}",
            where=engine_of(converter),
            why=f"it makes {', '.join(converter.precisions)}",
            fix="make it with edgeops quantize" if int8 else f"use one of: {', '.join(allowed)}",
            details={"node": "", "op": "", "alternatives": list(allowed)},
        )
    ]


def wrong_kind(converter: Converter, kind: str, model: Path) -> EdgeopsError:
    """Return the error for a model file that the converter does not take.

    RefusedError ``source-unsupported``; where all that take its kind are missing here,
    MissingError with what would make the first of them work.
    """
    engine = engine_of(converter)
    takers = [
        plugin.value
        for plugin in registry.registered("converters")
        if plugin.value is not None and kind in sources_of(plugin.value)
    ]
    lacking = [(other, other.available()) for other in takers]
    here = sorted({engine_of(other) for other, missing in lacking if missing is None})
    if takers and not here:
        other, missing = lacking[0]
        return MissingError(
            missing.code,
            f"{model.name} is {KINDS.get(kind, kind)}: {engine_of(other)} takes it, "
            "which is not here",
            where=missing.where,
            why=missing.why,
            fix=missing.fix,
        )
    return RefusedError(
        "source-unsupported",
        f"{model.name} is {KINDS.get(kind, kind)}, which {engine} is not made from",
        where=str(model),
        why=f"{engine} is made from {', '.join(sources_of(converter))}",
        fix=f"convert it --to {' or '.join(here)}" if here else "export the model as ONNX",
    )


def _get(name: str) -> Converter:
    converter: Converter = registry.get("converters", name)
    return converter
