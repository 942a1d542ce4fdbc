"""Read a file that a person named, whole, or say what is wrong with it before reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core.files import meant
from edgeops.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 2 * 1024**3
LFS = b"version https://git-lfs.github.com/spec/"


def read_bytes(path: Path, limit: int = LIMIT) -> bytes:
    """Return the bytes of a file.

    Raises InputError ``model-missing``, ``model-not-a-file``, ``model-too-large``,
    ``model-unreadable``, ``model-empty`` or ``model-lfs-pointer``.
    """
    if not path.exists():
        fix = meant(path, "check the path")
        raise _error("model-missing", path, "is not there", "no such file", fix)
    if not path.is_file():
        why = "it is a folder" if path.is_dir() else "it is a device, a pipe or a socket"
        raise _error("model-not-a-file", path, "is not a file", why, "name the model file itself")
    size = path.stat().st_size
    if size > limit:
        why = f"edgeops reads files of up to {limit} bytes"
        fix = "make the model smaller: fewer parameters, float16 weights, or split it"
        raise _error("model-too-large", path, f"is too large: {size} bytes", why, fix)
    try:
        data = path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        fix = "make the file readable for the user that runs edgeops"
        raise _error("model-unreadable", path, "cannot be read", why, fix) from error
    if not data:
        why = "the file has 0 bytes: whatever wrote it stopped before it began"
        fix = "export the model again, or fetch it again with: dvc pull"
        raise _error("model-empty", path, "is empty", why, fix)
    if data.startswith(LFS):
        why = "the repository was cloned without its large files"
        what = "is a git-LFS pointer, not the model itself"
        raise _error("model-lfs-pointer", path, what, why, "git lfs pull")
    return data


def damaged(path: Path, what: str, why: str) -> InputError:
    """Return the error ``model-damaged`` for a file that begins as ``what`` and then goes wrong."""
    return InputError(
        "model-damaged",
        f"{path.name} begins as {what}, but is cut off or damaged",
        where=str(path),
        why=why,
        fix="copy or download it again and compare sizes; or make it again",
    )


def _error(code: str, path: Path, what: str, why: str, fix: str) -> InputError:
    return InputError(code, f"{path.name} {what}", where=str(path), why=why, fix=fix)
