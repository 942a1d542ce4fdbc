"""Bundles in OCI registries: what ``publish --to oci://`` and ``unpack oci://`` do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.core.events import Events
    from edgeops.package.bundle import Bundle
    from edgeops.stages.publish import PublishRequest
    from edgeops.stages.unpack import UnpackRequest


def is_registry(location: str) -> bool:
    """Return whether a location names a place in an OCI registry."""
    from edgeops.publish.registry import SCHEMES

    return location.startswith(SCHEMES)


def check_terms(to: str, share: float | None, said: Sequence[object]) -> None:
    """Refuse what only a signed repository can say; raises InputError ``mirror-terms``."""
    if share not in (None, 1.0) or any(said):
        raise InputError(
            "mirror-terms",
            "a registry gives a bundle to everyone who asks",
            where=to,
            why="shares, cohorts, a minimum runtime and expiry are in the signed channel of a "
            "repository, and a registry has none",
            fix="publish to a folder or to s3:// for devices, and to oci:// without these",
        )


def mirror_bundle(bundle: Bundle, request: PublishRequest, *, events: Events) -> dict[str, Any]:
    """Put an opened and checked bundle into a registry, and return the result.

    Raises InputError ``mirror-terms``, and what :func:`edgeops.publish.mirror.mirror` raises.
    """
    from edgeops.package.layout import MAX_INDEX, SIGNATURE_TYPE
    from edgeops.publish.mirror import Mirrored, mirror
    from edgeops.publish.registry import Registry, parse_address

    said = request.cohort, request.minimum_runtime, request.expires, request.reinstate
    check_terms(request.to, request.share, said)
    signature = bundle.signature_descriptor
    manifests = {bundle.digest} | ({signature.digest} if signature else set())
    mirrored = Mirrored(
        bundle.manifest,
        bundle.manifest_bytes,
        bundle.read(signature, MAX_INDEX) if signature else None,
        SIGNATURE_TYPE,
        [blob for blob in bundle.blobs() if blob.digest not in manifests],
        bundle.pieces,
    )
    with Registry(parse_address(request.to)) as registry:
        return mirror(
            registry,
            mirrored,
            request.channel,
            rollback=request.rollback,
            rebuild=request.rebuild,
            events=events,
        )


def unpack_mirrored(request: UnpackRequest, events: Events) -> dict[str, Any]:
    """Unpack a bundle that a registry's tag names, every byte checked against the manifest.

    Who tagged it is not known: ``edgeops verify --key`` asks that of a bundle, a device of a
    repository. Raises what a registry, choosing layers and writing files raise.
    """
    from edgeops.package.unpack import check_place, choose, uses_of, write_files
    from edgeops.publish.mirror import read_mirrored
    from edgeops.publish.registry import Registry, parse_address

    out = request.root / request.out
    check_place(out)
    with Registry(parse_address(request.source)) as registry:
        events.step("reading the registry")
        manifest, data = read_mirrored(registry)
        uses = uses_of(manifest, request.target, registry.get_blob)
        layers = choose(manifest, request.target, request.only, uses)
        events.step("fetching files", total=len(layers))
        files = write_files(out, data, layers, registry.get_blob)
    return {
        "folder": str(out),
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.descriptor.digest,
        "files": files,
    }
