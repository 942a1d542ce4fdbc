"""Verify a bundle: digests, signature, and that its evidence is about what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.core.manifest import malformed
from edgeops.errors import InputError
from edgeops.package.bundle import Bundle, open_bundle
from edgeops.package.chain import (
    check_documents,
    check_links,
    gates_json,
    read_evidence,
    read_variants,
    verdict_of,
)
from edgeops.package.fits import FITTED, check_documents_fit
from edgeops.package.include import COMPILED, compiled_from
from edgeops.package.index import asked, check_targets, needs_of, read_targets
from edgeops.package.opset import onnx_opset
from edgeops.package.signature import read_public_keys, signer_of, verify_signature

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from edgeops.core.evidence import Evidence
    from edgeops.core.variant import Variant
    from edgeops.runtime.rules import Rules

_MAX_DOCUMENT = 16 << 20


def verify_bundle(path: Path, key: Path | None = None) -> dict[str, Any]:
    """Verify a bundle whole, with ``key`` also who signed it; what the gates said is in the result.

    Raises InputError ``bundle-missing``, ``not-a-bundle``, ``public-key-missing`` or
    ``public-key-malformed``; TrustError for everything that does not hold.
    """
    keys = read_public_keys(key) if key else None
    with open_bundle(path) as bundle:
        result = checked(bundle)
        result["signed_by"] = verify_signature(bundle, keys) if keys is not None else None
        result["signature"] = signer_of(bundle)
    return {"verified": True, "bundle": str(path), **result}


def checked(bundle: Bundle) -> dict[str, Any]:
    """Return what the evidence of an open bundle says, after checking its whole chain."""
    variants = read_variants(bundle)
    evidence = read_evidence(bundle)
    check_links(variants, evidence, bundle.where)
    compiled = [layer for layer in bundle.manifest.layers if layer.path.endswith(".json")]
    documents = {item.kind: item.content.digest for item in compiled if item.kind in COMPILED}
    check_documents(evidence, documents, variants, bundle.where)
    _check_index(bundle, variants, evidence)
    return {
        "digest": bundle.digest,
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "targets": list(bundle.manifest.targets),
        "sealed": [item.path for item in bundle.manifest.sealed],
        "gates": gates_json(evidence),
        "verdict": verdict_of(bundle.manifest.targets, evidence),
    }


def _check_index(
    bundle: Bundle, variants: Mapping[str, Variant], evidence: Mapping[str, Evidence]
) -> None:
    """Make targets.json and the compiled documents again, and compare.

    What is sealed cannot be read: then the index is taken as it stands in what depends on it.
    """
    stated, rules = read_targets(bundle), _check_compiled(bundle)
    opsets = {}
    for target, variant in variants.items():
        layer = bundle.manifest.find(f"variants/{target}/{variant.model_file}")
        opset = stated[target].opset if target in stated else None
        if variant.model_file.endswith(".onnx") and layer is not None and layer.seal is None:
            opset = onnx_opset(*bundle.place(layer.blob))
        opsets.update({target: opset} if opset is not None else {})
    unread = any(layer.seal is not None for layer in bundle.manifest.of(kind="rules"))
    used = {name for needs in stated.values() for name in needs.uses} if unread else asked(rules)
    wheels: dict[str, list[str]] = {}
    for layer in bundle.manifest.of(kind="runtime"):
        if layer.target is not None:
            wheels.setdefault(layer.target, []).append(layer.path.rpartition("/")[2])
    made = needs_of(variants, evidence, opsets=opsets, wheels=wheels, asked=used)
    check_targets(bundle, stated, made)
    _check_fits(bundle, variants, used)


def _check_fits(bundle: Bundle, variants: Mapping[str, Variant], used: Collection[str]) -> None:
    """Refuse a bundle whose features or rules a device would refuse with its models."""
    absent = sorted(set(used) - set(variants))
    if absent:
        raise malformed(bundle.where, f"its rules ask the target {absent[0]}, which it has not")
    layers = [item for kind in FITTED for item in bundle.manifest.of(kind=kind) if not item.seal]
    # What people wrote goes last, and is taken: it has lines that a fault can be told by.
    layers.sort(key=lambda item: not item.path.endswith(".json"))
    files = {item.path: bundle.read(item.blob, _MAX_DOCUMENT) for item in layers}
    try:
        check_documents_fit(files, variants, used)
    except InputError as error:
        raise malformed(bundle.where, f"{error.what}: {error.why}") from error


def _check_compiled(bundle: Bundle) -> Rules | None:
    """Compile features and rules again and compare; return the rules.

    Raises TrustError ``bundle-malformed`` when a device would read another document than the one
    that people see.
    """
    rules = None
    for kind in COMPILED:
        layers = [item for item in bundle.manifest.of(kind=kind) if item.seal is None]
        sources = [item for item in layers if not item.path.endswith(".json")]
        found = {item.path: bundle.read(item.blob, _MAX_DOCUMENT) for item in layers}
        try:
            parts, read = compiled_from({item.path: found[item.path] for item in sources or layers})
        except InputError as error:
            raise malformed(bundle.where, f"{error.what}: {error.why}") from error
        rules = read or rules
        for part in parts:
            if found.get(part.path) != part.source:
                why = f"{part.path} is not what the bundle's own {kind} compile to"
                raise malformed(bundle.where, why)
    return rules
