"""Releases and channels of a repository: what may be published, and how it gets there.

``releases/<project>/<version>.json`` names one bundle; ``channels/<channel>.json`` names
the release that a share of the devices gets. Both are TUF targets. Blobs lie beside them under
``blobs/sha256/<hex>`` and are named by the bundle's manifest. See docs/formats/repository.md.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import tree_digest
from edgeops.core.files import canonical_json
from edgeops.core.manifest import valid_name
from edgeops.core.versions import older
from edgeops.errors import InputError, TrustError
from edgeops.publish.metadata import read_served, read_target, write_next

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from edgeops.core.contracts import Store
    from edgeops.core.events import Events
    from edgeops.core.manifest import Descriptor, Layer
    from edgeops.publish.keys import Keys

    Pieces = Callable[[Descriptor], Iterator[bytes]]

RELEASE_FORMAT = "edgeops.release/1"
CHANNEL_FORMAT = "edgeops.channel/1"
_PIECE = 8 << 20
# What only tells about the rest: measuring again does not make another release.
_ABOUT = ("evidence", "sbom", "card")


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

    @property
    def path(self) -> str:
        """The path of the release among the TUF targets."""
        return f"releases/{self.project}/{self.version}.json"

    @property
    def content(self) -> str:
        """The digest of all files that devices use: not of evidence, bill of materials and card."""
        return tree_digest(
            {item.path: item.blob.hex for item in self.layers if item.kind not in _ABOUT}
        )

    def encode(self) -> bytes:
        """Return the release manifest."""
        return canonical_json(
            {
                "format": RELEASE_FORMAT,
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
            }
        )


@dataclass(frozen=True)
class Decision:
    """The target files to write, what the release is then, and a note for a person."""

    changed: Mapping[str, bytes]
    digest: str
    accepted: str | None
    note: str


def channel_path(channel: str) -> str:
    """Return the path of a channel among the TUF targets."""
    return f"channels/{channel}.json"


def publish(
    store: Store,
    keys: Keys,
    release: Release,
    blobs: Sequence[Descriptor],
    pieces: Pieces,
    *,
    channel: str,
    rollback: bool = False,
    rebuild: bool = False,
    events: Events,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Add a release and move a channel to it: blobs first, metadata then, timestamp.json last.

    Publishing again what is published changes nothing but what is due to expire. Raises InputError
    ``name-invalid``, ``release-exists``, ``channel-taken``, ``channel-backwards``; TrustError as
    :func:`read_served` does, or ``repository-tampered``.
    """
    for text in (release.project, release.version, channel):
        _check_name(text)
    with _locked(store):
        events.step("reading the repository")
        served = read_served(store, keys)
        old_release = _json(read_target(store, served, release.path))
        old_channel = _json(read_target(store, served, channel_path(channel)))
        decision = decide(
            release, channel, old_release, old_channel, rollback=rollback, rebuild=rebuild
        )
        uploaded = 0
        if decision.digest == release.manifest.digest:
            uploaded = _upload(store, blobs, pieces, events)
        events.step("signing the repository")
        written, timestamp = write_next(store, keys, served, decision.changed, now)
    return {
        "release": release.path,
        "channel": channel,
        "project": release.project,
        "version": release.version,
        "digest": decision.digest,
        "accepted": decision.accepted,
        "bytes_uploaded": uploaded + written,
        "deltas": [],
        "expires": timestamp.signed.expires.isoformat(),
        "notes": [decision.note] if decision.note else [],
    }


def renew(store: Store, keys: Keys, *, now: datetime | None = None) -> int:
    """Bring new roots into a repository and renew what is due; returns the bytes written."""
    with _locked(store):
        return write_next(store, keys, read_served(store, keys), {}, now)[0]


