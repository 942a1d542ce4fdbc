"""Read data sets: ``.npz``, ``.csv`` or ``module:function``; say whether they fit a model.

``.npz``  one array per model input, first axis = samples, plus ``labels``; an array of rank 0
          stands for all samples. Other arrays of the same length (names, say) are left aside.
          ``labels:rows`` and ``slice:<key>`` say more of the samples (see ``annotations``).
          Pickled objects are never read.
``.csv``  numbers, one sample a row. With a header the column ``labels`` holds the labels, without
          one the first column does, and ``slice:<key>`` slices. All other columns together, in
          order, are the one input of a model; where a model has several inputs each column feeds the input of its name.
a folder  of pictures or sounds, with a subfolder a class or labels.csv (see ``folders``).
``module:function``  called without arguments, yields batches ``{input name: array}`` with
          ``labels`` among them (or a list of one array a sample, where they have different
          numbers of rows); the module is looked for in the project's folder first.

A data set is fed as it is: dtypes must be those of the model, nothing is cast in silence, since
what is measured has to be what runs on the device. Text alone has no dtype: CSV columns are read
as what the input takes.
"""

from __future__ import annotations

import importlib
import re
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.core.contracts import Samples
from edgeops.core.digest import digest, sha256_bytes, sha256_file
from edgeops.core.files import meant
from edgeops.errors import InputError, from_findings
from edgeops.project.annotations import (
    LABELS,
    ROWS,
    SLICE,
    flattened,
    is_text,
    labels_of,
    slices_of,
)
from edgeops.project.fit import check_fit, described
from edgeops.project.once import once
from edgeops.runtime.batch import bind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgeops.core.variant import TensorInfo

__all__ = ["Csv", "Npz", "check_fit", "load_samples", "samples_for"]

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_ZIP = b"PK"
FOLDER = "folder"
_MADE = ("data-shape", "data-dtype")
_LFS = b"version https://git-lfs.github.com/spec/"


def load_samples(spec: str, root: Path, features: str = "") -> Samples:
    """Read the data set that ``spec`` names: a path relative to ``root`` or ``module:function``.

    With ``features``, a document of the project, the data are raw, and come back as what these make
    of them: arrays by model input.

    Raises InputError ``data-missing``, ``data-empty``, ``data-malformed``, ``data-objects``,
    ``data-lengths``, ``data-lfs-pointer``, ``data-format-unknown``, ``data-function-failed``.
    """
    if features:
        from edgeops.project.documents import features_of, made_samples, read_document

        made = features_of(read_document(features, root))
        return made_samples(load_samples(spec, root), made)
    return _read(spec, root, only_few=False)


def _read(spec: str, root: Path, *, only_few: bool) -> Samples:
    """Read a data set as it is; with ``only_few`` a folder opens but few of its files."""
    path = root / spec
    if _FUNCTION.fullmatch(spec) and not path.exists():
        return once(spec, root, lambda: _from_function(spec, root))
    kind = FOLDER if path.is_dir() else path.suffix.removeprefix(".").lower()
    if kind not in registry.names("datasets"):
        known = ", ".join(f".{name}" for name in registry.names("datasets") if name != FOLDER)
        raise InputError(
            "data-format-unknown",
            f"{spec} is no data set that edgeops reads",
            where=str(path),
            why=f"it goes by the suffix: {known}; or a folder, or module:function",
            fix="save the arrays with numpy.savez(FILE, <input name>=..., labels=...)",
        )
    reader = registry.get("datasets", kind)
    if kind == FOLDER:
        samples: Samples = (reader.few if only_few else reader.read)(path)
    else:
        _readable(path)
        samples = once(spec, root, lambda: reader.read(path))
    # Reports and bundles quote the source: as the project names it, never by this machine's path.
    return replace(samples, source=path.name if Path(spec).is_absolute() else spec)


