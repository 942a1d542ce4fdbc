"""Blobs of a repository: put there once, under the sha256 of their bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeops.core.contracts import Store
    from edgeops.core.events import Events
    from edgeops.core.manifest import Descriptor

    Pieces = Callable[[Descriptor], Iterator[bytes]]

_PIECE = 8 << 20


def blob_path(hexadecimal: str) -> str:
    """Return where a blob lies in a repository."""
    return f"blobs/sha256/{hexadecimal}"


def upload(store: Store, blobs: Sequence[Descriptor], pieces: Pieces, events: Events) -> int:
    """Put the blobs that are not there yet; returns the bytes that were put."""
    events.step("comparing blobs with the repository", total=len(blobs))
    missing = []
    for blob in blobs:
        if not is_there(store, blob_path(blob.hex), blob):
            missing.append(blob)
        events.advance()
    if missing:
        events.step("uploading blobs", total=len(missing))
    for blob in missing:
        store.put(blob_path(blob.hex), pieces(blob))
        events.advance()
    return sum(blob.size for blob in missing)


def read_blob(store: Store, blob: Descriptor) -> Iterator[bytes]:
    """Yield what a store has of a blob, unchecked."""
    done = 0
    while done < blob.size:
        piece = store.get(blob_path(blob.hex), done, min(_PIECE, blob.size - done))
        if not piece:
            break
        done += len(piece)
        yield piece


def is_there(store: Store, path: str, blob: Descriptor) -> bool:
    """Return whether a blob is there: by its bytes, or where reading is dear, by its size.

    A store that has ``size(path)`` says by it that what it holds is what was put.
    """
    size = getattr(store, "size", None)
    if size is not None:
        return bool(size(path) == blob.size)
    if not store.exists(path):
        return False
    sha = hashlib.sha256()
    start = 0
    while start <= blob.size:
        piece = store.get(path, start, _PIECE)
        sha.update(piece)
        start += len(piece)
        if len(piece) < _PIECE:
            break
    return sha.hexdigest() == blob.hex
