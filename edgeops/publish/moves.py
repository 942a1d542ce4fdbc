"""Moves of what is published already: promote an offer, withdraw a release.

Each is one signed step from the state before to the state after; done again it changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from edgeops.core.channel import Channel, Offer
from edgeops.core.files import canonical_json
from edgeops.errors import InputError
from edgeops.publish.channels import apply, check_project, find, place, without
from edgeops.publish.metadata import read_served, write_next
from edgeops.publish.releases import (
    channel_path,
    check_name,
    outdated,
    read_channel,
    read_release,
    release_path,
)
from edgeops.publish.repository import locked, new_channel, withdrawn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Store
    from edgeops.publish.channels import Terms
    from edgeops.publish.keystore import Keys
    from edgeops.publish.metadata import Served, Written


def promote(
    store: Store,
    keys: Keys,
    channel: str,
    terms: Terms,
    *,
    source: str | None = None,
    version: str | None = None,
    rollback: bool = False,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Offer a release to others: on new terms, or from the channel ``source`` on ``channel``.

    It is the newest one offered there, or that of ``version``. Raises InputError
    ``channel-unknown``, ``channel-empty``, ``offer-unknown``, ``release-withdrawn``, and what
    placing an offer raises.
    """
    check_name(channel)
    moment = now or datetime.now(UTC)
    with locked(store):
        served = read_served(store, keys)
        book = read_channel(store, served, channel)
        origin = _known(store, served, source or channel)
        found = _found(origin, version)
        release = read_release(store, served, found.release) or {}
        if release.get("withdrawn") is not None:
            raise withdrawn(found.release, release["withdrawn"])
        if source is None or source == channel:
            offer = apply(found, terms, moment)
        else:
            before = find(book, found.version)
            if before and before.expires and isinstance(terms.expires, timedelta):
                terms = replace(terms, expires=before.expires)  # saying it again changes nothing
            fresh = Offer(found.version, found.bundle, found.release, deltas=found.deltas)
            offer = apply(fresh, terms, moment)
        if book is not None:
            check_project(book, origin.project)
        new = place(book or Channel(channel, origin.project), offer, moment, rollback=rollback)
        changed = outdated(store, served)
        if new != book:
            changed[channel_path(channel)] = new.encode()
        written = write_next(store, keys, served, changed, now)
    return {
        "release": offer.release,
        "channel": channel,
        "from": source,
        "project": origin.project,
        "version": offer.version,
        "digest": offer.digest,
        "offer": offer.to_json(),
        **_outcome(changed, written, *new_channel(served, channel)),
    }


def withdraw(
    store: Store,
    keys: Keys,
    version: str,
    reason: str,
    *,
    project: str | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Take a release out of all channels and sign why; devices fall to the next offer.

    Raises InputError ``reason-missing``, ``project-unsaid`` or ``release-unknown``.
    """
    if not reason.strip():
        raise InputError(
            "reason-missing",
            "a release is withdrawn for a reason, and none was given",
            where=version,
            why="the reason is signed with the release, for those who come to look for it",
            fix="say it: edgeops withdraw VERSION --to REPO --reason 'wrong labels'",
        )
    with locked(store):
        served = read_served(store, keys)
        name = project or _only_project(served)
        path = release_path(name, version)
        release = read_release(store, served, path)
        if release is None:
            raise _release_unknown(served, name, version)
        changed = outdated(store, served)
        note = ""
        if release["withdrawn"] is None:
            release["withdrawn"] = reason
            changed[path] = canonical_json(release)
        elif release["withdrawn"] != reason:
            note = f"it was withdrawn before, and that reason stays: {release['withdrawn']}"
        left = {}
        for channel in served.channels():
            book = _known(store, served, channel)
            if book.project != name:
                continue
            rest = without(book, version)
            if rest != book:
                changed[channel_path(channel)] = rest.encode()
            left[channel] = rest.offers[0].version if rest.offers else None
        written = write_next(store, keys, served, changed, now)
    return {
        "release": path,
        "project": name,
        "version": version,
        "digest": release["digest"],
        "withdrawn": release["withdrawn"],
        "channels": [{"channel": channel, "offers": left[channel]} for channel in sorted(left)],
        **_outcome(changed, written, note),
    }


def _outcome(changed: Mapping[str, bytes], written: Written, note: str = "") -> dict[str, Any]:
    return {
        "changed": bool(changed),
        "bytes_uploaded": written.bytes,
        "expires": written.timestamp.signed.expires.isoformat(),
        "notes": [note] if note else [],
    }


def _known(store: Store, served: Served, channel: str) -> Channel:
    book = read_channel(store, served, channel)
    if book is None:
        raise InputError(
            "channel-unknown",
            f"the repository has no channel {channel!r}",
            where=channel_path(channel),
            why=f"its channels are: {', '.join(served.channels()) or 'none'}",
            fix="name one of them",
        )
    return book


def _found(book: Channel, version: str | None) -> Offer:
    if not book.offers:
        raise InputError(
            "channel-empty",
            f"the channel {book.channel!r} offers nothing",
            where=channel_path(book.channel),
            why="all releases that it offered were withdrawn",
            fix="publish a release to it",
        )
    offer = find(book, version) if version else book.offers[0]
    if offer is None:
        raise InputError(
            "offer-unknown",
            f"the channel {book.channel!r} does not offer {version}",
            where=channel_path(book.channel),
            why=f"it offers {', '.join(item.version for item in book.offers)}",
            fix="name one of these with --release, or publish it to the channel",
        )
    return offer


def _only_project(served: Served) -> str:
    names = sorted(role.partition("-")[2] for role in served.roles)
    if len(names) == 1:
        return names[0]
    raise InputError(
        "project-unsaid",
        "say of which project the release is",
        where="--project",
        why=f"the repository has releases of: {', '.join(names) or 'none'}",
        fix="name one of them with --project",
    )


def _release_unknown(served: Served, project: str, version: str) -> InputError:
    versions = sorted(served.versions(project))
    return InputError(
        "release-unknown",
        f"the repository has no release {project} {version}",
        where=release_path(project, version),
        why=f"of {project} it has: {', '.join(versions[-8:]) or 'none'}",
        fix="name one that was published",
    )
