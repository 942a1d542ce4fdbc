"""What stands around the manifest in a bundle: media types, config, index, and kinds by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeops.core.files import canonical_json
from edgeops.core.manifest import (
    ARTIFACT_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    malformed,
    parse_descriptor,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.manifest import Layer
    from edgeops.core.variant import Variant

SUFFIX = ".edgeops"
LAYOUT = b'{"imageLayoutVersion": "1.0.0"}\n'
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
SIGNATURE_TYPE = "application/vnd.edgeops.signature.v1+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
MAX_INDEX = 1 << 16
MAX_MANIFEST = 8 << 20

# CNCF ModelPack model-spec, media types of layers; raw, so that weights can be mapped and patched.
_WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
_CODE = "application/vnd.cncf.model.code.v1.raw"
_DATASET = "application/vnd.cncf.model.dataset.v1.raw"
_DOC = "application/vnd.cncf.model.doc.v1.raw"
_MEDIA = {
    "index": _CONFIG,
    "variant": _WEIGHT,
    "features": _CONFIG,
    "rules": _CONFIG,
    "labels": _CONFIG,
    "baseline": _DATASET,
    "code": _CODE,
    "runtime": _CODE,
    "doc": _DOC,
    "evidence": _DOC,
    "sbom": _DOC,
    "card": _DOC,
}
_BY_NAME = {
    "features.yaml": "features",
    "features.yml": "features",
    "features.json": "features",
    "rules.yaml": "rules",
    "rules.yml": "rules",
    "rules.json": "rules",
    "labels.txt": "labels",
    "labels.json": "labels",
}
_DOCUMENTS = (".md", ".txt", ".rst", ".html", ".pdf", ".svg", ".png", ".jpg")


@dataclass(frozen=True)
class Part:
    """A file on its way into a bundle: ``source`` is a file or the bytes themselves.

    ``sha256`` is what it must be, as hex characters, "" where nothing says so.
    """

    path: str
    kind: str
    source: Path | bytes
    target: str | None = None
    sha256: str = ""


def kind_of(name: str) -> str:
    """Return the kind of an included file by its name: what is no known one is code or a doc."""
    pure = PurePosixPath(name)
    if pure.name in _BY_NAME:
        return _BY_NAME[pure.name]
    return "doc" if pure.suffix.lower() in _DOCUMENTS else "code"


def media_type(path: str, kind: str) -> str:
    """Return the ModelPack media type of a file."""
    if kind == "variant" and PurePosixPath(path).name == "variant.json":
        return _CONFIG
    return _MEDIA[kind]


def config(
    name: str, version: str, layers: Sequence[Layer], variants: Mapping[str, Variant]
) -> bytes:
    """Return the ModelPack config blob: descriptor, modelfs, config."""
    formats = sorted({PurePosixPath(item.model_file).suffix[1:] for item in variants.values()})
    precisions = sorted({item.precision for item in variants.values()})
    about = {"format": ",".join(formats), "precision": ",".join(precisions)}
    return canonical_json(
        {
            "descriptor": {"name": name, "version": version},
            "modelfs": {"type": "layers", "diffIds": [item.blob.digest for item in layers]},
            "config": {key: value for key, value in about.items() if value},
        }
    )


def index(manifest: Descriptor, signature: Descriptor | None) -> bytes:
    """Return index.json: the bundle's manifest first, then the manifest of its signature."""
    entries = [{**manifest.to_json(), "artifactType": ARTIFACT_TYPE}]
    if signature is not None:
        entries.append({**signature.to_json(), "artifactType": SIGNATURE_TYPE})
    return canonical_json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries})


def parse_index(data: bytes, where: str) -> tuple[Descriptor, Descriptor | None]:
    """Return the descriptors of the manifest and, if there is one, of the signature's manifest."""
    try:
        first, *rest = (parse_descriptor(item) for item in json.loads(data)["manifests"])
        signature = rest[0] if rest else None
        known = first.media_type == MANIFEST_TYPE == (signature or first).media_type
        if not known or index(first, signature) != data:
            message = "index.json is not written in the one form that this format has"
            raise ValueError(message)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise malformed(where, f"index.json: {error}") from error
    return first, signature


def signature_manifest(subject: Descriptor, empty: Descriptor, envelope: Descriptor) -> bytes:
    """Return the OCI manifest that ties a signature envelope to the bundle's manifest."""
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": SIGNATURE_TYPE,
            "config": empty.to_json(),
            "layers": [envelope.to_json()],
            "subject": subject.to_json(),
        }
    )


def parse_signature_manifest(data: bytes, subject: Descriptor, where: str) -> Descriptor:
    """Return the descriptor of the signature envelope over ``subject``."""
    try:
        document: dict[str, Any] = json.loads(data)
        empty = parse_descriptor(document["config"])
        envelope = parse_descriptor(document["layers"][0])
        if signature_manifest(subject, empty, envelope) != data:
            message = "it signs another manifest, or is not written in its one form"
            raise ValueError(message)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise malformed(where, f"the signature's manifest: {error}") from error
    return envelope
