"""Contents to a bundle: what goes in, under which path, found to belong together before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgeops import __version__
from edgeops.core.evidence import read_evidence
from edgeops.core.files import inside
from edgeops.core.manifest import valid_name
from edgeops.core.variant import FILE, read_variant, refuse_unproven
from edgeops.errors import Finding, InputError
from edgeops.package.bundle import write_bundle
from edgeops.package.card import card
from edgeops.package.chain import check_links
from edgeops.package.layout import Part, kind_of
from edgeops.package.sbom import sbom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.core.evidence import Evidence
    from edgeops.core.variant import Variant
    from edgeops.package.bundle import Sign, Written

_RESERVED = ("card.md", "sbom.cdx.json", "bundle.json")


@dataclass(frozen=True)
class Contents:
    """All that goes into a bundle: folders and evidence by target, included files by their path.

    ``accept`` is why variants that nothing could prove go into it all the same, "" for none.
    """

    name: str
    version: str
    folders: Mapping[str, Path]
    evidence: Mapping[str, Path]
    include: Mapping[str, Path]
    accept: str = ""


def pack_files(contents: Contents, out: Path, *, sign: Sign | None, events: Events) -> Written:
    """Write one bundle; ``sign`` makes the envelope over its manifest, None leaves it unsigned.

    Raises InputError for a variant, evidence or name that cannot be packed, RefusedError
    ``variant-unproven``, TrustError ``evidence-broken`` when evidence and variant do not belong
    together.
    """
    _check_names(contents)
    events.step("reading variants and evidence")
    variants = {name: read_variant(folder) for name, folder in contents.folders.items()}
    for name, variant in variants.items():
        refuse_unproven(variant, str(contents.folders[name]), contents.accept)
    evidence = {name: read_evidence(path) for name, path in contents.evidence.items()}
    check_links(variants, evidence, str(out))
    events.step("writing the bundle")
    written = write_bundle(
        out,
        contents.name,
        contents.version,
        _parts(contents, variants, evidence),
        variants=variants,
        sign=sign,
    )
    events.figure("bundle_bytes", written.bytes)
    return written


def include_problems(
    root: Path, include: Sequence[str], made: Sequence[str], where: str = ""
) -> list[Finding]:
    """Return what is wrong with the files to include; ``made`` need not be there yet.

    ``where`` is left empty for files that edgeops.yaml names: the caller knows their line.
    """
    findings = [_include_problem(root, name, made, where) for name in dict.fromkeys(include)]
    return [finding for finding in findings if finding is not None]


def _include_problem(root: Path, name: str, made: Sequence[str], where: str) -> Finding | None:
    try:
        path = inside(root, name)
    except InputError as error:
        return Finding(error.code, error.what, where, error.why, error.fix)
    pure = PurePosixPath(name)
    if name != str(pure) or name in _RESERVED or pure.parts[0] in ("variants", "evidence"):
        return Finding(
            "include-reserved",
            f"{name!r} cannot be a place in the bundle",
            where,
            "variants/, evidence/, card.md, sbom.cdx.json and bundle.json are written by pack",
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


def _parts(
    contents: Contents, variants: Mapping[str, Variant], evidence: Mapping[str, Evidence]
) -> list[Part]:
    parts = []
    for target, folder in contents.folders.items():
        names = [FILE, *(entry.path for entry in variants[target].files)]
        parts += [
            Part(f"variants/{target}/{name}", "variant", folder / name, target) for name in names
        ]
    for target, path in contents.evidence.items():
        parts.append(Part(f"evidence/{target}.json", "evidence", path, target))
    for name, path in contents.include.items():
        parts.append(Part(name, kind_of(name), path))
    about = contents.name, contents.version, variants
    labels = _labels(contents)
    parts.append(Part("card.md", "card", card(*about, evidence, labels, contents.accept)))
    parts.append(Part("sbom.cdx.json", "sbom", sbom(*about, __version__)))
    return parts


def _labels(contents: Contents) -> tuple[str, ...]:
    named = [path for name, path in contents.include.items() if kind_of(name) == "labels"]
    if not named or named[0].suffix != ".txt":
        return ()
    return tuple(named[0].read_text(encoding="utf-8", errors="replace").splitlines())


def _check_names(contents: Contents) -> None:
    for text in (contents.name, contents.version, *contents.folders):
        if not valid_name(text):
            raise InputError(
                "name-invalid",
                f"{text!r} cannot name a project, version or target",
                where=text,
                why="it becomes part of a path: letters, digits, and . _ + - after the first",
                fix="choose a name such as digits, 1.0.0 or gateway (NAME=FOLDER names a target)",
            )
