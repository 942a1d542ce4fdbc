"""Write whole or not at all, and stay inside the folder one was given."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError, MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODE_FILE = 0o644
_MODE_FOLDER = 0o755
_MOST_NEIGHBOURS = 2000
# Folders whose links this process made itself, and where they may lead: see trusted_links.
_TRUSTED: list[tuple[Path, Path]] = []


def canonical_json(value: Any) -> bytes:
    """Return ``value`` as JSON whose bytes depend on nothing but the value: sorted keys, LF end."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; raises InputError ``folder-is-file`` where a file is."""
    with disk_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(
                "folder-is-file",
                f"{folder} cannot be a folder",
                where=str(folder),
                why="it, or what it would lie in, is a file",
                fix="name another place",
            ) from error


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there; raises InputError ``folder-missing``."""
    if folder.is_dir():
        return
    raise InputError(
        "folder-missing",
        f"{folder} is a file, no folder" if folder.exists() else f"there is no folder {folder}",
        where=str(folder.absolute()),
        why="-C names the folder to work in, and does not make it",
        fix=meant(folder, "check the path, or leave -C out to work in this folder"),
    )


def meant(path: Path, otherwise: str) -> str:
    """Return what to do about a path that is not there: take its neighbour, or ``otherwise``."""
    near = None if path.exists() else neighbour(path)
    return f"did you mean {near}?" if near else otherwise


def neighbour(path: Path) -> Path | None:
    """Return what is there and has nearly the name of a path that is not, or None.

    A folder above it that is misspelt counts too: ``dits/a.bin`` finds ``dist/a.bin``.
    """
    import difflib

    if not path.parent.is_dir():
        near = neighbour(path.parent) if path.parent != path else None
        whole = near / path.name if near else None
        return whole if whole and whole.exists() else near
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, _MOST_NEIGHBOURS)]
    except OSError:
        return None
    # By stem: that two files have the same suffix says little.
    stems = set(difflib.get_close_matches(path.stem, {Path(name).stem for name in names}))
    alike = [name for name in names if Path(name).stem in stems]
    close = difflib.get_close_matches(path.name, alike, n=1, cutoff=0)
    return path.with_name(close[0]) if close else None


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path``, flush it to the disk and move it in.

    Raises InputError ``file-is-folder`` where ``path`` is a folder, and as :func:`disk_errors`.
    """
    make_folder(path.parent)
    if path.is_dir():
        raise InputError(
            "file-is-folder",
            f"{path} is a folder, and a file is to be written",
            where=str(path),
            why="a file does not take the place of a folder",
            fix="name a file in it, or another place",
        )
    with disk_errors(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(_MODE_FILE)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that replaces ``path`` when the block ends well.

    When the block raises, ``path`` is left as it was and the new folder is removed. A folder
    cannot be exchanged for another in one step everywhere, so the old one is renamed aside first;
    a kill between the two renames leaves the new folder complete under its temporary name.
    """
    make_folder(path.parent)
    with disk_errors(path):
        new = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent))
        try:
            new.chmod(_MODE_FOLDER)
            yield new
            old = new.with_suffix(".old")
            if path.is_dir():
                path.rename(old)
            elif path.exists():
                path.unlink()
            new.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into the error a person can act on."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MissingError(
                "disk-full",
                f"no space left on the disk that holds {path}",
                where=str(path),
                why=str(error),
                fix="free some space (dvc gc -w removes cached results nobody uses) and run it again",
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise MissingError(
                "not-writable",
                f"{path} cannot be written",
                where=str(path),
                why=str(error),
                fix="choose a folder you may write to, or change its permissions",
            ) from error
        raise


@contextmanager
def trusted_links(folder: Path, into: Path = Path("/")) -> Iterator[None]:
    """Let links in ``folder`` lead to ``into`` while the block runs: this process made them."""
    trusted = (folder.resolve(), into.resolve())
    _TRUSTED.append(trusted)
    try:
        yield
    finally:
        _TRUSTED.remove(trusted)


def inside(root: Path, relative: str) -> Path:
    """Return ``root / relative``, refusing anything that leads outside ``root``.

    Raises InputError ``path-outside`` for absolute paths, ``..`` and symbolic links that escape
    (but for those in :func:`trusted_links`).
    """
    pure = PurePosixPath(relative)
    candidate = root / relative
    escapes = pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative
    if escapes or not _leads_inside(candidate.resolve(), root.resolve()):
        raise InputError(
            "path-outside",
            f"{relative!r} leads outside {root}",
            where=str(root),
            why="a file may only name files within its own folder",
            fix="put the file inside the folder and name it by its relative path",
        )
    return candidate


def _leads_inside(place: Path, root: Path) -> bool:
    """Return whether a resolved path lies in ``root``, or where links of ``root`` may lead."""
    trusted = [into for folder, into in _TRUSTED if root.is_relative_to(folder)]
    return any(place.is_relative_to(each) for each in (root, *trusted))
