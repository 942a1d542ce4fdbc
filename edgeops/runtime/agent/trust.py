"""What a device believes of a repository: nothing but what leads back to its root.json.

python-tuf's client verifies the metadata and keeps what it has seen, so that an older state is
refused later (rollback), as is one that nobody renewed in time (freeze). Moving a device's trust
from one state to the next writes nothing that a kill could leave half written.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.channel import Channel, parse_channel
from edgeops.core.manifest import valid_name
from edgeops.errors import EdgeopsError, InputError, TransportError, TrustError
from edgeops.runtime.agent import files, log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from edgeops.runtime.agent.fetch import Remote
    from edgeops.runtime.agent.home import Home

_BASE = "repository:///"
_NOT_FOUND = 404
_DEFAULT = "stable"
_MOST_TARGET = 1 << 20
_MOST = 8 << 20


@dataclass(frozen=True)
class Seen:
    """A verified channel, and until when its repository's timestamp is good."""

    channel: Channel
    expires: datetime


def read_channel(remote: Remote, root: bytes, channel: str | None, state: Path) -> Seen:
    """Return what a channel offers, trusting ``root`` and what the folder ``state`` remembers.

    Keep ``state``: a rollback is seen by it. Without ``channel`` it is the only one, or ``stable``.
    Raises TrustError ``root-malformed``, ``metadata-expired``, ``metadata-rollback``,
    ``metadata-unsigned``, ``metadata-tampered``, ``channel-malformed`` or ``download-endless``;
    TransportError ``repository-unreachable``, ``store-missing`` or ``download-slow``; InputError
    ``channel-unknown``.
    """
    files.mkdir(state / "root_history")
    files.mkdir(state / "channels")
    with _trust(remote.where):
        updater = _updater(remote, root, state)
        updater.refresh()
        trusted = updater._trusted_set  # noqa: SLF001 - python-tuf gives no other way to list targets
        path = f"channels/{_chosen(channel, trusted.targets.targets)}.json"
        data = _target(updater, remote, path, state / path)
        return Seen(parse_channel(data, path), trusted.timestamp.expires)


def anchor(home: Home, given: Path | None) -> bytes:
    """Return the root of trust: the one that an update was first proven by, for ever.

    Until one was, ``given`` stands against the one that is kept, which may have been the wrong one.
    Raises InputError ``root-missing``, TrustError ``root-malformed``.
    """
    proven = (home.trust / "timestamp.json").is_file()
    if home.root.is_file() and (proven or given is None):
        kept = home.root.read_bytes()
        try:
            check_root(kept, str(home.root))
        except TrustError:
            if given is None:
                raise
            log.write(home.path, "root-damaged", instead=str(given))
        else:
            return kept
    try:
        if given is None:
            raise FileNotFoundError(errno.ENOENT, "no --root was given")
        data = given.read_bytes()
    except OSError as error:
        raise InputError(
            "root-missing",
            f"there is no root of trust at {given or home.root}",
            where=str(given or home.root),
            why=error.strerror or str(error),
            fix="name the root.json that edgeops keys init wrote with --root, once",
        ) from error
    check_root(data, str(given))
    files.write(home.root, data)
    return data


def check_root(data: bytes, where: str) -> None:
    """Let a root.json pass that is signed by its own keys; raises TrustError ``root-malformed``."""
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root

    try:
        metadata: Any = Metadata.from_bytes(data)
        if not isinstance(metadata.signed, Root):
            message = f"it is {metadata.signed.type} metadata"
            raise TypeError(message)
        metadata.verify_delegate("root", metadata)
    except (RepositoryError, TypeError, ValueError) as error:
        raise TrustError(
            "root-malformed",
            f"{where} is no root of trust",
            where=where,
            why=str(error) or type(error).__name__,
            fix="take the root.json that edgeops keys init wrote, from a copy you trust",
        ) from error


def _target(updater: Any, remote: Remote, path: str, kept: Path) -> bytes:
    """Return a target file: the one that is kept where it is still the signed one."""
    from tuf.api.exceptions import LengthOrHashMismatchError

    info = updater.get_targetinfo(path)
    if info is None:
        raise _tampered(f"{path} is listed and not there", remote.where)
    try:
        data: bytes = kept.read_bytes()
        info.verify_length_and_hashes(data)
    except (OSError, LengthOrHashMismatchError):
        if info.length > _MOST_TARGET:
            raise _tampered(f"{path} has {info.length} bytes", remote.where) from None
        folder, _, name = path.rpartition("/")
        found = remote.small(f"targets/{folder}/{info.hashes['sha256']}.{name}", info.length)
        if found is None:
            raise _missing(path, remote.where) from None
        info.verify_length_and_hashes(found)
        files.write(kept, found)
        return found
    return data


def _chosen(channel: str | None, targets: Any) -> str:
    names = (
        path[len("channels/") : -len(".json")] for path in targets if path.startswith("channels/")
    )
    known = sorted(name for name in names if valid_name(name))  # they become names of files
    name = channel or (known[0] if len(known) == 1 else _DEFAULT)
    if name in known:
        return name
    raise InputError(
        "channel-unknown",
        f"the repository has no channel {name!r}",
        where=f"channels/{name}.json",
        why=f"its channels are: {', '.join(known) or 'none'}",
        fix="name one of them with --channel",
    )


def _updater(remote: Remote, root: bytes, state: Path) -> Any:
    """Return python-tuf's client, reading from ``remote`` and writing through our files."""
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient import FetcherInterface, Updater

    class _Fetcher(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            data = remote.small(url[len(_BASE) :], _MOST)
            if data is None:
                raise DownloadHTTPError(f"{url[len(_BASE) :]} is not there", _NOT_FOUND)
            return iter((data,))

        def download_bytes(self, url: str, max_length: int) -> bytes:
            """Return a metadata file, which is small: no temporary file is needed for it."""
            data = remote.small(url[len(_BASE) :], max_length)
            if data is None:
                raise DownloadHTTPError(f"{url[len(_BASE) :]} is not there", _NOT_FOUND)
            return data

    class _Updater(Updater):
        """Writes what changed and nothing else, flushed to the disk."""

        def _persist_file(self, filename: str, data: bytes) -> None:
            place = Path(filename)
            if not place.is_file() or place.read_bytes() != data:
                files.write(place, data)

        def _update_root_symlink(self) -> None:
            """Leave root.json out: the root that one starts from is always given."""

    check_root(root, "root.json")
    return _Updater(str(state), _BASE + "metadata", fetcher=_Fetcher(), bootstrap=root)


@contextmanager
def _trust(where: str) -> Iterator[None]:
    """Turn python-tuf's refusals into ours: every one of them ends the update."""
    from tuf.api import exceptions

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
    except (exceptions.RepositoryError, LookupError, TypeError, ValueError) as error:
        # What a signed file says may still be nonsense: whoever signed it must mend it.
        raise _tampered(str(error) or type(error).__name__, where) from error
    except exceptions.DownloadError as error:
        raise TransportError(
            "repository-unreachable",
            "the repository cannot be read",
            where=where,
            why=str(error),
            fix="check its address and that something is published there, then try again",
        ) from error


def _tampered(why: str, where: str) -> TrustError:
    return TrustError(
        "metadata-tampered",
        "the repository's metadata was changed or damaged",
        where=where,
        why=why,
        fix="do not use it: ask the publisher to publish again",
    )


def _missing(path: str, where: str) -> TransportError:
    return TransportError(
        "store-missing",
        f"the repository has no {path}",
        where=where,
        why="it is not there, or not yet: a copy may still be under way",
        fix="try again; if it stays away, publish the release again",
    )
