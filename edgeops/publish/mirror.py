"""A bundle in an OCI registry: the same blobs and manifest, tagged by version and channel.

A mirror is for those who fetch bundles with the tools of registries. It has no signed metadata, so
it knows no shares, cohorts or withdrawals: devices update from a repository.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import canonical_json
from edgeops.core.manifest import MANIFEST_TYPE, Descriptor, parse_manifest
from edgeops.core.versions import older
from edgeops.errors import InputError, TransportError
from edgeops.publish.registry import INDEX_TYPE, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeops.core.events import Events
    from edgeops.core.manifest import Manifest

    Pieces = Callable[[Descriptor], Iterator[bytes]]


@dataclass(frozen=True)
class Mirrored:
    """A bundle to mirror: its manifest, what signs it (a manifest too), and the other blobs."""

    manifest: Manifest
    manifest_bytes: bytes
    signature_bytes: bytes | None
    signature_type: str
    blobs: Sequence[Descriptor]
    pieces: Pieces


def version_tag(version: str) -> str:
    """Return a version as a tag, which may hold no plus sign."""
    return version.replace("+", "_")


def signature_tag(digest: str) -> str:
    """Return the tag under which registries without a list of referrers are asked for them."""
    return digest.replace(":", "-")


def mirror(
    registry: Registry,
    bundle: Mirrored,
    channel: str,
    *,
    rollback: bool = False,
    rebuild: bool = False,
    events: Events,
) -> dict[str, Any]:
    """Put a bundle into a registry: blobs, manifest, signature, then the tags.

    Nobody who asks for a tag sees half a bundle. Raises InputError ``release-exists``,
    ``channel-taken`` or ``channel-backwards``, and what a registry raises.
    """
    about, name = bundle.manifest, bundle.manifest.descriptor.digest
    tag = version_tag(about.version)
    _check_version(registry.get_manifest(tag), bundle, str(registry.address), rebuild=rebuild)
    _check_channel(_manifest(registry, channel), about, channel, rollback=rollback)
    events.step("sending blobs that the registry lacks", total=len(bundle.blobs))
    for blob in bundle.blobs:
        registry.put_blob(blob, bundle.pieces)
        events.advance()
    if registry.get_manifest(name) is None:
        registry.put_manifest(name, bundle.manifest_bytes, MANIFEST_TYPE)
    if bundle.signature_bytes is not None:
        _put_signature(registry, name, bundle.signature_bytes, bundle.signature_type)
    for label in (tag, channel):
        if registry.get_manifest(label) != bundle.manifest_bytes:
            registry.put_manifest(label, bundle.manifest_bytes, MANIFEST_TYPE)
    return {
        "release": f"{registry.address}:{tag}",
        "channel": channel,
        "project": about.name,
        "version": about.version,
        "digest": name,
        "bytes_uploaded": registry.sent,
        "deltas": [],
        "notes": [],
    }


def read_mirrored(registry: Registry) -> tuple[Manifest, bytes]:
    """Return the bundle's manifest that the address names; raises TransportError ``store-missing``."""
    reference = registry.address.reference or "latest"
    data = registry.get_manifest(reference)
    if data is None:
        raise TransportError(
            "store-missing",
            f"the registry has no {reference} of {registry.address.name}",
            where=str(registry.address),
            why="nothing is tagged so",
            fix="name a version or channel that was published: oci://host/name:stable",
        )
    return parse_manifest(data, f"{registry.address}:{reference}"), data


def _put_signature(registry: Registry, subject: str, data: bytes, kind: str) -> None:
    found = Descriptor(MANIFEST_TYPE, digest(sha256_bytes(data)), len(data))
    listed = False
    if registry.get_manifest(found.digest) is None:
        listed = registry.put_manifest(found.digest, data, MANIFEST_TYPE)
    tag = signature_tag(subject)
    before = _referrers(registry.get_manifest(tag, INDEX_TYPE))
    entry = {**found.to_json(), "artifactType": kind}
    if listed or any(item.get("digest") == found.digest for item in before):
        return
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*before, entry]}
    registry.put_manifest(tag, canonical_json(index), INDEX_TYPE)


def _referrers(data: bytes | None) -> list[dict[str, Any]]:
    try:
        found = json.loads(data or b"{}").get("manifests", [])
        return [item for item in found if isinstance(item, dict)]
    except (ValueError, AttributeError):
        return []


def _manifest(registry: Registry, tag: str) -> Manifest | None:
    data = registry.get_manifest(tag)
    return parse_manifest(data, f"{registry.address}:{tag}") if data else None


def _check_version(old: bytes | None, bundle: Mirrored, where: str, *, rebuild: bool) -> None:
    if old is None or old == bundle.manifest_bytes or rebuild:
        return
    version = bundle.manifest.version
    raise InputError(
        "release-exists",
        f"{bundle.manifest.name} {version} is published already, with other files",
        where=f"{where}:{version_tag(version)}",
        why="who asks for this version would get another model than those who asked before",
        fix="raise version: in edgeops.yaml (or pack with another --version) and publish again;\n"
        "while nobody depends on versions yet: publish with --rebuild (rebuild: true)",
    )


def _check_channel(old: Manifest | None, new: Manifest, channel: str, *, rollback: bool) -> None:
    if old is None:
        return
    if old.name != new.name:
        raise InputError(
            "channel-taken",
            f"the channel {channel!r} belongs to {old.name}",
            where=channel,
            why="a channel names the releases of one project, or its devices would get another one",
            fix="publish to another channel or to another name",
        )
    if older(new.version, old.version) and not rollback:
        raise InputError(
            "channel-backwards",
            f"the channel {channel!r} is at {old.version}, newer than {new.version}",
            where=channel,
            why="moving a channel back takes devices to an older model",
            fix=f"if that is meant: edgeops publish BUNDLE --to REPO --channel {channel} --rollback",
        )
