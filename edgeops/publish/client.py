"""What a device does with a repository: trust nothing but its root.json, fetch only what it needs.

python-tuf's client verifies the metadata and keeps what it has seen, so that an older state is
refused later (rollback), as is one that nobody renewed in time (freeze).
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.channel import Channel, parse_channel
from edgeops.errors import EdgeopsError, InputError, TransportError, TrustError
from edgeops.publish.keys import parse_root
from edgeops.publish.metadata import METADATA, TARGETS
from edgeops.publish.releases import channel_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tuf.ngclient import Updater

    from edgeops.core.contracts import Store
    from edgeops.core.manifest import Descriptor

_BASE = "store:///"
_PIECE = 1 << 20
_NOT_FOUND = 404


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


def offered(store: Store, root: bytes, channel: str, state: Path, *, where: str = "") -> Offer:
    """Return what a channel offers, trusting ``root`` and what ``state`` remembers.

    ``state`` is a folder that is written: keep it, for it is what a rollback is seen by. ``where``
    is what errors call the repository. Raises
    TrustError ``root-malformed``, ``metadata-expired``, ``metadata-rollback``,
    ``metadata-unsigned`` or ``metadata-tampered``; TransportError ``repository-unreachable`` or
    ``store-missing``; InputError ``channel-unknown``.
    """
    from tuf.ngclient import Updater

    parse_root(root, "root.json")
    state.mkdir(parents=True, exist_ok=True)
    fetcher = _fetcher(store)
    with _trust(where):
        updater = Updater(
            str(state),
            _BASE + METADATA,
            target_dir=str(state),
            target_base_url=_BASE + TARGETS,
            fetcher=fetcher,
            bootstrap=root,
        )
        updater.refresh()
        data = _target(updater, channel_path(channel), state)
        if data is None:
            raise _unknown(channel, state)
        book = parse_channel(data, channel_path(channel))
    found = _for_anyone(book)
    about = found.version, found.bundle, found.share
    return Offer(channel, book.project, *about, fetcher.requests, fetcher.received)


def _for_anyone(book: Channel) -> Any:
    """Return the newest offer that is for every device, or the newest one where none is."""
    everyone = [offer for offer in book.offers if offer.unconditional]
    for offer in (*everyone, *book.offers):
        return offer
    raise InputError(
        "channel-empty",
        f"the channel {book.channel!r} offers nothing",
        where=channel_path(book.channel),
        why="all releases that it offered were withdrawn",
        fix="publish a release to it",
    )


def fetch_blob(store: Store, blob: Descriptor) -> Iterator[bytes]:
    """Yield a blob in pieces, checked as it goes: the error comes after the last piece.

    Raises TrustError ``digest-mismatch``, TransportError ``store-missing``.
    """
    sha = hashlib.sha256()
    done = 0
    while done < blob.size:
        piece = store.get(f"blobs/sha256/{blob.hex}", done, min(_PIECE, blob.size - done))
        if not piece:
            break
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


def _target(updater: Updater, path: str, state: Path) -> bytes | None:
    info = updater.get_targetinfo(path)
    if info is None:
        return None
    place = state / "target.json"
    updater.download_target(info, str(place))
    data = place.read_bytes()
    place.unlink()
    return data


def _unknown(channel: str, state: Path) -> InputError:
    from tuf.api.metadata import Metadata

    metadata: Any = Metadata.from_file(str(state / "targets.json"))
    files = metadata.signed.targets
    known = [path.split("/")[1][:-5] for path in sorted(files) if path.startswith("channels/")]
    return InputError(
        "channel-unknown",
        f"the repository has no channel {channel!r}",
        where=channel_path(channel),
        why=f"its channels are: {', '.join(known) or 'none'}",
        fix="name one of them with --channel",
    )


def _fetcher(store: Store) -> Any:
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient import FetcherInterface

    class StoreFetcher(FetcherInterface):
        """Lets python-tuf read from a store, counting requests and bytes."""

        def __init__(self) -> None:
            self.requests = 0
            self.received = 0

        def _fetch(self, url: str) -> Iterator[bytes]:
            path = url.removeprefix(_BASE)
            self.requests += 1
            if not store.exists(path):
                raise DownloadHTTPError(f"{path} is not there", _NOT_FOUND)
            return self._pieces(path)

        def _pieces(self, path: str) -> Iterator[bytes]:
            start = 0
            while piece := store.get(path, start, _PIECE):
                start += len(piece)
                self.received += len(piece)
                yield piece

    return StoreFetcher()


@contextmanager
def _trust(where: str) -> Iterator[None]:
    """Turn python-tuf's refusals into ours: every one of them ends the update."""
    from tuf.api import exceptions
    from tuf.api.serialization import DeserializationError

    try:
        yield
    except EdgeopsError as error:
        error.where = error.where or where
        raise
    except exceptions.ExpiredMetadataError as error:
        raise TrustError(
            "metadata-expired",
            "the repository was not renewed in time",
            where=where,
            why=f"{error}: nobody signed it lately, or somebody shows an old state",
            fix="ask the publisher to publish again; check this machine's clock",
        ) from error
    except exceptions.BadVersionNumberError as error:
        raise TrustError(
            "metadata-rollback",
            "the repository shows an older state than was seen before",
            where=where,
            why=str(error),
            fix="do not use it: ask the publisher, an old copy may have been put back",
        ) from error
    except exceptions.UnsignedMetadataError as error:
        raise TrustError(
            "metadata-unsigned",
            "the repository is not signed by the keys that root.json names",
            where=where,
            why=str(error),
            fix="check that --root is the root.json of this repository's publisher",
        ) from error
    except (
        exceptions.RepositoryError,
        exceptions.DownloadLengthMismatchError,
        DeserializationError,
    ) as error:
        raise _tampered(str(error) or type(error).__name__, where) from error
    except exceptions.DownloadError as error:
        raise TransportError(
            "repository-unreachable",
            "the repository cannot be read",
            where=where,
            why=str(error),
            fix="check its address and that something is published there, then try again",
        ) from error


def _tampered(why: str, where: str = "") -> TrustError:
    return TrustError(
        "metadata-tampered",
        "the repository's metadata was changed or damaged",
        where=where,
        why=why,
        fix="do not use it: ask the publisher to publish again",
    )