def samples_for(
    spec: str,
    root: Path,
    inputs: Sequence[TensorInfo],
    *,
    labels: bool = False,
    features: str = "",
    only_few: bool = False,
    take: Callable[[Samples], Samples] = lambda whole: whole,
) -> Samples:
    """Read a data set and bind it to a model's inputs, refusing one that does not fit.

    ``features`` as in ``load_samples``. They take their time, so they are made of no more than what
    ``take`` leaves of the samples; with ``only_few`` of a few, for who wants to know whether the
    data fit at all. Raises what ``load_samples`` does and InputError with all findings of
    ``check_fit``.
    """
    if features:
        from edgeops.project.documents import features_for, made_samples
        from edgeops.project.few import few

        made = features_for(features, root, inputs)
        raw = _read(spec, root, only_few=only_few)
        samples = made_samples(few(raw) if only_few else take(raw), made)
    else:
        samples = load_samples(spec, root)
    findings = check_fit(samples, inputs, labels=labels)
    if features:  # nobody can save these arrays otherwise: features made them
        fix = f"have the steps in {features} make it so; resize gives pictures of all sizes one"
        findings = [replace(each, fix=fix) if each.code in _MADE else each for each in findings]
    if findings:
        raise from_findings(findings)
    return bind(samples if features else take(samples), inputs)


class Npz:
    """NumPy's archive; registered as the data set kind ``npz``."""

    name = "npz"
    api = 1

    def read(self, path: Path) -> Samples:
        """Read all arrays, refusing pickled objects and arrays of different lengths."""
        import zipfile
        import zlib

        import numpy as np

        arrays: dict[str, Any] = {}
        name = ""
        fix = "write it again with numpy.savez(FILE, <input name>=..., labels=...)"
        try:
            with path.open("rb") as file:
                if file.read(2) != _ZIP:
                    raise _malformed(path, "it is no .npz archive", fix)
                file.seek(0)
                archive = np.load(file, allow_pickle=False)
                for name in archive.files:
                    arrays[name] = archive[name]
                    if not isinstance(arrays[name], np.ndarray):
                        raise _malformed(path, f"the member {name!r} is no array", fix)
        except (
            *(zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError),
            *(ValueError, AttributeError, OverflowError, MemoryError, RuntimeError, KeyError),
        ) as error:
            if "Object arrays" in str(error):
                raise InputError(
                    "data-objects",
                    f"the array {name!r} of {path.name} holds Python objects",
                    where=str(path),
                    why="reading them would run code from the file (pickle), so edgeops never does",
                    fix="give the array a numeric dtype before saving, all rows of one length",
                ) from error
            raise _malformed(path, str(error), fix) from error
        return _samples(arrays, path, digest(sha256_file(path)))


class Csv:
    """A table of numbers; registered as the data set kind ``csv``."""

    name = "csv"
    api = 1

    def read(self, path: Path) -> Samples:
        """Read columns by their name, or by their number when there is no header."""
        import csv

        import numpy as np

        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = [row for row in csv.reader(file) if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise _malformed(path, str(error), "save it as UTF-8 text") from error
        header = rows[0] if rows and not all(map(_is_number, rows[0])) else None
        body = rows[1:] if header else rows
        names = (
            [name.strip() for name in header] if header else _numbered(len(rows[0]) if rows else 0)
        )
        first = 2 if header else 1
        _check_rows(path, body, names, first)
        columns: dict[str, Any] = {}
        for index, name in enumerate(names):
            cells = [row[index].strip() for row in body]
            if name == LABELS:
                columns[name] = typed_labels(cells)
            elif name.startswith(SLICE):
                columns[name] = np.array(cells)
            else:
                columns[name] = np.array([float(cell) for cell in cells])
        return _samples(columns, path, digest(sha256_file(path)))


def _check_rows(path: Path, body: list[list[str]], names: list[str], first: int) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise _malformed(path, f"two columns are called {twice[0]!r}", "give each its own name")
    for line, row in enumerate(body, first):
        if len(row) != len(names):
            why = f"line {line} has {len(row)} cells, the first line {len(names)}"
            raise _malformed(path, why, "give every row the same number of cells", line)
        for name, cell in zip(names, row, strict=True):
            if not is_text(name) and not _is_number(cell):
                why = f"line {line}, column {name!r}: {cell!r} is not a number"
                raise _malformed(path, why, "keep numbers only, and a column called labels", line)


def _numbered(count: int) -> list[str]:
    return [LABELS, *(str(index) for index in range(count - 1))] if count else []


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def typed_labels(cells: list[str]) -> Any:
    """Return labels as whole numbers, else numbers, else text."""
    import numpy as np

    for kind in (int, float):
        try:
            return np.array([kind(cell) for cell in cells])
        except ValueError:
            continue
    return np.array(cells)


def _from_function(spec: str, root: Path) -> Samples:
    import numpy as np

    module, _, function = spec.partition(":")
    try:
        with _importing_from(root):
            batches = list(getattr(importlib.import_module(module), function)())
        names = [name for name in batches[0] if name != LABELS] if batches else []
        arrays = {
            name: np.asarray(batches[0][name])
            if np.ndim(batches[0][name]) == 0
            else np.concatenate([np.asarray(batch[name]) for batch in batches])
            for name in names
        }
        if batches and LABELS in batches[0]:
            arrays |= flattened([batch[LABELS] for batch in batches])
    except Exception as error:  # a user's function may fail in any way
        raise InputError(
            "data-function-failed",
            f"{spec} did not give a data set",
            where=spec,
            why=f"{type(error).__name__}: {error}",
            fix="make it a function without arguments that yields {input name: array} batches",
        ) from error
    content = "".join(
        f"{name} {array.dtype} {array.shape} {sha256_bytes(array.tobytes())}\n"
        for name, array in sorted(arrays.items())
    )
    return _samples(arrays, spec, digest(sha256_bytes(content.encode())))


@contextmanager
def _importing_from(root: Path) -> Iterator[None]:
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))


