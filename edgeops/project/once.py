"""Data sets that were read already, kept for as long as somebody wants each to be read once.

A look at a whole project asks for the same data again for every stage and target. What is kept is
shared: nobody may write into it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from pathlib import Path

    from edgeops.core.contracts import Samples

# Beyond so many bytes in all, what is read is not kept: it is read again rather than held.
MOST = 256 << 20
_kept: ContextVar[dict[Hashable, Samples] | None] = ContextVar("kept", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Read each data set once while the block runs, and let go of all of them at its end."""
    if _kept.get() is not None:
        yield
        return
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def once(spec: str, root: Path, read: Callable[[], Samples]) -> Samples:
    """Return what ``read`` gives, or gave for the same file with the same bytes on the disk."""
    kept = _kept.get()
    if kept is None:
        return read()
    name = _identity(spec, root)
    if name not in kept:
        samples = read()
        if sum(map(_size, (*kept.values(), samples))) > MOST:
            return samples
        kept[name] = samples
    return kept[name]


def _identity(spec: str, root: Path) -> Hashable:
    try:
        found = (root / spec).stat()
    except OSError:
        return spec, root  # module:function
    return spec, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _size(samples: Samples) -> int:
    arrays: list[Any] = [*samples.arrays.values(), *samples.slices.values(), samples.labels]
    return sum(array.nbytes for array in arrays if array is not None)
