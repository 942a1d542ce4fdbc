"""The bundle: an OCI image layout in one tar, read without trusting it (docs/formats/bundle.md)."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeops.core.digest import digest
from edgeops.core.files import meant
from edgeops.core.manifest import Descriptor, malformed, parse_manifest
from edgeops.errors import InputError, TrustError
from edgeops.package import layout, tar
from edgeops.package.copy import PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import FileIO
    from pathlib import Path


class Bundle:
    """An open bundle whose every byte was checked; get one from :func:`open_bundle`."""

    def __init__(
        self, file: FileIO, where: str, size: int, places: Mapping[str, tuple[int, int]]
    ) -> None:
        self._file = file
        self._places = places
        self._paths: dict[str, str] = {}
        self.where = where
        self.size = size
        self.manifest_descriptor, self.signature_descriptor = layout.parse_index(
            self._read("index.json", layout.MAX_INDEX), where
        )
        self.manifest_bytes = self.read(self.manifest_descriptor, layout.MAX_MANIFEST)
        self.manifest = parse_manifest(self.manifest_bytes, where)
        self._paths = {item.blob.digest: item.path for item in self.manifest.layers}
        self.envelope_descriptor = self._envelope()

    @property
    def digest(self) -> str:
        """The digest of the manifest, which names the bundle."""
        return self.manifest_descriptor.digest

    def blobs(self) -> tuple[Descriptor, ...]:
        """Return every blob of the bundle once: manifest, signature, config, then the layers."""
        listed = [self.manifest_descriptor, *self._signature_blobs(), self.manifest.config]
        listed += [item.blob for item in self.manifest.layers]
        return tuple({item.digest: item for item in listed}.values())

    def read(self, blob: Descriptor, limit: int) -> bytes:
        """Return a small blob, checked; raises TrustError when it is not what its digest says."""
        data = self._read(f"blobs/sha256/{blob.hex}", limit)
        if len(data) != blob.size or hashlib.sha256(data).hexdigest() != blob.hex:
            raise self._differs(blob)
        return data

    def pieces(self, blob: Descriptor) -> Iterator[bytes]:
        """Yield a blob in pieces, checked as it goes: the error comes after the last piece."""
        for piece in self._views(blob):
            yield bytes(piece)

    def place(self, blob: Descriptor) -> tuple[FileIO, int, int]:
        """Return the bundle's file, and offset and size of a blob in it."""
        return self._file, *self._place(f"blobs/sha256/{blob.hex}")

    def check(self) -> None:
        """Check every blob against its digest, once, and that there is no other blob."""
        expected = {f"blobs/sha256/{item.hex}" for item in self.blobs()}
        expected |= {"oci-layout", "index.json"}
        for name in self._places:
            if name not in expected:
                raise malformed(self.where, f"nothing in it refers to {name}")
        if self._read("oci-layout", layout.MAX_INDEX) != layout.LAYOUT:
            raise malformed(self.where, "oci-layout is not of this format")
        for blob in self.blobs():
            for _ in self._views(blob):
                pass

    def _views(self, blob: Descriptor) -> Iterator[memoryview]:
        """Yield a blob in pieces that hold until the next one, checked as it goes."""
        offset, size = self._place(f"blobs/sha256/{blob.hex}")
        if size != blob.size:
            raise self._differs(blob)
        sha, done, buffer = hashlib.sha256(), 0, memoryview(bytearray(min(PIECE, size)))
        while done < size:
            self._file.seek(offset + done)
            count = self._file.readinto(buffer[: min(PIECE, size - done)])
            if not count:
                break
            done += count
            sha.update(buffer[:count])
            yield buffer[:count]
        if done != size or sha.hexdigest() != blob.hex:
            raise self._differs(blob)

    def _envelope(self) -> Descriptor | None:
        if self.signature_descriptor is None:
            return None
        data = self.read(self.signature_descriptor, layout.MAX_INDEX)
        return layout.parse_signature_manifest(data, self.manifest_descriptor, self.where)

    def _signature_blobs(self) -> list[Descriptor]:
        if self.signature_descriptor is None or self.envelope_descriptor is None:
            return []
        empty = Descriptor(
            layout.EMPTY_TYPE,
            digest(hashlib.sha256(layout.EMPTY).hexdigest()),
            len(layout.EMPTY),
        )
        return [self.signature_descriptor, self.envelope_descriptor, empty]

    def _read(self, name: str, limit: int) -> bytes:
        offset, size = self._place(name)
        if size > limit:
            raise malformed(self.where, f"{name} has {size} bytes, more than the {limit} it may")
        self._file.seek(offset)
        return self._file.read(size)

    def _place(self, name: str) -> tuple[int, int]:
        if name not in self._places:
            raise malformed(self.where, f"it has no {name}")
        return self._places[name]

    def _differs(self, blob: Descriptor) -> TrustError:
        return TrustError(
            "digest-mismatch",
            f"{self._paths.get(blob.digest, blob.media_type)} in the bundle is not the file that its manifest names",
            where=self.where,
            why=f"its sha256 is not {blob.hex}",
            fix="take the bundle again from where it came: this one was changed or damaged",
        )


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle and check its every byte before anything of it is used.

    Raises InputError ``bundle-missing`` or ``not-a-bundle``; TrustError ``bundle-truncated``,
    ``bundle-malformed``, ``bundle-path-outside`` or ``digest-mismatch``.
    """
    where = str(path)
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        _refuse_others(file, size, where)
        places = {name: (at, length) for name, at, length in tar.members(file, size, where)}
        bundle = Bundle(file, where, size, places)
        bundle.check()
        yield bundle


def check_there(path: Path) -> None:
    """Open a file and read nothing; raises InputError ``bundle-missing``."""
    _opened(path).close()


def _opened(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise InputError(
            "bundle-missing",
            f"there is no bundle at {path}",
            where=str(path),
            why=error.strerror or str(error),
            fix=_instead(path),
        ) from error


def _instead(path: Path) -> str:
    """Return what to do where no bundle can be read."""
    if path.is_dir():
        found = [file for file in path.glob("*.edgeops") if file.is_file()]
        if not found:
            return "name the .edgeops file that edgeops pack wrote"
        return f"name a file in it, such as {max(found, key=lambda file: file.stat().st_mtime)}"
    return meant(path, "check the path, or make it: edgeops run pack")


def is_bundle(path: Path) -> bool:
    """Return whether a file begins as a bundle does."""
    try:
        with path.open("rb") as file:
            return _begins(file.read(tar.BLOCK))
    except OSError:
        return False


def _begins(block: bytes) -> bool:
    return block == tar.header("oci-layout", len(layout.LAYOUT))


def _refuse_others(file: FileIO, size: int, where: str) -> None:
    if _begins(file.read(tar.BLOCK)):
        return
    raise InputError(
        "not-a-bundle",
        f"{where} is not a bundle",
        where=where,
        why="it is empty" if size == 0 else "it does not begin as an edgeops bundle does",
        fix="name the .edgeops file that edgeops pack wrote",
    )