def _samples(arrays: Mapping[str, Any], source: Path | str, named: str) -> Samples:
    """Check what holds for every data set and return it as Samples."""
    where = str(source)
    name = where.rsplit("/", 1)[-1]
    objects = [key for key, array in arrays.items() if array.dtype.kind == "O"]
    if objects:
        raise InputError(
            "data-objects",
            f"the array {objects[0]!r} of {name} holds Python objects",
            where=where,
            why="rows of different lengths, or values that are no numbers",
            fix="give the array a numeric dtype, all rows of one length",
        )
    labels, slices = labels_of(arrays, where), slices_of(arrays, where)
    inputs = {
        key: array
        for key, array in arrays.items()
        if key not in {LABELS, ROWS} and not key.startswith(SLICE)
    }
    told = {LABELS: labels} if labels is not None else {}
    told |= {SLICE + key: array for key, array in slices.items()}
    lengths = {key: len(array) for key, array in {**inputs, **told}.items() if array.ndim}
    if not lengths or not max(lengths.values()):
        raise InputError(
            "data-empty",
            f"{name} holds no samples",
            where=where,
            why=f"it holds {described(arrays)}",
            fix="save at least one sample: one array per model input, first axis = samples",
        )
    if len(set(lengths.values())) > 1:
        raise InputError(
            "data-lengths",
            f"the arrays of {name} have different numbers of samples",
            where=where,
            why=", ".join(f"{key}: {length}" for key, length in lengths.items()),
            fix="give all arrays the same first axis; one value for all samples has rank 0",
        )
    return Samples(inputs, labels, max(lengths.values()), where, named, slices)


def _readable(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            "data-missing",
            f"there is no data set {path.name}",
            where=str(path),
            why="it is a folder" if path.is_dir() else "no such file",
            fix=meant(
                path, "name a file that is there, or make it first (its stage must list it in outs)"
            ),
        )
    with path.open("rb") as file:
        head = file.read(len(_LFS))
    if not head:
        raise InputError(
            "data-empty",
            f"{path.name} is empty",
            where=str(path),
            why="the file has 0 bytes",
            fix="make it again, or fetch it again with: dvc pull",
        )
    if head == _LFS:
        raise InputError(
            "data-lfs-pointer",
            f"{path.name} is a git-LFS pointer, not the data itself",
            where=str(path),
            why="the repository was cloned without its large files",
            fix="git lfs pull",
        )


def _malformed(path: Path, why: str, fix: str, line: int | None = None) -> InputError:
    return InputError(
        "data-malformed",
        f"{path.name} cannot be read as a data set",
        where=f"{path}:{line}:1" if line else str(path),
        why=why or "the file is damaged",
        fix=fix,
    )
