"""The manifest of a bundle as a value: which file is which blob, of what kind, for which target.

The manifest is an OCI image manifest with the media types of the CNCF ModelPack specification. Its
sha256 is the name of the bundle. Packing writes it, publishing and devices read it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import PREFIX, digest, sha256_bytes
from edgeops.core.files import canonical_json
from edgeops.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILE = "bundle.json"
FORMAT = "edgeops.bundle/1"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
PATH = "org.cncf.model.filepath"
KIND = "dev.edgeops.kind"
TARGET = "dev.edgeops.target"
SEALED = "dev.edgeops.sealed"
SEALED_FORMAT = "edgeops.sealed/1"
SEALED_PIECE = 1 << 20  # bytes of plaintext in all pieces of a sealed file but the last
SEALED_TAG = 16  # what each piece is longer by when it is sealed
BUNDLE_FORMAT = "dev.edgeops.format"
TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
INDEX = "targets.json"  # what each target needs of a device (core.targets)
SEALED_KEYS = "sealed.json"  # the key of the sealed files, for each recipient (runtime.sealed)
KINDS = (
    "index",
    "variant",
    "features",
    "rules",
    "labels",
    "baseline",
    "code",
    "runtime",
    "doc",
    "evidence",
    "sbom",
    "card",
)
MAX_LAYERS = 10_000
_HEX = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_NONCE = re.compile(r"[0-9a-f]{32}")
# Where files of a kind lie that belong to a target.
_FOLDERS = {"variant": "variants", "runtime": "runtime", "code": "code"}


@dataclass(frozen=True)
class Descriptor:
    """A blob: its media type, its digest ``sha256:<hex>`` and its size in bytes."""

    media_type: str
    digest: str
    size: int

    @property
    def hex(self) -> str:
        """The 64 hex characters of the digest."""
        return self.digest.removeprefix(PREFIX)

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as OCI writes it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Seal:
    """What a sealed file is when it is opened: digest and size, and the salt of its key."""

    plain: str
    size: int
    nonce: str

    def encode(self) -> str:
        """Return the value of the annotation: canonical JSON in one line."""
        document = {
            "format": SEALED_FORMAT,
            "nonce": self.nonce,
            "plain": self.plain,
            "size": self.size,
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Layer:
    """A file of a bundle: a blob, the path it appears under, its kind and, if any, its target.

    The blob of a sealed file is its ciphertext, and ``seal`` says what is in it.
    """

    blob: Descriptor
    path: str
    kind: str
    target: str | None = None
    seal: Seal | None = None

    @property
    def content(self) -> Descriptor:
        """What the file is when it is used: the blob, or what a sealed one opens to."""
        if self.seal is None:
            return self.blob
        return Descriptor(self.blob.media_type, self.seal.plain, self.seal.size)

    def to_json(self) -> dict[str, Any]:
        """Return the layer as it stands in the manifest."""
        annotations = {PATH: self.path, KIND: self.kind}
        if self.target is not None:
            annotations[TARGET] = self.target
        if self.seal is not None:
            annotations[SEALED] = self.seal.encode()
        return {**self.blob.to_json(), "annotations": annotations}


@dataclass(frozen=True)
class Manifest:
    """A bundle's manifest; ``layers`` are sorted by path."""

    name: str
    version: str
    config: Descriptor
    layers: tuple[Layer, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that the bundle has a variant for, sorted."""
        return tuple(
            sorted({item.target for item in self.layers if item.kind == "variant" and item.target})
        )

    @property
    def sealed(self) -> tuple[Layer, ...]:
        """The sealed files."""
        return tuple(item for item in self.layers if item.seal is not None)

    def find(self, path: str) -> Layer | None:
        """Return the file at a path, None when there is none."""
        return next((item for item in self.layers if item.path == path), None)

    def of(self, *, kind: str | None = None, target: str | None = None) -> tuple[Layer, ...]:
        """Return the layers of a kind, of a target, or of both."""
        return tuple(
            item
            for item in self.layers
            if kind in (None, item.kind) and target in (None, item.target)
        )

    def encode(self) -> bytes:
        """Return the bytes of the manifest, which are the same for the same manifest."""
        return canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": ARTIFACT_TYPE,
                "config": self.config.to_json(),
                "layers": [item.to_json() for item in self.layers],
                "annotations": {
                    BUNDLE_FORMAT: FORMAT,
                    TITLE: self.name,
                    VERSION: self.version,
                },
            }
        )

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the manifest itself; its digest names the bundle."""
        data = self.encode()
        return Descriptor(MANIFEST_TYPE, digest(sha256_bytes(data)), len(data))


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Return the manifest in ``data``, which must be exactly as :meth:`Manifest.encode` writes it.

    Raises TrustError ``bundle-malformed`` for anything else, ``bundle-path-outside`` for a file
    path that leads out of the bundle.
    """
    try:
        document = json.loads(data)
        annotations = document["annotations"]
        if annotations[BUNDLE_FORMAT] != FORMAT:
            message = f"format is {annotations[BUNDLE_FORMAT]!r}, this edgeops reads {FORMAT!r}"
            raise ValueError(message)
        layers = tuple(_layer(item) for item in document["layers"])
        manifest = Manifest(
            annotations[TITLE], annotations[VERSION], parse_descriptor(document["config"]), layers
        )
        if manifest.encode() != data:
            message = "it is not written in the one form that this format has"
            raise ValueError(message)
        _check_paths(layers)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise malformed(where, f"{type(error).__name__}: {error}") from error
    for item in layers:
        if not _safe(item.path):
            raise TrustError(
                "bundle-path-outside",
                f"a file of the bundle leads outside it: {item.path!r}",
                where=where,
                why="a bundle may only hold relative paths without '..'",
                fix="do not use this bundle: it was not made by edgeops pack",
            )
    return manifest


def parse_descriptor(document: Mapping[str, Any]) -> Descriptor:
    """Return a descriptor; raises KeyError, TypeError or ValueError."""
    media_type, name, size = document["mediaType"], document["digest"], document["size"]
    if not isinstance(media_type, str) or not isinstance(name, str) or type(size) is not int:
        message = "a descriptor has a media type, a digest and a size"
        raise TypeError(message)
    if not _HEX.fullmatch(name) or size < 0:
        message = f"{name!r} with {size} bytes is no sha256 of a blob"
        raise ValueError(message)
    return Descriptor(media_type, name, size)


def malformed(where: str, why: str) -> TrustError:
    """Return the error for a bundle whose parts do not fit together."""
    return TrustError(
        "bundle-malformed",
        "the bundle was changed or was not made by edgeops pack",
        where=where,
        why=why,
        fix="take the bundle again from where it came, or pack it again",
    )


def valid_name(text: str) -> bool:
    """Return whether ``text`` can name a project, version, channel or target in a path."""
    return bool(_NAME.fullmatch(text)) and ".." not in text


def _layer(item: Mapping[str, Any]) -> Layer:
    annotations = item["annotations"]
    path, kind, target = annotations[PATH], annotations[KIND], annotations.get(TARGET)
    if not isinstance(path, str) or kind not in KINDS:
        message = f"{path!r} is of no known kind: {kind!r}"
        raise ValueError(message)
    if target is not None and not valid_name(target):
        message = f"{target!r} cannot name a target"
        raise ValueError(message)
    if not _in_place(path, kind, target):
        message = f"{path!r} is not where a {kind} of {target!r} lies"
        raise ValueError(message)
    blob = parse_descriptor(item)
    return Layer(blob, path, kind, target, _seal(annotations.get(SEALED), blob))


def _in_place(path: str, kind: str, target: str | None) -> bool:
    """Return whether a file of a kind and target may lie at ``path``: nothing poses as another."""
    if (kind == "index") != (path in (INDEX, SEALED_KEYS)):
        return False
    if (kind == "baseline") != path.startswith("baseline/"):
        return False
    if target is None:
        return kind not in ("variant", "baseline") and not path.startswith("variants/")
    if kind == "baseline":
        return path == baseline_path(target)
    if kind == "evidence":
        return path == f"evidence/{target}.json"
    return kind in _FOLDERS and path.startswith(f"{_FOLDERS[kind]}/{target}/")


def _seal(text: Any, blob: Descriptor) -> Seal | None:
    if text is None:
        return None
    document = json.loads(text)
    seal = Seal(document["plain"], document["size"], document["nonce"])
    plain = parse_descriptor({"mediaType": "", "digest": seal.plain, "size": seal.size})
    if not _NONCE.fullmatch(seal.nonce) or seal.encode() != text:
        message = f"{text!r} does not say how a file is sealed"
        raise ValueError(message)
    if blob.size != sealed_size(plain.size):
        message = f"{plain.size} bytes are not sealed as {blob.size}"
        raise ValueError(message)
    return seal


def baseline_path(target: str) -> str:
    """Return where in a bundle the baseline of a target lies."""
    return f"baseline/{target}.zip"


def sealed_size(size: int) -> int:
    """Return how many bytes a file of ``size`` bytes has when it is sealed."""
    pieces = max(1, -(-size // SEALED_PIECE))
    return size + pieces * SEALED_TAG


def _check_paths(layers: Sequence[Layer]) -> None:
    paths = [item.path for item in layers]
    if len(paths) > MAX_LAYERS:
        message = f"{len(paths)} files are more than the {MAX_LAYERS} a bundle may have"
        raise ValueError(message)
    if paths != sorted(set(paths)):
        message = "its files are not sorted by path, or one stands there twice"
        raise ValueError(message)
    taken = {path.casefold() for path in paths}
    if len(taken) != len(paths) or FILE in taken:
        message = "two of its files would lie at the same place"
        raise ValueError(message)
    for path in paths:
        if any(parent.as_posix().casefold() in taken for parent in PurePosixPath(path).parents):
            message = f"{path!r} lies below another file"
            raise ValueError(message)


def _safe(path: str) -> bool:
    parts = path.split("/")
    return (
        bool(path)
        and path.isprintable()
        and not any(character in path for character in "\\:\0")
        and all(part not in ("", ".", "..") for part in parts)
    )
