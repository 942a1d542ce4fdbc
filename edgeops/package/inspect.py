"""What is inside a bundle, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.package.bundle import open_bundle
from edgeops.package.chain import read_variants
from edgeops.package.index import read_targets

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.manifest import Manifest


def inspect_bundle(path: Path) -> dict[str, Any]:
    """Return what is inside a bundle, as JSON; raises what :func:`open_bundle` raises."""
    with open_bundle(path) as bundle:
        variants, needs = read_variants(bundle), read_targets(bundle)
        first = next(iter(variants.values()), None)
        return {
            "format": "edgeops bundle",
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "digest": bundle.digest,
            "bytes": bundle.size,
            "signed": bundle.signature_descriptor is not None,
            "inputs": [item.to_json() for item in first.inputs] if first else [],
            "outputs": [item.to_json() for item in first.outputs] if first else [],
            "targets": {
                name: {
                    "engine": item.engine,
                    "engine_version": item.engine_version,
                    "precision": item.precision,
                    "digest": item.digest,
                    "bytes": item.bytes,
                    "needs": needs[name].to_json() if name in needs else None,
                }
                for name, item in variants.items()
            },
            "layers": layers_json(bundle.manifest),
        }


def layers_json(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the files of a bundle as they stand in results: path, kind, target, bytes, digest."""
    return [
        {
            "path": item.path,
            "kind": item.kind,
            "target": item.target,
            "bytes": item.blob.size,
            "digest": item.blob.digest,
            "sealed": item.seal is not None,
        }
        for item in manifest.layers
    ]
