"""Unpacked bundles with features and rules, written by hand."""

from __future__ import annotations

from dataclasses import replace

from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import canonical_json
from edgeops.core.manifest import FILE, Descriptor, Layer, parse_manifest

DOUBLED = {
    "format": "edgeops.features/1",
    "inputs": {
        "row": {
            "kind": "tensor",
            "dtype": "float32",
            "shape": [4],
            "steps": [{"normalize": {"scale": 2.0}}],
        }
    },
    "outputs": {"x": {"from": "row"}},
}
TOP = {
    "format": "edgeops.rules/1",
    "steps": [{"name": "top", "kind": "classification"}],
    "rules": [{"answer": {"label": "top[0].label", "score": "top[0].score"}}],
    "fallback": {"label": "unknown", "score": 0},
}


def add_documents(folder, **documents):
    """Add compiled documents (``features``, ``rules``) to an unpacked bundle and its manifest."""
    manifest = parse_manifest((folder / FILE).read_bytes(), FILE)
    layers = {layer.path: layer for layer in manifest.layers}
    for kind, document in documents.items():
        data = canonical_json(document)
        path = f"{kind}.json"
        (folder / path).write_bytes(data)
        blob = Descriptor("application/json", digest(sha256_bytes(data)), len(data))
        layers[path] = Layer(blob, path, kind)
    changed = replace(manifest, layers=tuple(layers[path] for path in sorted(layers)))
    (folder / FILE).write_bytes(changed.encode())
    return folder
