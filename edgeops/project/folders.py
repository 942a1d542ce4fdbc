"""A folder of pictures or sounds as a data set: one subfolder a class, or a ``labels.csv``.

With subfolders the label of a file is the place of its subfolder among all of them by name, from 0,
as is usual. ``labels.csv`` has the columns ``file`` and ``labels`` and may have ``slice:<key>``; its
labels are whole numbers, else numbers, else text. Files are kept as they are, encoded: what decodes
them is the features, here as on the device.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from edgeops.core.contracts import Samples
from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import inside
from edgeops.errors import InputError
from edgeops.project.annotations import LABELS, SLICE
from edgeops.project.few import places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TABLE = "labels.csv"
_FILE = "file"
KINDS = {
    **dict.fromkeys(("jpg", "jpeg", "png", "bmp", "gif", "webp", "ppm", "pgm"), "image"),
    "wav": "audio",
}
_MOST_BYTES = 8 << 30


class Folder:
    """A folder of files; registered as the data set kind ``folder``."""

    name = "folder"
    api = 1

    def read(self, path: Path) -> Samples:
        """Read all files of the folder; the array is called ``image`` or ``audio``.

        Raises InputError ``data-empty`` or ``data-malformed``.
        """
        kind, files, told = _listing(path)
        data = [file.read_bytes() for file in files]
        content = "".join(
            f"{file.relative_to(path)} {label} {sha256_bytes(one)}\n"
            for file, label, one in zip(files, told[LABELS], data, strict=True)
        )
        named = digest(sha256_bytes(content.encode()))
        arrays = {kind: _encoded(data)}
        return Samples(arrays, told[LABELS], len(files), str(path), named, _slices(told))

    def few(self, path: Path) -> Samples:
        """Read few of the files, spread over all of them; raises what ``read`` does.

        Slices are those of all files, as ``project.few`` has them; bytes that were not read have no
        digest.
        """
        kind, files, told = _listing(path)
        at = places(len(files))
        arrays = {kind: _encoded([files[index].read_bytes() for index in at])}
        return Samples(arrays, told[LABELS][at], len(at), str(path), "", _slices(told))


def _listing(path: Path) -> tuple[str, list[Path], dict[str, Any]]:
    """Return of a folder its kind, its files, and what is told of each."""
    table = path / TABLE
    files, told = _listed(table) if table.is_file() else _by_class(path)
    kinds = {_kind(file) for file in files}
    if len(kinds) != 1 or None in kinds:
        why = f"it holds {', '.join(sorted({file.suffix or file.name for file in files}))}"
        raise _malformed(path, f"{why}; one kind of files makes a data set")
    if sum(file.stat().st_size for file in files) > _MOST_BYTES:
        raise _malformed(path, f"its files have more than {_MOST_BYTES >> 30} GiB")
    return str(kinds.pop()), files, told


def _slices(told: dict[str, Any]) -> dict[str, Any]:
    return {key[len(SLICE) :]: array for key, array in told.items() if key != LABELS}


def _by_class(path: Path) -> tuple[list[Path], dict[str, Any]]:
    import numpy as np

    classes = sorted(each for each in path.iterdir() if each.is_dir())
    files, labels = [], []
    for index, folder in enumerate(classes):
        here = [each for each in sorted(folder.iterdir()) if each.is_file() and _kind(each)]
        files += here
        labels += [index] * len(here)
    if not files:
        raise InputError(
            "data-empty",
            f"{path.name} holds no samples",
            where=str(path),
            why=f"it has {len(classes)} subfolders, and no picture or .wav in them, and no {TABLE}",
            fix=f"give each class a subfolder with its files, or write {TABLE}: file,labels",
        )
    return files, {LABELS: np.array(labels)}


def _listed(table: Path) -> tuple[list[Path], dict[str, Any]]:
    import numpy as np

    from edgeops.project.datasets import typed_labels

    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _malformed(table, str(error)) from error
    names = list(rows[0]) if rows else []
    if _FILE not in names or LABELS not in names:
        raise _malformed(table, f"its columns are {', '.join(map(str, names)) or 'none'}")
    files = [_there(table, row) for row in rows]
    told = {LABELS: typed_labels(_cells(table, rows, LABELS))}
    slices = [name for name in names if isinstance(name, str) and name.startswith(SLICE)]
    told |= {name: np.array(_cells(table, rows, name)) for name in slices}
    return files, told


def _cells(table: Path, rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    cells = [row[name] for row in rows]
    if any(cell is None for cell in cells):
        raise _malformed(table, f"a row has no {name}")
    return [cell.strip() for cell in cells]


def _there(table: Path, row: Mapping[str, Any]) -> Path:
    file = inside(table.parent, str(row[_FILE]))
    if not file.is_file():
        raise _malformed(table, f"it names {row[_FILE]}, and there is no such file")
    return file


def _kind(file: Path) -> str | None:
    return KINDS.get(file.suffix.removeprefix(".").lower())


def _encoded(data: Sequence[bytes]) -> Any:
    """Return an array of objects: one array of bytes a file, of whatever length."""
    import numpy as np

    found = np.empty(len(data), dtype=object)
    for row, one in enumerate(data):
        found[row] = np.frombuffer(one, np.uint8)
    return found


def _malformed(path: Path, why: str) -> InputError:
    return InputError(
        "data-malformed",
        f"{path.name} cannot be read as a data set",
        where=str(path),
        why=why,
        fix=f"give each class a subfolder of pictures or .wav files, or write {TABLE} with the "
        "columns file and labels",
    )
