"""A baseline file: inputs and outputs of a blessed variant, and bad inputs with their errors.

A zip whose members are stored, in one order and with one date, so that the same recording is the
same bytes: ``baseline.json`` and an ``.npy`` an array, never a pickle. ``baseline.json`` holds the
sha256 of every member and of itself (docs/formats/baseline.md).
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import canonical_json, write_atomic
from edgeops.errors import InputError, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMAT = "edgeops.baseline/1"
ABOUT = "baseline.json"
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
# Far above what a recording of some samples takes; a reader must not be filled by a file.
MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class Case:
    """An input that must be refused: what is wrong with it, and the code of the error."""

    name: str
    arrays: Mapping[str, Any]
    error: str


@dataclass(frozen=True)
class Baseline:
    """What a blessed variant answered.

    ``about`` has ``variant``, ``model``, ``engine``, ``engine_version``, ``precision`` and ``data``.
    ``inputs`` are ``[samples, ...]`` by name, rank 0 standing for all; ``outputs`` are those of the
    samples in ``rows``, an array of objects where shapes differ; ``errors`` are the codes of the
    samples that were refused. ``tolerance`` is a share of the largest value of an output.
    """

    about: Mapping[str, Any]
    count: int
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    rows: tuple[int, ...]
    errors: Mapping[int, str]
    tolerance: float
    cases: tuple[Case, ...] = ()
    digest: str = field(default="", compare=False)


def write_baseline(path: Path, baseline: Baseline) -> str:
    """Write a baseline whole and return its digest; the same recording gives the same bytes."""
    members = dict(_members(baseline))
    document = {
        "format": FORMAT,
        **{name: baseline.about[name] for name in sorted(baseline.about)},
        "samples": baseline.count,
        "rows": list(baseline.rows),
        "errors": {str(index): code for index, code in sorted(baseline.errors.items())},
        "tolerance": baseline.tolerance,
        "inputs": list(baseline.inputs),
        "outputs": [
            {"name": name, "ragged": _is_ragged(array)} for name, array in baseline.outputs.items()
        ],
        "cases": [{"name": case.name, "error": case.error} for case in baseline.cases],
        "members": {
            name: {"bytes": len(data), "sha256": sha256_bytes(data)}
            for name, data in members.items()
        },
    }
    document["digest"] = digest(sha256_bytes(canonical_json(document)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {ABOUT: canonical_json(document), **members}.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr = _MODE
            archive.writestr(entry, data)
    write_atomic(path, buffer.getvalue())
    return str(document["digest"])


def read_baseline(path: Path) -> Baseline:
    """Return the baseline in a file, every member checked against its digest.

    Raises InputError ``baseline-malformed`` for what is no whole baseline of this format,
    TrustError ``baseline-tampered`` for one that was changed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if sum(info.file_size for info in infos) > MOST_BYTES:
                message = f"it unpacks to more than {MOST_BYTES} bytes"
                raise ValueError(message)
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                message = "a member is compressed"
                raise ValueError(message)
            files = {info.filename: archive.read(info) for info in infos}
            if len(files) != len(infos):
                message = "a member is there twice"
                raise ValueError(message)
        document = json.loads(files.pop(ABOUT))
        if document["format"] != FORMAT:
            message = f"format is {document['format']!r}, this edgeops reads {FORMAT!r}"
            raise ValueError(message)
        _check(document, files, str(path))
        return _read(document, files)
    except (
        *(OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError),
        *(KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError),
        *(OverflowError, MemoryError),
    ) as error:
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise InputError(
            "baseline-malformed",
            f"{path.name} cannot be read as a baseline",
            where=str(path),
            why=str(why or error),
            fix="record it again: edgeops validate VARIANT --evaluation DATA --record FILE",
        ) from error


def _check(document: dict[str, Any], files: Mapping[str, bytes], where: str) -> None:
    stated = {name: value for name, value in document.items() if name != "digest"}
    if digest(sha256_bytes(canonical_json(stated))) != document["digest"]:
        _tampered(where, f"{ABOUT} was changed")
    if set(files) != set(document["members"]):
        _tampered(where, "its members are not those that were recorded")
    for name, data in files.items():
        if sha256_bytes(data) != document["members"][name]["sha256"]:
            _tampered(where, f"the sha256 of {name} differs")


def _tampered(where: str, why: str) -> NoReturn:
    raise TrustError(
        "baseline-tampered",
        "the baseline was changed since it was recorded",
        where=where,
        why=why,
        fix="do not use it: take the file as it was recorded, or record it again",
    )


def _members(baseline: Baseline) -> Iterator[tuple[str, bytes]]:
    for index, array in enumerate(baseline.inputs.values()):
        yield f"inputs/{index}.npy", _npy(array)
    for index, array in enumerate(baseline.outputs.values()):
        if _is_ragged(array):
            for row, part in enumerate(array):
                yield f"outputs/{index}.{row}.npy", _npy(part)
        else:
            yield f"outputs/{index}.npy", _npy(array)
    for number, case in enumerate(baseline.cases):
        for index, name in enumerate(baseline.inputs):
            yield f"cases/{number}.{index}.npy", _npy(case.arrays[name])


def _read(document: Mapping[str, Any], files: Mapping[str, bytes]) -> Baseline:
    rows = tuple(int(row) for row in document["rows"])
    # A sample that is in neither would be held against nothing.
    if sorted([*rows, *map(int, document["errors"])]) != list(range(int(document["samples"]))):
        message = "rows and errors are not those of its samples"
        raise ValueError(message)
    names = [str(name) for name in document["inputs"]]
    outputs = {}
    for index, entry in enumerate(document["outputs"]):
        if entry["ragged"]:
            outputs[entry["name"]] = ragged(
                [_array(files[f"outputs/{index}.{row}.npy"]) for row in range(len(rows))]
            )
        else:
            outputs[entry["name"]] = _array(files[f"outputs/{index}.npy"])
        if len(outputs[entry["name"]]) != len(rows):
            message = f"the output {entry['name']} has not one row for each of {len(rows)} samples"
            raise ValueError(message)
    cases = [
        Case(
            str(case["name"]),
            {
                name: _array(files[f"cases/{number}.{index}.npy"])
                for index, name in enumerate(names)
            },
            str(case["error"]),
        )
        for number, case in enumerate(document["cases"])
    ]
    own = ("variant", "model", "engine", "engine_version", "precision", "data")
    return Baseline(
        about={name: document[name] for name in own},
        count=int(document["samples"]),
        inputs={name: _array(files[f"inputs/{index}.npy"]) for index, name in enumerate(names)},
        outputs=outputs,
        rows=rows,
        errors={int(index): str(code) for index, code in document["errors"].items()},
        tolerance=float(document["tolerance"]),
        cases=tuple(cases),
        digest=str(document["digest"]),
    )


def ragged(parts: list[Any]) -> Any:
    """Return arrays of different shapes as one array of objects."""
    import numpy as np

    found = np.empty(len(parts), dtype=object)
    for row, part in enumerate(parts):
        found[row] = part
    return found


def _is_ragged(array: Any) -> bool:
    return bool(array.dtype.kind == "O" and array.size and hasattr(array.flat[0], "dtype"))


def _npy(array: Any) -> bytes:
    import numpy as np

    # Text comes as objects, which only a pickle could save.
    plain = np.asarray(array.astype(str) if array.dtype.kind == "O" else array, order="C")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, plain, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _array(data: bytes) -> Any:
    import numpy as np

    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
