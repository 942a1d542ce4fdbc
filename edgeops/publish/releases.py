"""Releases as signed documents: ``releases/<project>/<version>.json`` names one bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.channel import Channel, Offer, parse_channel
from edgeops.core.digest import tree_digest
from edgeops.core.files import canonical_json
from edgeops.core.manifest import parse_descriptor, valid_name
from edgeops.errors import InputError, TrustError
from edgeops.publish.metadata import read_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Store
    from edgeops.core.manifest import Descriptor, Layer
    from edgeops.publish.metadata import Served

FORMAT = "edgeops.release/1"
# What only tells about the rest: measuring again does not make another release. The index is among
# it for the memory that it says each target took.
ABOUT = ("evidence", "sbom", "card", "index")


@dataclass(frozen=True)
class Release:
    """A bundle to publish; ``accepted`` is why it ships although its gates did not pass."""

    project: str
    version: str
    manifest: Descriptor
    signature: Descriptor | None
    layers: Sequence[Layer]
    targets: Sequence[str]
    verdict: str
    accepted: str | None = None
    minimum_runtime: str | None = None
    deltas: Descriptor | None = None

    @property
    def path(self) -> str:
        """The path of the release among the TUF targets."""
        return release_path(self.project, self.version)

    @property
    def content(self) -> str:
        """The digest of all files that devices run with: not of what tells about them."""
        return tree_digest(
            {item.path: item.blob.hex for item in self.layers if item.kind not in ABOUT}
        )

    def encode(self) -> bytes:
        """Return the release manifest."""
        return canonical_json(
            {
                "format": FORMAT,
                "project": self.project,
                "version": self.version,
                "digest": self.manifest.digest,
                "bundle": self.manifest.to_json(),
                "signature": self.signature.to_json() if self.signature else None,
                "content": self.content,
                "targets": list(self.targets),
                "bytes": sum({item.blob.digest: item.blob.size for item in self.layers}.values()),
                "verdict": self.verdict,
                "accepted": self.accepted,
                "requires": {"runtime": self.minimum_runtime},
                "deltas": self.deltas.to_json() if self.deltas else None,
                "withdrawn": None,
            }
        )


def release_path(project: str, version: str) -> str:
    """Return the path of a release among the TUF targets."""
    return f"releases/{project}/{version}.json"


def channel_path(channel: str) -> str:
    """Return the path of a channel among the TUF targets."""
    return f"channels/{channel}.json"


def read_release(store: Store, served: Served, path: str) -> dict[str, Any] | None:
    """Return a release that is served, or None; raises TrustError ``repository-newer``."""
    data = read_target(store, served, path)
    if data is None:
        return None
    document: dict[str, Any] = json.loads(data)
    if document.get("format") != FORMAT:
        raise newer(str(document.get("format")))
    return {"withdrawn": None, "deltas": None, **document}


def read_channel(store: Store, served: Served, channel: str) -> Channel | None:
    """Return a channel that is served, or None.

    Raises TrustError ``channel-malformed``, or ``repository-newer`` when rewriting it would lose
    what a newer edgeops said in it.
    """
    path = channel_path(channel)
    data = read_target(store, served, path)
    if data is None:
        return None
    found = _upgraded(store, served, data) or parse_channel(data, path)
    for offer in found.offers:
        if offer.unknown:
            raise newer(f"{path}: {', '.join(offer.unknown)}")
    return found


def outdated(store: Store, served: Served) -> dict[str, bytes]:
    """Return the channels that edgeops 0.1 wrote, as they are written now."""
    changed = {}
    for channel in served.channels():
        data = read_target(store, served, channel_path(channel))
        found = _upgraded(store, served, data) if data else None
        if found is not None:
            changed[channel_path(channel)] = found.encode()
    return changed


def _upgraded(store: Store, served: Served, data: bytes) -> Channel | None:
    """Return a channel of format 1, which named one release for everyone, or None for another."""
    if b'"edgeops.channel/1"' not in data:
        return None
    old = json.loads(data)
    release = read_release(store, served, old["release"])
    if release is None:
        return None
    bundle = parse_descriptor(release["bundle"])
    offer = Offer(old["version"], bundle, old["release"], float(old["share"]))
    return Channel(old["channel"], old["project"], (offer,))


def deltas_of(document: Mapping[str, Any]) -> Descriptor | None:
    """Return the descriptor of a release's index of deltas, if it has one."""
    return parse_descriptor(document["deltas"]) if document["deltas"] else None


def newer(where: str) -> TrustError:
    """Return the error for what a newer edgeops wrote."""
    return TrustError(
        "repository-newer",
        "the repository was written by a newer edgeops",
        where=where,
        why="this edgeops would lose what the newer one put there",
        fix="upgrade edgeops: pip install --upgrade edgeops",
    )


def check_name(text: str, where: str = "") -> None:
    """Let a name pass that may stand in a path; raises InputError ``name-invalid``."""
    if not valid_name(text):
        raise InputError(
            "name-invalid",
            f"{text!r} cannot name a project, version or channel",
            where=where or text,
            why="it becomes part of a path: letters, digits, and . _ + - after the first character",
            fix="choose a name such as digits, 1.0.0 or stable",
        )
