"""What is done to a repository: publish a release, promote, withdraw, renew; each whole or not at all.

``releases/<project>/<version>.json`` names one bundle; ``channels/<channel>.json`` says who is
offered which. Both are TUF targets. Blobs lie beside them under ``blobs/sha256/<hex>`` and are
named by the bundle's manifest. See docs/formats/repository.md.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeops.core.channel import Channel, Offer
from edgeops.errors import InputError
from edgeops.publish.blobs import upload
from edgeops.publish.channels import Terms, apply, check_project, find, place
from edgeops.publish.metadata import read_served, write_next
from edgeops.publish.releases import (
    Release,
    channel_path,
    check_name,
    deltas_of,
    outdated,
    read_channel,
    read_release,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgeops.core.contracts import Store
    from edgeops.core.events import Events
    from edgeops.core.manifest import Descriptor
    from edgeops.publish.deltas import Deltas
    from edgeops.publish.keystore import Keys
    from edgeops.publish.metadata import Served

    Pieces = Callable[[Descriptor], Iterator[bytes]]
    MakeDeltas = Callable[[Store, Served, Channel | None], Deltas]


@dataclass(frozen=True)
class Wish:
    """Where a release goes and what may be done for it.

    ``rollback`` lets a channel go back, ``rebuild`` a version be published again with other
    files, ``reinstate`` a withdrawn release be offered again.
    """

    channel: str
    terms: Terms = field(default_factory=Terms)
    rollback: bool = False
    rebuild: bool = False
    reinstate: bool = False


@dataclass(frozen=True)
class Decision:
    """The release as it is to be, whether it is to be written, and a note for a person."""

    release: Mapping[str, Any] | None
    digest: str
    accepted: str | None
    note: str = ""


def publish(
    store: Store,
    keys: Keys,
    release: Release,
    blobs: Sequence[Descriptor],
    pieces: Pieces,
    wish: Wish,
    *,
    events: Events,
    deltas: MakeDeltas | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Add a release and offer it on a channel: blobs first, metadata then, timestamp.json last.

    Publishing again what is published changes nothing but what is due to expire. Raises InputError
    ``name-invalid``, ``release-exists``, ``release-withdrawn``, ``channel-taken``,
    ``channel-backwards`` or ``channel-crowded``; TrustError as :func:`read_served` does.
    """
    for text in (release.project, release.version, wish.channel):
        check_name(text)
    moment = now or datetime.now(UTC)
    keys.check_expiry(moment)
    with locked(store):
        events.step("reading the repository")
        served = read_served(store, keys)
        old = read_release(store, served, release.path)
        channel = read_channel(store, served, wish.channel)
        decision = decide(release, old, wish)
        release, offer = _offer(release, old, decision, channel, wish, moment)
        if channel:
            check_project(channel, release.project)
        book = channel or Channel(wish.channel, release.project)
        place(book, offer, moment, rollback=wish.rollback)  # refuses before anything is uploaded
        uploaded, made = 0, None
        if decision.digest == release.manifest.digest:
            uploaded = upload(store, blobs, pieces, events)
            if deltas and decision.release is None:
                made = deltas(store, served, channel)
                uploaded += made.uploaded
                release = replace(release, deltas=made.index)
                offer = replace(offer, deltas=made.index)
        book = place(book, offer, moment, rollback=wish.rollback)
        changed = outdated(store, served)
        if decision.release is None:
            changed[release.path] = release.encode()
        if book != channel:
            changed[channel_path(wish.channel)] = book.encode()
        events.step("signing the repository")
        written = write_next(store, keys, served, changed, now)
    return {
        "release": release.path,
        "channel": wish.channel,
        "project": release.project,
        "version": release.version,
        "digest": decision.digest,
        "accepted": decision.accepted,
        "offer": offer.to_json(),
        "bytes_uploaded": uploaded + written.bytes,
        "deltas": [item.to_json() for item in made.made] if made else [],
        "expires": written.timestamp.signed.expires.isoformat(),
        "notes": [
            *([decision.note] if decision.note else []),
            *new_channel(served, wish.channel),
            *keys.notes(moment),
        ],
    }


def renew(store: Store, keys: Keys, *, now: datetime | None = None) -> dict[str, Any]:
    """Bring new roots into a repository and sign again what has less than half of its life left.

    Only what the keys at hand can sign is renewed: for the timestamp its own key is enough.
    """
    with locked(store):
        served = read_served(store, keys)
        written = write_next(store, keys, served, {}, now)
    return {
        "bytes_uploaded": written.bytes,
        "renewed": sorted(written.roles),
        "expires": written.timestamp.signed.expires.isoformat(),
        "notes": [
            f"{role} is good until {expires:%Y-%m-%d}, and its key is not here"
            for role, expires in sorted(written.expiring.items())
        ]
        + keys.notes(now or datetime.now(UTC)),
    }


def new_channel(served: Served, channel: str) -> list[str]:
    """Return a note where a channel comes beside others: its name may be a typing error."""
    others = served.channels()
    if not others or channel in others:
        return []
    return [f"{channel} is a new channel; there were: {', '.join(others)}"]


def decide(release: Release, old: Mapping[str, Any] | None, wish: Wish) -> Decision:
    """Return what becomes of a release, given what is published; pure.

    The same version with other files is refused, or with ``rebuild`` takes the place of what was
    there; with the same files but measured again it stays what it was.
    """
    digest, accepted = release.manifest.digest, release.accepted
    if old is None:
        return Decision(None, digest, accepted)
    if old["withdrawn"] is not None and not wish.reinstate:
        raise withdrawn(release.path, old["withdrawn"])
    if old["content"] == release.content:
        if old["withdrawn"] is not None:
            return Decision(None, digest, accepted, f"it had been withdrawn: {old['withdrawn']}")
        note = "these files are published already: the release stays as first measured"
        return Decision(
            old, old["digest"], old["accepted"], note if old["digest"] != digest else ""
        )
    if not wish.rebuild:
        raise _exists(release, old)
    note = f"{release.version} was published before with other files: these took their place"
    return Decision(None, digest, accepted, note)


def _offer(
    release: Release,
    old: Mapping[str, Any] | None,
    decision: Decision,
    channel: Channel | None,
    wish: Wish,
    now: datetime,
) -> tuple[Release, Offer]:
    """Return the release and its offer on the channel, as far as both are known yet."""
    from edgeops.core.manifest import parse_descriptor

    bundle = release.manifest
    index = deltas_of(old) if old and decision.release else None
    if decision.release is not None:
        bundle = parse_descriptor(decision.release["bundle"])
    release = replace(release, deltas=index)
    before = find(channel, release.version)
    if before is not None:
        again = replace(before, bundle=bundle, deltas=index)
        return release, apply(again, wish.terms, now, raise_only=True)
    fresh = Offer(release.version, bundle, release.path, deltas=index)
    return release, apply(fresh, wish.terms, now)


def withdrawn(path: str, reason: str) -> InputError:
    """Return the error for a release that was withdrawn."""
    return InputError(
        "release-withdrawn",
        f"{path.removeprefix('releases/').removesuffix('.json')} was withdrawn",
        where=path,
        why=f"the reason that was signed: {reason}",
        fix="publish another version; if the release is good after all: edgeops publish "
        "BUNDLE ... --reinstate",
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


def locked(store: Store) -> AbstractContextManager[Any]:
    """Return what keeps other publishers out, where the store can do that."""
    lock = getattr(store, "lock", None)
    return lock() if lock else nullcontext()
