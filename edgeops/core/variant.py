"""A variant: the model as built for one target, a folder with the engine's files and variant.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import sha256_file, tree_digest
from edgeops.core.files import canonical_json, inside, meant, write_atomic
from edgeops.errors import InputError, RefusedError, TrustError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "variant.json"
FORMAT = "edgeops.variant/1"


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: ``shape`` holds ints, or names for what is decided when it runs.

    ``dtype`` is numpy's name (``float32``, ``int64``, ``uint8``, ``bool``, ``str``).
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    def to_json(self) -> dict[str, Any]:
        """Return the tensor as JSON."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}


@dataclass(frozen=True)
class FileEntry:
    """A file of a variant, its path relative to the variant's folder."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Parity:
    """How near the converted model is to its source on ``samples`` real samples.

    ``max_abs`` is the largest absolute difference, ``max_rel`` the largest norm of the difference
    over the norm of the source's output, ``norm_ratio`` the ratio of norms farthest from 1,
    ``cosine`` the least, ``top1`` the share of samples with the same arg max (None where outputs
    are no scores). ``data`` says where the samples came from.
    """

    samples: int
    max_abs: float
    max_rel: float
    norm_ratio: float
    cosine: float
    top1: float | None
    passed: bool
    data: str


@dataclass(frozen=True)
class Variant:
    """variant.json: what an engine needs to run the model and what proves where it came from.

    ``model_file`` is what the engine opens. ``source`` is the digest of the model it was made
    from; ``quantization`` holds scheme, calibration and the nodes kept in float.
    """

    engine: str
    engine_version: str
    precision: str
    model_file: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    source: str
    files: tuple[FileEntry, ...] = ()
    parity: Parity | None = None
    quantization: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    @property
    def digest(self) -> str:
        """The digest of all the engine's files together."""
        return tree_digest({entry.path: entry.sha256 for entry in self.files})

    @property
    def bytes(self) -> int:
        """The size of the engine's own files."""
        return sum(entry.bytes for entry in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return variant.json as a value."""
        return asdict(self)


def entries(folder: Path) -> tuple[FileEntry, ...]:
    """Return the files of a variant folder except variant.json, sorted by path."""
    found = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return tuple(
        FileEntry(name, (folder / name).stat().st_size, sha256_file(folder / name))
        for name in found
        if name != FILE
    )


def write_variant(folder: Path, variant: Variant) -> None:
    """Write variant.json into ``folder``."""
    write_atomic(folder / FILE, canonical_json(variant.to_json()))


def read_variant(folder: Path, *, verify: bool = True) -> Variant:
    """Read ``folder``/variant.json and, unless told not to, check every file against its digest.

    Raises InputError ``variant-missing`` or ``variant-malformed``, TrustError ``digest-mismatch``.
    """
    path = folder / FILE
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(folder) from error
    except OSError as error:
        raise _malformed(path, str(error)) from error
    variant = parse_variant(data, path)
    for entry in variant.files:
        file = inside(folder, entry.path)
        if verify and (not file.is_file() or sha256_file(file) != entry.sha256):
            raise TrustError(
                "digest-mismatch",
                f"{entry.path} is not the file that {FILE} describes",
                where=str(file),
                why="its sha256 differs or it is gone",
                fix="convert or unpack the variant again",
            )
    return variant


def _missing(folder: Path) -> InputError:
    make = "make one with: edgeops convert MODEL --to onnxruntime -o DIR"
    what = f"{folder} is not a variant: it has no {FILE}"
    why = f"a variant is a folder with {FILE} and the engine's files"
    if not folder.exists():
        what, why, fix = f"there is no variant {folder}", "no such folder", meant(folder, make)
    elif not folder.is_dir():
        what, why, fix = f"{folder} is not a variant", f"it is a file, and {why}", make
    else:
        below = sorted((*folder.glob(f"*/{FILE}"), *folder.glob(f"*/*/{FILE}")))
        fix = f"name one in it, such as {below[0].parent}" if below else make
    return InputError("variant-missing", what, where=str(folder), why=why, fix=fix)


def parse_variant(data: bytes, where: Path | str) -> Variant:
    """Return the variant that the bytes of a variant.json describe; no file is looked at.

    Raises InputError ``variant-malformed``.
    """
    try:
        return _parse(json.loads(data))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _malformed(where, f"{type(error).__name__}: {error}") from error


def refuse_foreign_folder(out: Path, verb: str) -> None:
    """Raise InputError ``out-occupied`` when ``out`` holds what is no variant: somebody's work."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())) or (out / FILE).is_file():
        return
    raise InputError(
        "out-occupied",
        f"{out.name} is there already and is no variant",
        where=str(out),
        why=f"{verb} replaces the whole folder, and this one has no {FILE}",
        fix="name another folder with -o, or remove this one yourself",
    )


def refuse_unproven(variant: Variant, where: str, accept: str) -> None:
    """Raise RefusedError ``variant-unproven`` for a variant that nothing could run after converting.

    ``accept`` is a person's reason to go on with it all the same, "" for none.
    """
    reason = variant.extra.get("unproven")
    if not reason or accept.strip():
        return
    raise RefusedError(
        "variant-unproven",
        f"the variant for {variant.engine} was never compared with its source",
        where=where,
        why=str(reason),
        fix="run it on a device yourself; then say so with --accept REASON, "
        "or accept: REASON in that stage of edgeops.yaml",
        result={"unproven": str(reason)},
    )


def _parse(document: dict[str, Any]) -> Variant:
    if document["format"] != FORMAT:
        message = f"format is {document['format']!r}, this edgeops reads {FORMAT!r}"
        raise ValueError(message)
    known = {item.name for item in fields(Variant)}
    values = {key: value for key, value in document.items() if key in known}
    for side in ("inputs", "outputs"):
        values[side] = tuple(
            TensorInfo(item["name"], tuple(item["shape"]), item["dtype"]) for item in values[side]
        )
    values["files"] = tuple(FileEntry(**item) for item in values["files"])
    if values.get("parity"):
        values["parity"] = Parity(**values["parity"])
    return Variant(**values)


def _malformed(path: Path | str, why: str) -> InputError:
    return InputError(
        "variant-malformed",
        f"{path} cannot be read as a variant",
        where=str(path),
        why=why,
        fix="convert or unpack the variant again",
    )
