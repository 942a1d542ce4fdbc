"""The stage ``pack``: variants, their evidence and what goes with them into one bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.core.project import StageSpec, bundle_file, evidence_file, final_variant
from edgeops.core.stage import Out, StageContext, StageInfo, StagePlan, StageResult
from edgeops.errors import Finding, InputError, UsageProblem, from_findings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.core.manifest import Descriptor
    from edgeops.core.project import Project, Target
    from edgeops.package.bundle import Written
    from edgeops.package.pack import Contents


@dataclass(frozen=True)
class PackOptions:
    """What goes into the bundle beside variants and evidence, and who signs it."""

    include: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Files of the project: features.yaml, rules.yaml and labels.txt by their "
            "names, anything else as code or doc."
        },
    )
    key: str = field(
        default="",
        metadata={"help": "The keys folder whose release key signs the bundle; empty: unsigned."},
    )
    accept: str = field(
        default="", metadata={"help": "Why to pack variants that nothing could prove."}
    )


class Pack:
    """The entry point ``pack`` of ``edgeops.stages``."""

    info = StageInfo("pack", "Pack variants and their evidence into one bundle.", scope="project")
    Options = PackOptions

    def plan(self, project: Project, target: Target | None, options: PackOptions) -> StagePlan:
        """Return all variants, their evidence and the includes as deps, the bundle as out."""
        del target
        measured = project.stage_using("validate") is not None
        deps = [final_variant(project, name) for name in project.targets]
        deps += [evidence_file(name) for name in project.targets if measured]
        deps += options.include
        return StagePlan(
            deps=tuple(deps),
            outs=(Out(bundle_file(project)),),
            params=("project", "version", *_params(project)),
        )

    def preflight(
        self, root: Path, project: Project, target: Target | None, options: PackOptions
    ) -> Sequence[Finding]:
        """Return a finding for every include that is missing or leads outside.

        Raises MissingError ``keys-missing`` when nothing else is wrong.
        """
        from edgeops.package.pack import include_problems

        del target
        findings = include_problems(root, options.include, _made(project))
        if options.key and not findings:
            check_keys(root / options.key)
        return findings

    def run(self, context: StageContext, options: PackOptions) -> StageResult:
        """Write the bundle.

        Raises InputError for a variant, evidence or name that cannot be packed, RefusedError
        ``variant-unproven``, TrustError ``evidence-broken`` when evidence and variant do not
        belong together, MissingError ``keys-missing``.
        """
        written = _pack_project(context, options)
        signed = "signed" if options.key else "not signed: name a keys folder with pack.key"
        return StageResult(
            {"bundle_bytes": written.bytes}, (f"bundle {written.digest}", f"the bundle is {signed}")
        )


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


def pack_verb(request: PackRequest, *, events: Events) -> dict[str, Any]:
    """Pack the named variants, or without any the project, and return the result as JSON.

    Evidence finds its target by the digest of the variant it measured; included files go in under
    their file name. Raises UsageProblem ``pack-usage`` when variants are named without name and
    version, InputError ``evidence-foreign`` when evidence measured none of them, and what the
    stage raises.
    """
    from edgeops.package.bundle import layers_json

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
    )
    place = root / (request.out or f"{request.name}-{request.version}{SUFFIX}")
    sign = _signer(root / request.key) if request.key else None
    return pack_files(contents, place, sign=sign, events=events)


def _pack_as_stated(request: PackRequest, events: Events) -> tuple[Written, bool]:
    from edgeops.project.load import load_project

    stated = (request.name, request.version, request.out, *request.evidence, *request.include)
    if any(stated):
        raise UsageProblem(
            "pack-usage",
            "no variant was named, so the project is packed as edgeops.yaml says",
            why="name, version, files and place of the bundle come from edgeops.yaml then",
            fix="leave out --name, --version, -o, --evidence and --include, or name variants",
        )
    project = load_project(request.root)
    spec = project.stage_using("pack") or StageSpec("pack", "pack", PackOptions())
    key = spec.options.key if request.key is None else request.key
    accept = request.accept or spec.options.accept
    options = PackOptions(spec.options.include, key, accept)
    findings = Pack().preflight(request.root, project, None, options)
    if findings:
        raise from_findings(findings)
    context = StageContext(request.root, project, spec.name, None, events)
    return _pack_project(context, options), bool(key)


def _pack_project(context: StageContext, options: PackOptions) -> Written:
    from edgeops.package.pack import pack_files

    sign = _signer(context.path(options.key)) if options.key else None
    return pack_files(
        _project_contents(context, options),
        context.path(bundle_file(context.project)),
        sign=sign,
        events=context.events,
    )


def _project_contents(context: StageContext, options: PackOptions) -> Contents:
    from edgeops.package.pack import Contents

    project = context.project
    measured = project.targets if project.stage_using("validate") else ()
    return Contents(
        project.name,
        project.version,
        {name: context.path(final_variant(project, name)) for name in project.targets},
        {name: context.path(evidence_file(name)) for name in measured},
        {name: context.path(name) for name in options.include},
        options.accept,
    )


def check_keys(folder: Path) -> None:
    """Raise MissingError ``keys-missing`` unless ``folder`` holds a root of trust."""
    from edgeops.publish.keys import keys_missing

    if not (folder / "root.json").is_file():
        error = keys_missing(folder)
        error.where = ""  # the caller knows the line that names the folder
        raise error


def _signer(folder: Path) -> Callable[[Descriptor], bytes]:
    from edgeops.package.signature import envelope
    from edgeops.publish.keys import load_keys

    keys = load_keys(folder, roles=("targets",))
    return lambda subject: envelope(subject, keys.release_keyid, keys.sign_release)


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
    from edgeops.package.pack import include_problems

    paths = [root / name for name in include]
    findings = [
        finding
        for path in paths
        for finding in include_problems(path.parent, [path.name], (), "--include")
    ]
    names = [path.name for path in paths]
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


def _made(project: Project) -> tuple[str, ...]:
    """Return what the project's own commands write, which need not be there yet."""
    options = [spec.options for spec in project.stages.values()]
    return tuple(
        path
        for item in options
        for path in (*getattr(item, "outs", ()), *getattr(item, "persist", ()))
    )


def _params(project: Project) -> tuple[str, ...]:
    spec = project.stage_using("pack")
    if spec is None:
        return ()
    keys = ("include", "key", "accept") if "accept" in spec.given else ("include", "key")
    return tuple(f"stages.{spec.name}.{key}" for key in keys)
