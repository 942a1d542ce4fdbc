"""Where the static files of a repository lie: a folder here, anything else through a plugin.

A repository is named ``folder``, ``KIND://REST`` names a store that a package registered under the
entry-point group ``edgeops.stores``.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.core import registry
from edgeops.core.files import disk_errors, inside, make_folder
from edgeops.errors import InputError, MissingError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeops.core.contracts import Store

_MODE = 0o644
_SCHEME = "://"


class FolderStore:
    """A repository in a folder; files are written beside their place and moved in."""

    name = "folder"
    api = 1

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or Path.cwd()

    def at(self, location: str, base: Path) -> FolderStore:
        """Return the store for a location, a folder relative to ``base``."""
        return FolderStore(base / location)

    def put(self, path: str, data: bytes | Iterator[bytes]) -> None:
        """Write a file whole: it is there with all its bytes or as it was before."""
        place = inside(self._root, path)
        with disk_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".new-", dir=place.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    for piece in (data,) if isinstance(data, bytes) else data:
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).chmod(_MODE)
                Path(name).replace(place)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    def get(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """Read ``length`` bytes, or all, from ``start`` on; beyond the end there are none.

        Raises TransportError ``store-missing`` when the file is not there.
        """
        try:
            with inside(self._root, path).open("rb") as file:
                file.seek(start)
                return file.read(-1 if length is None else length)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise TransportError(
                "store-missing",
                f"the repository has no {path}",
                where=str(self._root),
                why="it is not there, or not yet: a copy may still be under way",
                fix="try again; if it stays away, publish the release again",
            ) from error

    def exists(self, path: str) -> bool:
        """Return whether a file is there."""
        return inside(self._root, path).is_file()

    def list(self, prefix: str) -> list[str]:
        """Return the paths that begin with ``prefix``, sorted; files being written are left out."""
        found = (
            path.relative_to(self._root).as_posix()
            for path in self._root.rglob("*")
            if path.is_file() and not path.name.startswith(".new-")
        )
        return sorted(path for path in found if path.startswith(prefix))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other publishers of this machine out; the system lets go when the process ends."""
        make_folder(self._root)
        handle = os.open(self._root, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def open_store(location: str, base: Path) -> Store:
    """Return the store that a repository's location names.

    ``location`` is a folder relative to ``base``, or ``KIND://REST``. Raises MissingError
    ``store-unknown`` when no store of that kind is registered.
    """
    kind, _, _ = location.partition(_SCHEME)
    if _SCHEME not in location:
        return FolderStore(base / location)
    if kind == "file":
        return FolderStore(Path(location.removeprefix("file://")))
    if kind in ("oci", "oci+http"):
        raise InputError(
            "store-mirror",
            f"{location} is a registry: it holds bundles, and no signed repository",
            where=location,
            why="shares, promoting, withdrawing and renewing need signed metadata",
            fix="edgeops publish --to oci://... and edgeops unpack oci://...:TAG work with it; for "
            "devices publish to a folder or to s3:// as well",
        )
    if kind not in registry.names("stores"):
        raise MissingError(
            "store-unknown",
            f"no store for {kind}:// is installed",
            where=location,
            why=f"there are {', '.join((*registry.names('stores'), 'oci'))}"
            + ("; a web server is read, not written" if kind in ("http", "https") else ""),
            fix="publish to a folder and copy it to where devices read it, or install a package "
            f"that registers the store {kind!r}",
        )
    store: Store = registry.get("stores", kind).at(location, base)
    return store


def open_repository(location: str, base: Path) -> Store:
    """Return the store of a repository that is there already.

    Raises InputError ``repository-empty``, so that a wrong address is no new repository.
    """
    store = open_store(location, base)
    if not store.exists("metadata/timestamp.json"):
        raise InputError(
            "repository-empty",
            f"nothing is published at {location}",
            where=location,
            why="it has no metadata/timestamp.json",
            fix="check the address, or publish a bundle there first: edgeops publish",
        )
    return store


def is_repository(location: str, base: Path) -> bool:
    """Return whether a folder holds a published repository, or a location names another store."""
    return _SCHEME in location or (base / location / "metadata").is_dir()
