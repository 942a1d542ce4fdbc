"""The verb ``pack``: named variants, or the project, into one bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeops.core.project import StageSpec
from edgeops.core.stage import StageContext
from edgeops.errors import Finding, InputError, UsageProblem, from_findings
from edgeops.stages.pack import (
    AGENT,
    Pack,
    PackOptions,
    baselines_of,
    grouped,
    pack_project,
    signer,
    wheels_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.package.write import Written


@dataclass(frozen=True)
class PackRequest:
    """What ``edgeops pack`` was asked for; each of ``variants`` is FOLDER or NAME=FOLDER."""

    root: Path
    variants: Sequence[str] = ()
    name: str | None = None
    version: str | None = None
    out: str | None = None
    evidence: Sequence[str] = ()
    include: Sequence[str] = ()
    key: str | None = None
    accept: str | None = None
    runtime: Sequence[str] = ()
    sdk: Sequence[str] = ()
    encrypt: Sequence[str] = ()
    recipients: Sequence[str] = ()
    baseline: Sequence[str] = ()


def pack_verb(request: PackRequest, *, events: Events) -> dict[str, Any]:
    """Pack the named variants, or without any the project, and return the result as JSON.

    Evidence finds its target by the digest of the variant it measured; included files go in under
    their file name. Raises UsageProblem ``pack-usage`` when variants are named without name and
    version, InputError ``evidence-foreign`` when evidence measured none of them, and what the
    stage raises.
    """
    from edgeops.package.inspect import layers_json

    if request.variants:
        written = _pack_named(request, events)
        signed = request.key is not None
    else:
        written, signed = _pack_as_stated(request, events)
    return {
        "bundle": str(written.path),
        "digest": written.digest,
        "bytes": written.bytes,
        "signed": signed,
        "sealed": [item.path for item in written.manifest.sealed],
        "layers": layers_json(written.manifest),
    }


def _pack_named(request: PackRequest, events: Events) -> Written:
    from edgeops.package.layout import SUFFIX
    from edgeops.package.pack import Contents, pack_files

    root = request.root
    if not request.name or not request.version:
        raise UsageProblem(
            "pack-usage",
            "variants were named, but not what the bundle is called",
            why="a bundle has a name and a version",
            fix="add --name NAME --version VERSION",
        )
    folders = _folders(root, request.variants)
    contents = Contents(
        request.name,
        request.version,
        folders,
        _match_evidence(folders, [root / path for path in request.evidence]),
        _named_includes(root, request.include),
        request.accept or "",
        agent=AGENT in request.runtime,
        wheels=grouped(wheels_of(request.runtime), root),
        baselines=baselines_of(request.baseline, root),
        sdk=request.sdk,
        encrypt=request.encrypt,
        recipients=tuple(root / path for path in request.recipients),
    )
    place = root / (request.out or f"{request.name}-{request.version}{SUFFIX}")
    sign = signer(root / request.key) if request.key else None
    return pack_files(contents, place, sign=sign, events=events)


def _pack_as_stated(request: PackRequest, events: Events) -> tuple[Written, bool]:
    from edgeops.project.load import load_project

    stated = (request.name, request.version, request.out, *request.evidence, *request.include)
    added = ("runtime", "baseline", "sdk", "encrypt", "recipients")
    stated += tuple(item for name in added for item in getattr(request, name))
    if any(stated):
        raise UsageProblem(
            "pack-usage",
            "no variant was named, so the project is packed as edgeops.yaml says",
            why="name, version, files and place of the bundle come from edgeops.yaml then",
            fix="say it in edgeops.yaml, as pack: {include: [...], encrypt: [...], recipients: [...], sdk: "
            "[...]}, and leave out all options but --key and --accept; or name variants",
        )
    project = load_project(request.root)
    spec = project.stage_using("pack") or StageSpec("pack", "pack", PackOptions())
    key = spec.options.key if request.key is None else request.key
    accept = request.accept or spec.options.accept
    options = replace(spec.options, key=key, accept=accept)
    findings = Pack().preflight(request.root, project, None, options)
    if findings:
        raise from_findings(findings)
    context = StageContext(request.root, project, spec.name, None, events)
    return pack_project(context, options), bool(key)


def _folders(root: Path, variants: Sequence[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for text in variants:
        name, separator, folder = text.partition("=")
        path = root / (folder if separator else text)
        name = name if separator else path.resolve().name
        if name in folders:
            raise UsageProblem(
                "pack-usage",
                f"two variants are called {name!r}",
                where=text,
                why="each target of a bundle has a name of its own",
                fix="name them: edgeops pack camera=DIR1 gateway=DIR2 ...",
            )
        folders[name] = path
    return folders


def _match_evidence(folders: Mapping[str, Path], files: Sequence[Path]) -> dict[str, Path]:
    from edgeops.core.evidence import read_evidence
    from edgeops.core.variant import read_variant

    digests = {name: read_variant(folder, verify=False).digest for name, folder in folders.items()}
    found: dict[str, Path] = {}
    for path in files:
        measured = read_evidence(path)
        fitting = [
            name
            for name, digest in digests.items()
            if digest == measured.variant and name not in found
        ]
        if not fitting:
            raise InputError(
                "evidence-foreign",
                f"{path} measured none of the variants that are packed",
                where=str(path),
                why=f"it measured {measured.variant[:19]}, or there is other evidence of it",
                fix="validate the variants as they are now, and name that evidence",
            )
        found[measured.target if measured.target in fitting else fitting[0]] = path
    return found


def _named_includes(root: Path, include: Sequence[str]) -> dict[str, Path]:
    from edgeops.package.include import include_problems, several

    paths = [root / name for name in include]
    findings = [
        finding
        for path in paths
        for finding in include_problems(path.parent, [path.name], (), "--include")
    ]
    names = [path.name for path in paths]
    findings += several(names, "--include")
    findings += [
        Finding(
            "include-twice",
            f"two included files are called {name}",
            "--include",
            "an included file goes into the bundle under its file name",
            "rename one of them",
        )
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if findings:
        raise from_findings(findings)
    return dict(zip(names, paths, strict=True))
