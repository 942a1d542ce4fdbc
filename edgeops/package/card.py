"""The model card: what is in a bundle and what was measured of it, for people.

Everything in it comes from variants and evidence, so it is the same for the same content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeops.core.evidence import Evidence
    from edgeops.core.gates import Figure, Verdict
    from edgeops.core.variant import TensorInfo, Variant


def card(
    name: str,
    version: str,
    variants: Mapping[str, Variant],
    evidence: Mapping[str, Evidence],
    labels: tuple[str, ...] = (),
    accept: str = "",
) -> bytes:
    """Return the card of a bundle as Markdown; ``accept`` is why unproven variants are in it."""
    sources = sorted({item.source for item in variants.values()})
    lines = [f"# {name} {version}", ""]
    lines += [f"Made from the model `{source}`." for source in sources]
    lines.append("")
    for target, variant in sorted(variants.items()):
        lines += [f"## {target}", "", *_variant(variant), *_unproven(variant, accept), ""]
        measured = evidence.get(target)
        lines += _evidence(measured) if measured else ["Nothing was measured for this target."]
        lines.append("")
    if labels:
        lines += ["## Labels", "", ", ".join(f"`{_cell(label)}`" for label in labels), ""]
    return ("\n".join(lines).rstrip() + "\n").encode()


def _variant(variant: Variant) -> Iterator[str]:
    yield f"* engine {variant.engine} {variant.engine_version}, precision {variant.precision}"
    yield f"* {variant.bytes} bytes, `{variant.digest}`"
    for side, tensors in (("input", variant.inputs), ("output", variant.outputs)):
        for tensor in tensors:
            yield f"* {side} {_tensor(tensor)}"
    if variant.parity:
        parity = variant.parity
        yield (
            f"* compared with its source on {parity.samples} samples of {_cell(parity.data)}: "
            f"largest difference {parity.max_abs:.3g}, cosine {parity.cosine:.6f}"
        )


def _unproven(variant: Variant, accept: str) -> Iterator[str]:
    if reason := variant.extra.get("unproven"):
        yield f"* **never compared with its source**: {_cell(reason)}"
        yield f"* accepted all the same: {_cell(accept)}"


def _evidence(evidence: Evidence) -> Iterator[str]:
    device = evidence.device.get("name") or evidence.device.get("machine") or "an unnamed device"
    yield (
        f"Measured on {_cell(str(device))} with {evidence.engine} {evidence.engine_version}, "
        f"{evidence.threads} thread{'s' if evidence.threads != 1 else ''}, {evidence.date}."
    )
    for role, about in sorted(evidence.data.items()):
        yield f"Data for {role}: {_cell(str(about.get('source', '')))}, `{about.get('digest', '')}`."
    yield ""
    yield "| figure | value | 95 % interval | samples |"
    yield "|---|---|---|---|"
    for name, figure in sorted(evidence.figures.items()):
        yield f"| {name} | {_value(figure)} | {_interval(figure.interval)} | {figure.samples or ''} |"
    if evidence.gates:
        yield ""
        yield "| gate | bound | value | verdict |"
        yield "|---|---|---|---|"
        for gate in evidence.gates:
            yield f"| {gate.name} | {gate.bound} | {_number(gate)} | {gate.verdict} |"
    for note in evidence.notes:
        yield ""
        yield f"> {_cell(note)}"


def _tensor(tensor: TensorInfo) -> str:
    shape = ", ".join(str(size) for size in tensor.shape)
    return f"`{_cell(tensor.name)}`: {tensor.dtype} [{shape}]"


def _value(figure: Figure) -> str:
    if figure.value is None:
        return f"not measured: {_cell(figure.absent)}"
    return f"{figure.value:.6g} {figure.unit}".strip()


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.6g} to {interval[1]:.6g}" if interval else ""


def _number(gate: Verdict) -> str:
    return "" if gate.value is None else f"{gate.value:.6g}"


def _cell(text: Any) -> str:
    return " ".join(str(text).replace("|", "\\|").split())