def decide(
    release: Release,
    channel: str,
    old_release: Mapping[str, Any] | None,
    old_channel: Mapping[str, Any] | None,
    *,
    rollback: bool = False,
    rebuild: bool = False,
) -> Decision:
    """Return what to write, given what is published; pure.

    The same version with other files is refused, or with ``rebuild`` takes the place of what was
    there; with the same files but measured again it stays what it was. A channel belongs to one
    project and goes to an older version only when told to.
    """
    changed: dict[str, bytes] = {}
    note = ""
    digest, accepted = release.manifest.digest, release.accepted
    if old_release is None:
        changed[release.path] = release.encode()
    elif old_release["content"] == release.content:
        if old_release["digest"] != digest:
            note = "these files are published already: the release stays as first measured"
        digest, accepted = old_release["digest"], old_release["accepted"]
    elif rebuild:
        changed[release.path] = release.encode()
        note = f"{release.version} was published before with other files: these took their place"
    else:
        raise _exists(release, old_release)
    if old_channel and old_channel["project"] != release.project:
        raise InputError(
            "channel-taken",
            f"the channel {channel!r} belongs to {old_channel['project']}",
            where=channel_path(channel),
            why="a channel names the releases of one project, or its devices would get another one",
            fix="publish to another channel or to another repository",
        )
    if old_channel and older(release.version, old_channel["version"]) and not rollback:
        raise InputError(
            "channel-backwards",
            f"the channel {channel!r} is at {old_channel['version']}, newer than {release.version}",
            where=channel_path(channel),
            why="moving a channel back takes devices to an older model",
            fix="if that is meant: edgeops publish BUNDLE --to REPO --channel "
            f"{channel} --rollback",
        )
    pointer = _channel(release, channel, digest)
    if old_channel is None or canonical_json(old_channel) != pointer:
        changed[channel_path(channel)] = pointer
    return Decision(changed, digest, accepted, note)


def _channel(release: Release, channel: str, digest: str) -> bytes:
    return canonical_json(
        {
            "format": CHANNEL_FORMAT,
            "channel": channel,
            "project": release.project,
            "version": release.version,
            "digest": digest,
            "release": release.path,
            "share": 1.0,
        }
    )


def _exists(release: Release, old: Mapping[str, Any]) -> InputError:
    return InputError(
        "release-exists",
        f"{release.project} {release.version} is published already, with other files",
        where=release.path,
        why=f"published: {old['digest'][:19]}, this one: {release.manifest.digest[:19]}; "
        "devices that say they run this version would run different models",
        fix="raise version: in edgeops.yaml (or pack with another --version) and publish again;\n"
        "while nobody depends on versions yet: publish with --rebuild (rebuild: true)",
    )


def _check_name(text: str) -> None:
    if not valid_name(text):
        raise InputError(
            "name-invalid",
            f"{text!r} cannot name a project, version or channel",
            where=text,
            why="it becomes part of a path: letters, digits, and . _ + - after the first character",
            fix="choose a name such as digits, 1.0.0 or stable",
        )


def _upload(store: Store, blobs: Sequence[Descriptor], pieces: Pieces, events: Events) -> int:
    events.step("uploading blobs", total=len(blobs))
    uploaded = 0
    for blob in blobs:
        path = f"blobs/sha256/{blob.hex}"
        if not _is_there(store, path, blob):
            store.put(path, pieces(blob))
            uploaded += blob.size
        events.advance()
    return uploaded


def _is_there(store: Store, path: str, blob: Descriptor) -> bool:
    if not store.exists(path):
        return False
    sha = hashlib.sha256()
    start = 0
    while start <= blob.size:
        piece = store.get(path, start, _PIECE)
        sha.update(piece)
        start += len(piece)
        if len(piece) < _PIECE:
            break
    return sha.hexdigest() == blob.hex


def _json(data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    document: dict[str, Any] = json.loads(data)
    if document["format"] not in (RELEASE_FORMAT, CHANNEL_FORMAT):
        raise TrustError(
            "repository-newer",
            "the repository was written by a newer edgeops",
            where=str(document["format"]),
            why=f"this edgeops writes {RELEASE_FORMAT} and {CHANNEL_FORMAT}",
            fix="upgrade edgeops: pip install --upgrade edgeops",
        )
    return document


def _locked(store: Store) -> AbstractContextManager[Any]:
    lock = getattr(store, "lock", None)
    return lock() if lock else nullcontext()
