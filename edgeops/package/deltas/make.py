"""Make the delta between two versions of a file, the smallest of several ways, if it pays."""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.package.deltas import tensor, zstd
from edgeops.package.deltas.locate import locate
from edgeops.runtime.delta import apply
from edgeops.runtime.delta.header import END, SIZE, Header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_SHARE = 0.7
LEAST_SAVED = 4096
_PIECE = 1 << 20


@dataclass(frozen=True)
class Delta:
    """A delta that was applied once and gave the new file; ``data`` is what a device fetches."""

    header: Header
    data: bytes

    @property
    def digest(self) -> str:
        """The digest of the delta itself."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def share(self) -> float:
        """How large it is beside the new file."""
        return len(self.data) / max(self.header.after_size, 1)


def make(
    old: Path,
    new: Path,
    *,
    name: str,
    beside: tuple[Mapping[str, Path], Mapping[str, Path]] | None = None,
    most: float = MOST_SHARE,
    methods: tuple[str, ...] = ("tensor", "zstd"),
) -> Delta | None:
    """Return the smallest delta, None when the whole file is the better thing to send.

    ``name`` says what the file is (``model.onnx``); ``beside`` are the files that lie with the old
    and the new one, by name, where they are not in the same folder. A delta pays when it is at most
    ``most`` of the new file and saves some kilobytes.
    """
    with _mapped(old) as before, _mapped(new) as after:
        limit = min(int(most * len(after)), len(after) - LEAST_SAVED)
        hashes = [hashlib.sha256(data).hexdigest() for data in (before, after)]
        if limit <= SIZE or not len(before) or hashes[0] == hashes[1]:
            return None
        others = beside or (_folder(old), _folder(new))
        records: dict[str, bytes | None] = {}
        if "tensor" in methods:
            regions = locate(before, name, others[0]), locate(after, name, others[1])
            records["tensor"] = tensor.encode(before, after, regions)
        if "zstd" in methods:
            most_bytes = min([limit, *(len(made) for made in records.values() if made)])
            records["zstd"] = zstd.encode(before, after, most_bytes)
        sizes = {method: len(made) for method, made in records.items() if made is not None}
        method = min(sizes, key=sizes.__getitem__, default="")
        if not method or sizes[method] + SIZE + 1 > limit:
            return None
        before_digest, after_digest = (f"sha256:{each}" for each in hashes)
        header = Header(method, before_digest, after_digest, len(before), len(after))
    delta = Delta(header, header.encode() + (records[method] or b"") + bytes([END]))
    _prove(old, delta)
    return delta


def _prove(old: Path, delta: Delta) -> None:
    """Apply the delta as a device does: one that does not make its file is a fault of ours."""
    with tempfile.TemporaryDirectory() as folder:
        apply(
            old,
            delta.data,
            Path(folder) / "new",
            expect=delta.header.after,
            size=delta.header.after_size,
        )


def _folder(path: Path) -> dict[str, Path]:
    return {each.name: each for each in path.parent.iterdir() if each.is_file()}


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """Yield the bytes of a file without reading them; an empty one cannot be mapped."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            yield memoryview(b"")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            try:
                yield view
            finally:
                view.release()
