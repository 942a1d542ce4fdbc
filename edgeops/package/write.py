"""Write a bundle: every file read once, hashed and written in the same pass.

Packing the same files under the same name and version gives the same bytes, whatever the folder,
the time, the user, the umask or the locale; sealed files differ each time. See
docs/formats/bundle.md.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO, FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgeops.core.digest import digest
from edgeops.core.files import disk_errors, make_folder
from edgeops.core.manifest import (
    CONFIG_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    Layer,
    Manifest,
    parse_manifest,
)
from edgeops.errors import InputError, TrustError
from edgeops.package import layout, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgeops.core.variant import Variant
    from edgeops.package.layout import Part
    from edgeops.package.sealing import Sealer

    Sign = Callable[[Descriptor], bytes]

_TAR_OF_DEFAULT_UMASK = 0o644


@dataclass(frozen=True)
class Written:
    """A bundle just written: its digest is that of its manifest."""

    path: Path
    manifest: Manifest
    digest: str
    bytes: int


def write_bundle(
    out: Path,
    name: str,
    version: str,
    parts: Sequence[Part],
    *,
    variants: Mapping[str, Variant],
    sign: Sign | None = None,
    sealer: Sealer | None = None,
) -> Written:
    """Write a bundle of ``parts``; ``sign`` makes the DSSE envelope over the manifest's descriptor.

    Every file is read once and never wholly in memory. ``sealer`` seals those that it takes.
    ``out`` is replaced when all is written. Raises InputError ``bundle-is-folder``, or
    ``pack-changed`` when a file changes while it is read, TrustError ``digest-mismatch`` when it is another than its part says or when a
    path has no place in a bundle, MissingError ``disk-full`` or ``not-writable``.
    """
    if out.is_dir():
        raise InputError(
            "bundle-is-folder",
            f"{out} is a folder",
            where=str(out),
            why="a bundle is one file, and a folder does not make way for it",
            fix=f"name a file: -o {out.name}/{name}-{version}.edgeops",
        )
    make_folder(out.parent)
    with disk_errors(out):
        handle, temporary = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                written = _Bundle(file, sealer)
                manifest = written.write(name, version, parts, variants, sign)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(_TAR_OF_DEFAULT_UMASK)
            size = Path(temporary).stat().st_size
            Path(temporary).replace(out)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    return Written(out, manifest, manifest.descriptor.digest, size)


class _Bundle:
    """A bundle that is being written."""

    def __init__(self, file: IO[bytes], sealer: Sealer | None) -> None:
        self._writer = tar.Writer(file)
        self._sealer = sealer

    def write(
        self,
        name: str,
        version: str,
        parts: Sequence[Part],
        variants: Mapping[str, Variant],
        sign: Sign | None,
    ) -> Manifest:
        self._writer.member("oci-layout", layout.LAYOUT)
        listed = [*parts, self._sealer.keys()] if self._sealer else parts
        layers = tuple(self._layer(part) for part in sorted(listed, key=lambda part: part.path))
        config = self._small(CONFIG_TYPE, layout.config(name, version, layers, variants))
        manifest = Manifest(name, version, config, layers)
        described = self._small(MANIFEST_TYPE, manifest.encode())
        parse_manifest(manifest.encode(), name)
        signature = None
        if sign is not None:
            envelope = self._small(layout.ENVELOPE_TYPE, sign(described))
            empty = self._small(layout.EMPTY_TYPE, layout.EMPTY)
            signed = layout.signature_manifest(described, empty, envelope)
            signature = self._small(MANIFEST_TYPE, signed)
        self._writer.member("index.json", layout.index(described, signature))
        self._writer.close()
        return manifest

    def _layer(self, part: Part) -> Layer:
        media_type = layout.media_type(part.path, part.kind)
        try:
            with _opened(part.source) as (file, size):
                if self._sealer is not None and self._sealer.takes(part):
                    layer = self._sealed(self._sealer, part, file, size, media_type)
                else:
                    blob = Descriptor(media_type, digest(self._writer.blob(file, size)), size)
                    layer = Layer(blob, part.path, part.kind, part.target)
        except ValueError as error:
            raise InputError(
                "pack-changed",
                f"{part.source!s} changed while it was packed",
                where=str(part.source),
                why=str(error),
                fix="wait until nothing writes to it and pack again",
            ) from error
        if part.sha256 and layer.content.hex != part.sha256:
            raise _differs(part)
        return layer

    def _sealed(
        self, sealer: Sealer, part: Part, file: FileIO | BytesIO, size: int, media_type: str
    ) -> Layer:
        from edgeops.core.manifest import sealed_size

        source = sealer.sealed(part.path, file, size)
        length = sealed_size(size)
        blob = Descriptor(media_type, digest(self._writer.blob(source, length)), length)
        return Layer(blob, part.path, part.kind, part.target, source.seal)

    def _small(self, media_type: str, data: bytes) -> Descriptor:
        name = self._writer.blob(BytesIO(data), len(data))
        return Descriptor(media_type, digest(name), len(data))


@contextmanager
def _opened(source: Path | bytes) -> Iterator[tuple[FileIO | BytesIO, int]]:
    if isinstance(source, bytes):
        yield BytesIO(source), len(source)
        return
    with source.open("rb", buffering=0) as file:
        yield file, os.fstat(file.fileno()).st_size


def _differs(part: Part) -> TrustError:
    return TrustError(
        "digest-mismatch",
        f"{Path(part.path).name} is not the file that variant.json describes",
        where=str(part.source),
        why="its sha256 differs",
        fix="convert or unpack the variant again",
    )
