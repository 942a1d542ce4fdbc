"""The chain from a shipped file to what was measured of it.

For each target: every file of variant.json is a file of the bundle and the other way round; the
evidence measured exactly this variant, made from exactly this source; each verdict in it follows
from the figures in it. What decides works on values; what reads only reads.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeops.core.evidence import parse_evidence
from edgeops.core.gates import judge, overall
from edgeops.core.manifest import malformed
from edgeops.core.variant import FILE, parse_variant
from edgeops.errors import InputError, TrustError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.evidence import Evidence
    from edgeops.core.variant import Variant
    from edgeops.package.bundle import Bundle

_MAX_JSON = 16 << 20


def read_variants(bundle: Bundle) -> dict[str, Variant]:
    """Return the variants of a bundle by target, each one checked to describe the bundle's files.

    Raises TrustError ``bundle-malformed``.
    """
    found = {}
    for target in bundle.manifest.targets:
        folder = f"variants/{target}/"
        layers = bundle.manifest.of(kind="variant", target=target)
        files = {item.path.removeprefix(folder): item for item in layers}
        if FILE not in files:
            raise malformed(bundle.where, f"the variant of {target} has no {FILE}")
        try:
            variant = parse_variant(bundle.read(files.pop(FILE).blob, _MAX_JSON), folder + FILE)
        except InputError as error:
            raise malformed(bundle.where, f"{error.what}: {error.why}") from error
        described = {item.path: (item.sha256, item.bytes) for item in variant.files}
        if described != {
            path: (item.content.hex, item.content.size) for path, item in files.items()
        }:
            why = f"the files of {target} are not those that its {FILE} describes"
            raise malformed(bundle.where, why)
        if variant.model_file not in described:
            raise malformed(bundle.where, f"{target} has no file {variant.model_file!r} to load")
        found[target] = variant
    return found


def read_evidence(bundle: Bundle) -> dict[str, Evidence]:
    """Return the evidence in a bundle by target; raises TrustError ``bundle-malformed``."""
    found = {}
    for layer in bundle.manifest.of(kind="evidence"):
        if layer.target is None:
            raise malformed(bundle.where, f"{layer.path} is evidence of no target")
        try:
            found[layer.target] = parse_evidence(bundle.read(layer.blob, _MAX_JSON), layer.path)
        except InputError as error:
            raise malformed(bundle.where, f"{error.what}: {error.why}") from error
    return found


def broken_links(variants: Mapping[str, Variant], evidence: Mapping[str, Evidence]) -> list[str]:
    """Return every break in the chain between variants and evidence, as sentences; pure."""
    breaks = []
    for target, measured in evidence.items():
        variant = variants.get(target)
        if variant is None:
            breaks.append(f"there is evidence of {target}, but no variant")
            continue
        if measured.variant != variant.digest:
            breaks.append(
                f"the evidence of {target} measured {_short(measured.variant)}, "
                f"the variant is {_short(variant.digest)}"
            )
        if measured.target != target and measured.target in variants:
            breaks.append(f"the evidence of {target} was measured for {measured.target}")
        if measured.model != variant.source:
            breaks.append(
                f"the evidence of {target} is about the model {_short(measured.model)}, "
                f"the variant was made from {_short(variant.source)}"
            )
        breaks.extend(_wrong_verdicts(target, measured))
    return breaks


def check_links(
    variants: Mapping[str, Variant], evidence: Mapping[str, Evidence], where: str
) -> None:
    """Raise TrustError ``evidence-broken`` when the chain has a break."""
    breaks = broken_links(variants, evidence)
    if breaks:
        raise TrustError(
            "evidence-broken",
            "the evidence does not belong to what is packed with it",
            where=where,
            why="\n".join(breaks),
            fix="validate these variants and pack again: edgeops run",
        )


def check_documents(
    evidence: Mapping[str, Evidence],
    packed: Mapping[str, str],
    variants: Mapping[str, Variant],
    where: str,
) -> None:
    """Raise TrustError ``features-not-validated`` for evidence of other features or rules.

    ``packed`` are the digests of features.json and rules.json by kind. Evidence that went through
    none of a kind says nothing of it, and passes. Variants of other targets that its rules asked
    must be those of ``variants``.
    """
    wrong = []
    for target, measured in sorted(evidence.items()):
        for kind in ("features", "rules"):
            about = measured.extra.get(kind)
            found = about.get("digest") if isinstance(about, dict) else about
            if found is not None and found != packed.get(kind):
                there = _short(packed[kind]) if kind in packed else "none"
                wrong.append(
                    f"{target} was measured with the {kind} {_short(found)}, packed is {there}"
                )
        asked = measured.extra.get("models")
        for other, found in asked.items() if isinstance(asked, dict) else ():
            there = variants[other].digest if other in variants else "none"
            if found != there:
                wrong.append(
                    f"the rules of {target} asked {other} as {_short(found)}, packed is {_short(there)}"
                )
    if wrong:
        raise TrustError(
            "features-not-validated",
            "what is packed around the model is not what was validated",
            where=where,
            why="\n".join(wrong),
            fix="name the same features.yaml and rules.yaml under data, validate and include of "
            "pack, then validate again: edgeops run",
        )


def gates_json(evidence: Mapping[str, Evidence]) -> list[dict[str, Any]]:
    """Return all gates of all targets as they stand in results, each with its target."""
    return [
        {"target": target, **gate.to_json()}
        for target, measured in sorted(evidence.items())
        for gate in measured.gates
    ]


def verdict_of(targets: Sequence[str], evidence: Mapping[str, Evidence]) -> str:
    """Return pass, fail or inconclusive over all targets, ``absent`` when one has no gate."""
    gates = [gate for measured in evidence.values() for gate in measured.gates]
    word = overall(gates)
    ungated = not targets or any(
        target not in evidence or not evidence[target].gates for target in targets
    )
    return "absent" if word == "pass" and ungated else word


def _wrong_verdicts(target: str, measured: Evidence) -> list[str]:
    wrong = []
    digest = measured.digest if any(gate.digest for gate in measured.gates) else ""
    for gate in measured.gates:
        if gate.digest not in ("", digest):
            wrong.append(f"the gate {gate.name} of {target} was judged on other evidence")
        try:
            figure = measured.figures.get(gate.name)
            if figure is None:
                wrong.append(f"the gate {gate.name} of {target} is on a figure that is not there")
                continue
            again = judge(gate.name, gate.bound, figure)
        except (ValueError, TypeError) as error:
            wrong.append(f"the gate {gate.name} of {target} cannot be judged: {error}")
            continue
        recorded = (gate.bound, gate.value, gate.interval, gate.verdict)
        if recorded != (again.bound, again.value, again.interval, again.verdict):
            wrong.append(
                f"the gate {gate.name} of {target} says {gate.verdict} to {gate.value}, "
                f"the figures say {again.verdict} to {again.value}"
            )
    return wrong


def _short(name: Any) -> str:
    text = str(name)
    return text[:19] if text else json.dumps(text)
