"""A look at a repository without a home: what a channel offers anybody, and blobs on request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError, TrustError
from edgeops.runtime.agent.fetch import Remote, Stored
from edgeops.runtime.agent.trust import read_channel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeops.core.channel import Channel
    from edgeops.core.channel import Offer as Listed
    from edgeops.core.manifest import Descriptor


@dataclass(frozen=True)
class Offer:
    """What a channel offers to a device that says nothing about itself, verified."""

    channel: str
    project: str
    version: str
    manifest: Descriptor
    share: float
    requests: int
    bytes: int


def remote_of(store: Any, where: str = "") -> Remote:
    """Return a store (an object with ``get`` and ``exists``) as what is read from."""
    return store if isinstance(store, Remote) else Remote(Stored(store), where)


def offered(store: Any, root: bytes, channel: str, state: Path, *, where: str = "") -> Offer:
    """Return what a channel offers, trusting ``root`` and what ``state`` remembers.

    ``store`` is a store or a :class:`Remote`, ``where`` what errors call it; ``state`` is a folder
    that is written: keep it, for it is what a rollback is seen by. It is the newest offer that is
    for every device, or the newest one where none is. Raises as :func:`read_channel` does, and
    InputError ``channel-empty``.
    """
    remote = remote_of(store, where)
    book = read_channel(remote, root, channel, state).channel
    found = _for_anyone(book)
    about = found.version, found.bundle, found.share
    return Offer(book.channel, book.project, *about, remote.requests, remote.bytes)


def fetch_blob(store: Any, blob: Descriptor) -> Iterator[bytes]:
    """Yield a blob in pieces, checked as it goes: the error comes after the last piece.

    Raises TrustError ``digest-mismatch`` or ``download-endless``, TransportError ``store-missing``,
    ``repository-unreachable`` or ``download-slow``.
    """
    sha = hashlib.sha256()
    done = 0
    for piece in remote_of(store).pieces(f"blobs/sha256/{blob.hex}", blob.size):
        done += len(piece)
        sha.update(piece)
        yield piece
    if sha.hexdigest() != blob.hex:
        raise TrustError(
            "digest-mismatch",
            "a file of the repository is not the one that was signed",
            where=f"blobs/sha256/{blob.hex}",
            why=f"its sha256 differs after {done} of {blob.size} bytes",
            fix="do not use it; ask the publisher to publish the release again",
        )


def _for_anyone(book: Channel) -> Listed:
    everyone = [offer for offer in book.offers if offer.unconditional]
    for offer in (*everyone, *book.offers):
        return offer
    raise InputError(
        "channel-empty",
        f"the channel {book.channel!r} offers nothing",
        where=f"channels/{book.channel}.json",
        why="all releases that it offered were withdrawn",
        fix="publish a release to it",
    )
