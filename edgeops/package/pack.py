"""Contents to a bundle: what goes in, under which path, found to belong together before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeops import __version__
from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.evidence import read_evidence
from edgeops.core.manifest import INDEX, baseline_path, valid_name
from edgeops.core.targets import encode_targets
from edgeops.core.variant import FILE, read_variant, refuse_unproven
from edgeops.errors import InputError
from edgeops.package.agent_pyz import agent_part, packages
from edgeops.package.baselines import check_baselines
from edgeops.package.card import card
from edgeops.package.chain import check_documents, check_links
from edgeops.package.fits import check_fits
from edgeops.package.include import compiled
from edgeops.package.index import asked, needs_of
from edgeops.package.layout import Part, kind_of
from edgeops.package.opset import onnx_opset
from edgeops.package.sbom import sbom
from edgeops.package.sdk import sdk_parts
from edgeops.package.sealing import sealer
from edgeops.package.wheel import Wheel, check_wheels
from edgeops.package.write import write_bundle

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.core.evidence import Evidence
    from edgeops.core.variant import Variant
    from edgeops.package.write import Sign, Written
    from edgeops.runtime.rules import Rules


@dataclass(frozen=True)
class Contents:
    """All that goes into a bundle: folders and evidence by target, included files by their path.

    ``accept`` is why variants that nothing could prove go into it all the same, "" for none.
    ``agent`` packs the agent's program, ``wheels`` engines for a target, ``baselines`` what a target
    must answer on a device, ``sdk`` demos in these languages; ``encrypt`` names what is sealed for ``recipients``.
    """

    name: str
    version: str
    folders: Mapping[str, Path]
    evidence: Mapping[str, Path]
    include: Mapping[str, Path]
    accept: str = ""
    agent: bool = False
    wheels: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    baselines: Mapping[str, Path] = field(default_factory=dict)
    sdk: Sequence[str] = ()
    encrypt: Sequence[str] = ()
    recipients: Sequence[Path] = ()


@dataclass(frozen=True)
class _Read:
    """What was read of the contents before anything is written."""

    variants: Mapping[str, Variant]
    evidence: Mapping[str, Evidence]
    wheels: Mapping[str, Sequence[Wheel]]
    compiled: Sequence[Part]
    rules: Rules | None


def pack_files(contents: Contents, out: Path, *, sign: Sign | None, events: Events) -> Written:
    """Write one bundle; ``sign`` makes the envelope over its manifest, None leaves it unsigned.

    Raises InputError for a variant, evidence, wheel, document or name that cannot be packed,
    RefusedError ``variant-unproven``, TrustError ``evidence-broken`` when evidence and variant do
    not belong together, UsageProblem ``encrypt-usage``.
    """
    _check_names(contents)
    events.step("reading variants and evidence")
    read = _read(contents)
    check_links(read.variants, read.evidence, str(out))
    documents = {
        part.kind: digest(sha256_bytes(part.source))
        for part in read.compiled
        if isinstance(part.source, bytes)
    }
    check_documents(read.evidence, documents, read.variants, str(out))
    sealing = None
    if contents.encrypt or contents.recipients:
        sealing = sealer(contents.encrypt, contents.recipients, sorted(read.variants))
    parts = _parts(contents, read)
    _check_places(parts)
    if sealing is not None:
        sealing.check(parts)
    events.step("writing the bundle")
    written = write_bundle(
        out,
        contents.name,
        contents.version,
        parts,
        variants=read.variants,
        sign=sign,
        sealer=sealing,
    )
    events.figure("bundle_bytes", written.bytes)
    return written


def _read(contents: Contents) -> _Read:
    # The files of a variant are held against their digests when they are written: once read.
    variants = {
        name: read_variant(folder, verify=False) for name, folder in contents.folders.items()
    }
    for name, variant in variants.items():
        refuse_unproven(variant, str(contents.folders[name]), contents.accept)
    evidence = {name: read_evidence(path) for name, path in contents.evidence.items()}
    parts, rules = compiled(contents.include)
    _check_asked(contents, asked(rules) - set(variants))
    check_fits(contents.include, variants)
    check_baselines(contents.baselines, variants)
    wheels = {name: check_wheels(name, variants, paths) for name, paths in contents.wheels.items()}
    return _Read(variants, evidence, wheels, parts, rules)


def _parts(contents: Contents, read: _Read) -> list[Part]:
    parts = [part for target in contents.folders for part in _variant(contents, read, target)]
    parts += [
        Part(f"evidence/{target}.json", "evidence", path, target)
        for target, path in contents.evidence.items()
    ]
    parts += [
        Part(baseline_path(target), "baseline", path, target)
        for target, path in contents.baselines.items()
    ]
    made = {part.path for part in read.compiled}
    parts += [
        Part(name, kind_of(name), path)
        for name, path in contents.include.items()
        if name not in made
    ]
    parts += read.compiled
    parts += [agent_part()] if contents.agent else []
    parts += [
        Part(f"runtime/{target}/{wheel.path.name}", "runtime", wheel.path, target)
        for target, wheels in read.wheels.items()
        for wheel in wheels
    ]
    if contents.sdk:
        parts += sdk_parts(read.variants, contents.sdk)
    about = contents.name, contents.version, read.variants
    labels = () if "labels" in contents.encrypt else _labels(contents)
    parts.append(Part("card.md", "card", card(*about, read.evidence, labels, contents.accept)))
    shipped = [(wheel.name, wheel.version) for found in read.wheels.values() for wheel in found]
    shipped += packages() if contents.agent else []
    parts.append(Part("sbom.cdx.json", "sbom", sbom(*about, __version__, shipped)))
    parts.append(Part(INDEX, "index", _index(contents, read)))
    return parts


def _variant(contents: Contents, read: _Read, target: str) -> list[Part]:
    from edgeops.core.files import inside

    folder, path = contents.folders[target], f"variants/{target}/"
    parts = [Part(path + FILE, "variant", folder / FILE, target)]
    for entry in read.variants[target].files:
        file = inside(folder, entry.path)
        if not file.is_file():
            read_variant(folder)  # which says what is wrong with it
        parts.append(Part(path + entry.path, "variant", file, target, entry.sha256))
    return parts


def _index(contents: Contents, read: _Read) -> bytes:
    opsets = {}
    for target, variant in read.variants.items():
        if variant.model_file.endswith(".onnx"):
            path = contents.folders[target] / variant.model_file
            with path.open("rb") as file:
                opset = onnx_opset(file, 0, path.stat().st_size)
            opsets.update({target: opset} if opset else {})
    needs = needs_of(
        read.variants,
        read.evidence,
        opsets=opsets,
        wheels={
            target: [wheel.path.name for wheel in found] for target, found in read.wheels.items()
        },
        asked=asked(read.rules),
    )
    return encode_targets(needs)


def _labels(contents: Contents) -> tuple[str, ...]:
    named = [path for name, path in contents.include.items() if kind_of(name) == "labels"]
    if not named or named[0].suffix != ".txt":
        return ()
    return tuple(named[0].read_text(encoding="utf-8", errors="replace").splitlines())


def _check_asked(contents: Contents, missing: Collection[str]) -> None:
    if missing:
        raise InputError(
            "rules-target-missing",
            f"the rules combine {', '.join(sorted(missing))}, which is not packed with them",
            where=next(name for name in contents.include if kind_of(name) == "rules"),
            why=f"the bundle's targets are {', '.join(sorted(contents.folders))}",
            fix="name a target of the bundle under models, or pack that target too",
        )


def _check_places(parts: Sequence[Part]) -> None:
    taken: set[str] = set()
    for part in parts:
        if part.path in taken:
            raise InputError(
                "include-reserved",
                f"two files would lie at {part.path} in the bundle",
                where=str(part.source) if not isinstance(part.source, bytes) else part.path,
                why="an included file has the place of one that pack writes",
                fix="rename the included file",
            )
        taken.add(part.path)


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
