"""The bundle: an OCI image layout in one tar, written in one pass and read without trusting it.

Packing the same files under the same name and version gives the same bytes, whatever the folder,
the time, the user, the umask or the locale. See docs/formats/bundle.md.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edgeops.core.digest import digest
from edgeops.core.files import disk_errors
from edgeops.core.manifest import (
    CONFIG_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    Layer,
    Manifest,
    malformed,
    parse_manifest,
)
from edgeops.errors import InputError, TrustError
from edgeops.package import layout, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgeops.core.variant import Variant
    from edgeops.package.layout import Part

    Sign = Callable[[Descriptor], bytes]

_TAR_OF_DEFAULT_UMASK = 0o644
_MIN_BUNDLE = 3 * tar.BLOCK


@dataclass(frozen=True)
class Written:
    """A bundle just written: its digest is that of its manifest."""

    path: Path
    manifest: Manifest
    digest: str
    bytes: int


class Bundle:
    """An open bundle whose every byte was checked; get one from :func:`open_bundle`."""

    def __init__(
        self, file: IO[bytes], where: str, size: int, places: Mapping[str, tuple[int, int]]
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
        offset, size = self._place(f"blobs/sha256/{blob.hex}")
        if size != blob.size:
            raise self._differs(blob)
        sha = hashlib.sha256()
        done = 0
        while done < size:
            self._file.seek(offset + done)
            piece = self._file.read(min(tar.PIECE, size - done))
            if not piece:
                break
            done += len(piece)
            sha.update(piece)
            yield piece
        if done != size or sha.hexdigest() != blob.hex:
            raise self._differs(blob)

    def check(self) -> None:
        """Check every blob against its digest, and that there is no other blob."""
        expected = {f"blobs/sha256/{item.hex}" for item in self.blobs()}
        expected |= {"oci-layout", "index.json"}
        for name in self._places:
            if name not in expected:
                raise malformed(self.where, f"nothing in it refers to {name}")
        if self._read("oci-layout", layout.MAX_INDEX) != layout.LAYOUT:
            raise malformed(self.where, "oci-layout is not of this format")
        for blob in self.blobs():
            for _ in self.pieces(blob):
                pass

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


def write_bundle(
    out: Path,
    name: str,
    version: str,
    parts: Sequence[Part],
    *,
    variants: Mapping[str, Variant],
    sign: Sign | None = None,
) -> Written:
    """Write a bundle of ``parts``; ``sign`` makes the DSSE envelope over the manifest's descriptor.

    Every file is read once and never wholly in memory. ``out`` is replaced when all is written.
    Raises InputError ``pack-changed`` when a file changes while it is read, TrustError when a path
    has no place in a bundle, MissingError ``disk-full`` or ``not-writable``.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(out):
        handle, temporary = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                manifest = _write(file, name, version, parts, variants, sign)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(_TAR_OF_DEFAULT_UMASK)
            size = Path(temporary).stat().st_size
            Path(temporary).replace(out)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    return Written(out, manifest, manifest.descriptor.digest, size)


def _write(
    file: IO[bytes],
    name: str,
    version: str,
    parts: Sequence[Part],
    variants: Mapping[str, Variant],
    sign: Sign | None,
) -> Manifest:
    writer = tar.Writer(file)
    writer.member("oci-layout", layout.LAYOUT)
    layers = tuple(_layer(writer, part) for part in sorted(parts, key=lambda part: part.path))
    config = _small(writer, CONFIG_TYPE, layout.config(name, version, layers, variants))
    manifest = Manifest(name, version, config, layers)
    described = _small(writer, MANIFEST_TYPE, manifest.encode())
    parse_manifest(manifest.encode(), name)
    signature = None
    if sign is not None:
        envelope = _small(writer, layout.ENVELOPE_TYPE, sign(described))
        empty = _small(writer, layout.EMPTY_TYPE, layout.EMPTY)
        signature = _small(
            writer, MANIFEST_TYPE, layout.signature_manifest(described, empty, envelope)
        )
    writer.member("index.json", layout.index(described, signature))
    writer.close()
    return manifest


def _layer(writer: tar.Writer, part: Part) -> Layer:
    media_type = layout.media_type(part.path, part.kind)
    if isinstance(part.source, bytes):
        return Layer(_small(writer, media_type, part.source), part.path, part.kind, part.target)
    try:
        with part.source.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            name = writer.blob(source, size)
    except ValueError as error:
        raise InputError(
            "pack-changed",
            f"{part.source} changed while it was packed",
            where=str(part.source),
            why=str(error),
            fix="wait until nothing writes to it and pack again",
        ) from error
    return Layer(Descriptor(media_type, digest(name), size), part.path, part.kind, part.target)


def _small(writer: tar.Writer, media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type, digest(writer.blob(BytesIO(data), len(data))), len(data))


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle and check its every byte before anything of it is used.

    Raises InputError ``bundle-missing`` or ``not-a-bundle``; TrustError ``bundle-truncated``,
    ``bundle-malformed``, ``bundle-path-outside`` or ``digest-mismatch``.
    """
    where = str(path)
    try:
        file = path.open("rb")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise InputError(
            "bundle-missing",
            f"there is no bundle at {path}",
            where=where,
            why=error.strerror or str(error),
            fix="make one with: edgeops run pack",
        ) from error
    with file:
        size = os.fstat(file.fileno()).st_size
        _refuse_others(file, size, where)
        places = {name: (at, length) for name, at, length in tar.members(file, size, where)}
        bundle = Bundle(file, where, size, places)
        bundle.check()
        yield bundle


def is_bundle(path: Path) -> bool:
    """Return whether a file begins as a bundle does."""
    try:
        with path.open("rb") as file:
            return _begins(file.read(tar.BLOCK))
    except OSError:
        return False


def _begins(block: bytes) -> bool:
    return block == tar.header("oci-layout", len(layout.LAYOUT))


def _refuse_others(file: IO[bytes], size: int, where: str) -> None:
    if _begins(file.read(tar.BLOCK)):
        return
    raise InputError(
        "not-a-bundle",
        f"{where} is not a bundle",
        where=where,
        why="it is empty" if size == 0 else "it does not begin as an edgeops bundle does",
        fix="name the .edgeops file that edgeops pack wrote",
    )


def inspect_bundle(path: Path) -> dict[str, Any]:
    """Return what is inside a bundle, as JSON; raises what :func:`open_bundle` raises."""
    from edgeops.package.chain import read_variants

    with open_bundle(path) as bundle:
        variants = read_variants(bundle)
        first = next(iter(variants.values()), None)
        return {
            "format": "edgeops bundle",
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "digest": bundle.digest,
            "bytes": bundle.size,
            "signed": bundle.signature_descriptor is not None,
            "inputs": [item.to_json() for item in first.inputs] if first else [],
            "outputs": [item.to_json() for item in first.outputs] if first else [],
            "targets": {
                name: {
                    "engine": item.engine,
                    "engine_version": item.engine_version,
                    "precision": item.precision,
                    "digest": item.digest,
                    "bytes": item.bytes,
                }
                for name, item in variants.items()
            },
            "layers": layers_json(bundle.manifest),
        }


def layers_json(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the files of a bundle as they stand in results: path, kind, target, bytes, digest."""
    return [
        {
            "path": item.path,
            "kind": item.kind,
            "target": item.target,
            "bytes": item.blob.size,
            "digest": item.blob.digest,
        }
        for item in manifest.layers
    ]
