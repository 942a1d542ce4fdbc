"""Deltas from earlier releases to a new one, made where they pay.

What a delta is and how it is made is not known here: a function is passed in. An index, itself a
blob that the offer names, lists which file leads to which by which delta.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.channel import DELTAS_TYPE
from edgeops.core.digest import digest, sha256_bytes, sha256_file
from edgeops.core.files import canonical_json
from edgeops.core.manifest import Descriptor, parse_descriptor, parse_manifest
from edgeops.core.versions import older, order
from edgeops.errors import TransportError
from edgeops.publish.blobs import blob_path, is_there, read_blob
from edgeops.publish.releases import read_release, release_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from edgeops.core.channel import Channel
    from edgeops.core.contracts import Store
    from edgeops.core.events import Events
    from edgeops.core.manifest import Layer, Manifest
    from edgeops.publish.metadata import Served

    Pieces = Callable[[Descriptor], Iterator[bytes]]
    # Makes the delta from one file to another: its method and bytes, None where none is worth it.
    # Files that belong to one of them lie beside it, under the names that they have in a bundle.
    Make = Callable[[Path, Path], "tuple[str, bytes] | None"]

FORMAT = "edgeops.deltas/1"
_KINDS = ("variant", "runtime", "features", "rules", "labels")


@dataclass(frozen=True)
class DeltaInfo:
    """A delta that was made: for which file, from which version, and how large against the whole."""

    path: str
    target: str | None
    version: str
    old: str
    new: str
    method: str
    digest: str
    size: int
    whole: int

    def to_json(self) -> dict[str, Any]:
        """Return the delta as it stands in the result of ``publish``."""
        return {
            "path": self.path,
            "target": self.target,
            "from_version": self.version,
            "from": self.old,
            "to": self.new,
            "method": self.method,
            "bytes": self.size,
            "whole_bytes": self.whole,
            "percent": round(100 * self.size / self.whole, 2),
        }


@dataclass(frozen=True)
class Deltas:
    """What was made: the index where there is anything in it, and the bytes that were put."""

    index: Descriptor | None
    made: Sequence[DeltaInfo]
    uploaded: int


def earlier_releases(
    store: Store, served: Served, channel: Channel | None, project: str, version: str, count: int
) -> list[dict[str, Any]]:
    """Return the releases that devices may come from: those offered, then the last before this.

    At most ``count``; withdrawn ones are among them, for devices have them still, and so is the
    build of this version that is about to be replaced.
    """
    offered = [offer.version for offer in channel.offers] if channel else []
    ordered = [name for name in served.versions(project) if order(name) is not None]
    ordered.sort(key=lambda name: order(name) or (), reverse=True)
    before = [name for name in ordered if older(name, version)]
    wanted = list(dict.fromkeys((*offered, *before)))[:count]
    found = (read_release(store, served, release_path(project, name)) for name in wanted)
    return [release for release in found if release is not None]


def make_deltas(
    store: Store,
    manifest: Manifest,
    pieces: Pieces,
    earlier: Sequence[Mapping[str, Any]],
    make: Make,
    events: Events,
) -> Deltas:
    """Make and put the deltas that lead from earlier releases to a bundle, and their index.

    A release whose files somebody removed from the store is passed over.
    """
    if earlier:
        events.step("making deltas", total=len(earlier))
    made: dict[tuple[str, str], DeltaInfo] = {}
    uploaded = 0
    with tempfile.TemporaryDirectory(prefix="edgeops-") as folder:
        for release in earlier:
            with _unless_missing(), tempfile.TemporaryDirectory(dir=folder) as place:
                before = _manifest(store, release)
                for old, new in _pairs(before, manifest):
                    key = new.blob.digest, old.blob.digest
                    if key in made:
                        continue
                    found = _file(Path(place), before, old, partial(read_blob, store))
                    after = _file(Path(folder) / "new", manifest, new, pieces)
                    delta = make(found, after) if found and after else None
                    if delta is not None:
                        made[key] = _info(release["version"], old, new, *delta)
                        uploaded += _put(store, delta[1])
            events.advance()
    if not made:
        return Deltas(None, (), uploaded)
    infos = [made[key] for key in sorted(made)]
    data = encode(infos)
    return Deltas(
        Descriptor(DELTAS_TYPE, digest(sha256_bytes(data)), len(data)),
        infos,
        uploaded + _put(store, data),
    )


@contextmanager
def _unless_missing() -> Iterator[None]:
    """End the block where the store lacks a file: a delta is a saving, never a need."""
    try:
        yield
    except TransportError as error:
        if error.code != "store-missing":
            raise


def encode(infos: Iterable[DeltaInfo]) -> bytes:
    """Return the index of deltas."""
    return canonical_json(
        {
            "format": FORMAT,
            "deltas": [
                {
                    "from": info.old,
                    "to": info.new,
                    "method": info.method,
                    "digest": info.digest,
                    "size": info.size,
                }
                for info in infos
            ],
        }
    )


def _pairs(old: Manifest, new: Manifest) -> Iterator[tuple[Layer, Layer]]:
    """Yield the files that devices read and that changed under one path of one target.

    Sealed ones are left out: what is encrypted twice has nothing in common.
    """
    before = {(item.target, item.path): item for item in old.layers if item.kind in _KINDS}
    for layer in new.layers:
        known = before.get((layer.target, layer.path))
        sealed = layer.seal is not None or (known is not None and known.seal is not None)
        if known is not None and not sealed and known.blob.digest != layer.blob.digest:
            yield known, layer


def _manifest(store: Store, release: Mapping[str, Any]) -> Manifest:
    blob = parse_descriptor(release["bundle"])
    return parse_manifest(b"".join(read_blob(store, blob)), blob.digest)


def _file(folder: Path, manifest: Manifest, layer: Layer, pieces: Pieces) -> Path | None:
    """Return a layer as a file among those that belong to it, or None when its bytes are damaged.

    A delta of what a store holds damaged would fit no device.
    """
    place = folder / layer.path
    for item in manifest.layers:
        beside = folder / item.path
        if item.target == layer.target and beside.parent == place.parent and not beside.exists():
            beside.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.writelines(pieces(item.blob))
    return place if sha256_file(place) == layer.blob.hex else None


def _info(version: str, old: Layer, new: Layer, method: str, data: bytes) -> DeltaInfo:
    return DeltaInfo(
        new.path,
        new.target,
        version,
        old.blob.digest,
        new.blob.digest,
        method,
        digest(sha256_bytes(data)),
        len(data),
        new.blob.size,
    )


def _put(store: Store, data: bytes) -> int:
    blob = Descriptor("application/octet-stream", digest(sha256_bytes(data)), len(data))
    path = blob_path(blob.hex)
    if is_there(store, path, blob):
        return 0
    store.put(path, data)
    return len(data)
