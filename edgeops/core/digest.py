"""Names of bytes: sha256, everywhere."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "sha256:"
_PIECE = 1 << 18


def sha256_bytes(data: bytes) -> str:
    """Return the sha256 of ``data`` as 64 hex characters."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file as 64 hex characters, read in pieces."""
    found, piece = hashlib.sha256(), memoryview(bytearray(_PIECE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            found.update(piece[:count])
    return found.hexdigest()


def digest(hexadecimal: str) -> str:
    """Return the OCI form ``sha256:<hex>``."""
    return PREFIX + hexadecimal


def tree_digest(entries: dict[str, str]) -> str:
    """Return the digest of a folder from its ``{relative POSIX path: sha256 hex}``.

    The sha256 of the lines ``<hex>  <path>`` in path order, which is what ``sha256sum`` prints.
    """
    lines = "".join(f"{entries[path]}  {path}\n" for path in sorted(entries))
    return digest(sha256_bytes(lines.encode()))
