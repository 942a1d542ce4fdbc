"""Verify a bundle: digests, signature, and that its evidence is about what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.package.bundle import Bundle, open_bundle
from edgeops.package.chain import (
    check_links,
    gates_json,
    read_evidence,
    read_variants,
    verdict_of,
)
from edgeops.package.signature import read_public_keys, signer_of, verify_signature

if TYPE_CHECKING:
    from pathlib import Path


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
    return {
        "digest": bundle.digest,
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "targets": list(bundle.manifest.targets),
        "gates": gates_json(evidence),
        "verdict": verdict_of(bundle.manifest.targets, evidence),
    }
