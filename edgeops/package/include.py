"""Files of the project that go into a bundle: what speaks against one, and what is made of it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgeops.core.files import inside
from edgeops.core.manifest import INDEX, SEALED_KEYS
from edgeops.errors import Finding, InputError
from edgeops.package.layout import Part, kind_of
from edgeops.project.documents import document_of, features_of, rules_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.runtime.rules import Rules

_RESERVED = ("card.md", "sbom.cdx.json", "bundle.json", INDEX, SEALED_KEYS)
_FOLDERS = ("variants", "evidence", "runtime", "baseline")
COMPILED = ("features", "rules")


def include_problems(
    root: Path, include: Sequence[str], made: Sequence[str], where: str = ""
) -> list[Finding]:
    """Return what is wrong with the files to include; ``made`` need not be there yet.

    ``where`` is left empty for files that edgeops.yaml names: the caller knows their line.
    """
    findings = [_problem(root, name, made, where) for name in dict.fromkeys(include)]
    return [finding for finding in findings if finding is not None] + several(include, where)


def compiled(includes: Mapping[str, Path]) -> tuple[list[Part], Rules | None]:
    """Return features.json and rules.json, and the rules: what devices read, checked here.

    A device has no YAML. Raises InputError for a document that is malformed, with its line.
    """
    return compiled_from(
        {name: path.read_bytes() for name, path in includes.items() if kind_of(name) in COMPILED}
    )


def compiled_from(documents: Mapping[str, bytes]) -> tuple[list[Part], Rules | None]:
    """Return what :func:`compiled` does, from the bytes of each document by its path."""
    parts, rules = [], None
    for name, data in documents.items():
        kind = kind_of(name)
        document = document_of(data, name)
        if kind == "rules":
            rules = rules_of(document)
        else:
            features_of(document)
        parts.append(Part(compiled_name(name), kind, document.data))
    return parts, rules


def compiled_name(name: str) -> str:
    """Return the path of what is made of features.yaml or rules.yaml."""
    return str(PurePosixPath(name).with_suffix(".json"))


def _problem(root: Path, name: str, made: Sequence[str], where: str) -> Finding | None:
    try:
        path = inside(root, name)
    except InputError as error:
        return Finding(error.code, error.what, where, error.why, error.fix)
    pure = PurePosixPath(name)
    if name != str(pure) or name in _RESERVED or pure.parts[0] in _FOLDERS:
        return Finding(
            "include-reserved",
            f"{name!r} cannot be a place in the bundle",
            where,
            "variants/, evidence/, runtime/, baseline/, card.md, sbom.cdx.json, targets.json, sealed.json "
            "and bundle.json are written by pack",
            "rename the file, and name it without ./ or doubled slashes",
        )
    coming = any(name == out or name.startswith(out.rstrip("/") + "/") for out in made)
    if path.is_file() or (coming and not path.exists()):
        return None
    return Finding(
        "include-missing",
        f"{name} is to be packed, but it is {'a folder' if path.is_dir() else 'not there'}",
        where,
        "each include is one file of the project",
        "write the file, or take it out of include",
    )


def several(include: Sequence[str], where: str) -> list[Finding]:
    """Return a finding for each kind of which a bundle holds one and several are included."""
    found = []
    for kind in COMPILED:
        names = [name for name in dict.fromkeys(include) if kind_of(name) == kind]
        if len(names) > 1:
            found.append(
                Finding(
                    "include-several",
                    f"{' and '.join(names)} are both {kind} of the bundle",
                    where,
                    "a device reads one such file, and nothing says which",
                    "include one of them",
                )
            )
    return found
