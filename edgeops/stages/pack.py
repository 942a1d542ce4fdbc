"""The stage ``pack``: variants, their evidence and what goes with them into one bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeops.core.project import bundle_file, evidence_file, final_variant
from edgeops.core.stage import Out, StageContext, StageInfo, StagePlan, StageResult
from edgeops.errors import EdgeopsError, Finding, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgeops.core.manifest import Descriptor
    from edgeops.core.project import Project, Target
    from edgeops.package.layout import Part
    from edgeops.package.pack import Contents
    from edgeops.package.write import Written

AGENT = "agent"


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
    runtime: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "What a device needs beside the model: agent, and TARGET=WHEEL for engines."
        },
    )
    baseline: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "TARGET=FILE of what `validate --record` wrote: devices hold the release against it "
            "before they switch."
        },
    )
    sdk: tuple[str, ...] = field(
        default=(),
        metadata={"help": "Languages of the demos to pack for each engine: python, cpp, kotlin."},
    )
    encrypt: tuple[str, ...] = field(
        default=(), metadata={"help": "Kinds to seal, KIND or KIND:TARGET, such as variant."}
    )
    recipients: tuple[str, ...] = field(
        default=(), metadata={"help": "The device.pub of those who can open what is sealed."}
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
        pairs = (*options.runtime, *options.baseline)
        deps += [text.partition("=")[2] for text in pairs if "=" in text]
        deps += options.recipients
        return StagePlan(
            deps=tuple(deps),
            outs=(Out(bundle_file(project)),),
            params=("project", "version", *_params(project)),
        )

    def preflight(
        self, root: Path, project: Project, target: Target | None, options: PackOptions
    ) -> Sequence[Finding]:
        """Return a finding for every file that is missing, leads outside or cannot be packed.

        Raises MissingError ``keys-missing`` when nothing else is wrong.
        """
        from edgeops.package.include import include_problems

        del target
        made = _made(project)
        findings = include_problems(root, options.include, made)
        findings += findings or _problems(root, project, options, made)
        findings += _unmeasured(project, options)
        if options.key and not findings:
            check_keys(root / options.key)
        return findings

    def run(self, context: StageContext, options: PackOptions) -> StageResult:
        """Write the bundle.

        Raises InputError for a variant, evidence or name that cannot be packed, RefusedError
        ``variant-unproven``, TrustError ``evidence-broken`` when evidence and variant do not
        belong together, MissingError ``keys-missing``.
        """
        written = pack_project(context, options)
        signed = "signed" if options.key else "not signed: name a keys folder with pack.key"
        return StageResult(
            {"bundle_bytes": written.bytes}, (f"bundle {written.digest}", f"the bundle is {signed}")
        )


def _problems(
    root: Path, project: Project, options: PackOptions, made: Sequence[str]
) -> list[Finding]:
    """Return what is wrong with documents, wheels, languages and what is to be sealed."""
    from edgeops.package.include import compiled
    from edgeops.package.sdk import check_languages
    from edgeops.package.sealing import sealer
    from edgeops.package.wheel import read_wheel

    coming = tuple(out.rstrip("/") for out in made)
    there = [name for name in options.include if not _is_made(name, coming)]
    paths = [root / path for path in options.recipients]
    checks: list[tuple[Callable[..., object], tuple[object, ...]]] = [
        (compiled, ({name: root / name},)) for name in there
    ]
    checks += [(check_languages, (options.sdk,)), (wheels_of, (options.runtime,))]
    checks.append((baselines_of, (options.baseline, root)))
    checks += [
        (read_wheel, (root / text.partition("=")[2],))
        for text in options.runtime
        if "=" in text and not _is_made(text.partition("=")[2], coming)
    ]
    if options.encrypt or options.recipients:

        def sealing() -> None:
            found = sealer(options.encrypt, paths, sorted(project.targets))
            found.check(_to_be_packed(project, options))

        checks.append((sealing, ()))
    return [finding for work, given in checks for finding in _refusals(work, *given)]


def _to_be_packed(project: Project, options: PackOptions) -> list[Part]:
    """Return the files that a bundle will have, by kind and target, before they are there."""
    from edgeops.package.layout import Part, kind_of

    parts = [Part(name, kind_of(name), b"") for name in options.include]
    for target in project.targets:
        parts.append(Part(f"variants/{target}", "variant", b"", target))
        parts += [
            Part(f"code/{target}/{language}", "code", b"", target) for language in options.sdk
        ]
    parts += [
        Part(f"baseline/{text}", "baseline", b"", text.partition("=")[0])
        for text in options.baseline
    ]
    return parts


def _unmeasured(project: Project, options: PackOptions) -> list[Finding]:
    """Return a finding where devices would get features or rules that no figure is of."""
    from edgeops.package.include import compiled_name
    from edgeops.package.layout import kind_of

    spec = project.stage_using("validate")
    if spec is None or options.accept:
        return []
    found = []
    for kind, code, measured in (
        ("features", "features-not-measured", project.data.features),
        ("rules", "rules-not-measured", getattr(spec.options, "rules", "")),
    ):
        packed = [name for name in options.include if kind_of(name) == kind]
        same = [compiled_name(measured)] if measured else []
        if packed and [*map(compiled_name, packed)] != same:
            what = f"{packed[0]} is to be packed, but validate does not measure through it"
            found.append(Finding(code, what, "", *_drift(kind, packed[0], measured, spec.name)))
    return found


def _drift(kind: str, packed: str, measured: str | None, stage: str) -> tuple[str, str]:
    """Return why figures say nothing of what is packed, and what to do."""
    if kind == "features":
        why = "data are what the model takes: model and preprocessing could drift apart unseen"
        why = f"data are what {measured} takes" if measured else why
        fix = f"write features: {packed} under data and raw samples in its files"
    else:
        why = "figures are of what the model gives, and applications get what the rules answer"
        why = f"figures are of what {measured} answers" if measured else why
        fix = f"write rules: {packed} under {stage}, and output: the answer that the metric is of"
    return why, f"{fix}, or accept: REASON under pack"


def _refusals(work: Callable[..., object], *given: object) -> list[Finding]:
    try:
        work(*given)
    except EdgeopsError as error:
        about = (error.code, error.what, error.where, error.why, error.fix)
        return list(error.findings) or [Finding(*about)]
    return []


def _is_made(path: str, coming: tuple[str, ...]) -> bool:
    return any(path == out or path.startswith(f"{out}/") for out in coming)


def pack_project(context: StageContext, options: PackOptions) -> Written:
    """Write the project's bundle; raises what the stage raises."""
    from edgeops.package.pack import pack_files

    sign = signer(context.path(options.key)) if options.key else None
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
        agent=AGENT in options.runtime,
        wheels=grouped(wheels_of(options.runtime), context.root),
        baselines=baselines_of(options.baseline, context.root),
        sdk=options.sdk,
        encrypt=options.encrypt,
        recipients=tuple(context.path(path) for path in options.recipients),
    )


def wheels_of(runtime: Sequence[str]) -> list[tuple[str, str]]:
    """Return target and path of each TARGET=WHEEL; raises UsageProblem ``pack-runtime``."""
    wheels = [text for text in runtime if text != AGENT]
    for text in wheels:
        if not all(text.partition("=")):
            raise UsageProblem(
                "pack-runtime",
                f"{text!r} is nothing that a device needs beside the model",
                why="it is agent, or TARGET=WHEEL for the library of an engine",
                fix="--runtime agent --runtime gateway=onnxruntime-1.20.0-....whl",
            )
    return [text.partition("=")[::2] for text in wheels]


def baselines_of(named: Sequence[str], root: Path) -> dict[str, Path]:
    """Return the path of each TARGET=FILE by target; raises UsageProblem ``pack-baseline``."""
    found: dict[str, Path] = {}
    for text in named:
        target, _, path = text.partition("=")
        if not all(text.partition("=")) or target in found:
            raise UsageProblem(
                "pack-baseline",
                f"{text!r} does not say which target a baseline is of",
                why="it is TARGET=FILE, one for a target",
                fix="--baseline gateway=gateway.baseline",
            )
        found[target] = root / path
    return found


def grouped(wheels: Sequence[tuple[str, str]], root: Path) -> dict[str, list[Path]]:
    """Return the paths of wheels by target."""
    found: dict[str, list[Path]] = {}
    for target, path in wheels:
        found.setdefault(target, []).append(root / path)
    return found


def check_keys(folder: Path) -> None:
    """Raise MissingError ``keys-missing`` unless ``folder`` holds a root of trust."""
    from edgeops.publish.keys import keys_missing

    if not (folder / "root.json").is_file():
        error = keys_missing(folder)
        error.where = ""  # the caller knows the line that names the folder
        raise error


def signer(folder: Path) -> Callable[[Descriptor], bytes]:
    """Return what signs a bundle's manifest with the release key in ``folder``."""
    from edgeops.package.signature import envelope
    from edgeops.publish.keys import load_keys

    keys = load_keys(folder, roles=("targets",))
    return lambda subject: envelope(subject, keys.release_keyid, keys.sign_release)


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
    optional = ("accept", "runtime", "baseline", "sdk", "encrypt", "recipients")
    keys = ("include", "key", *(key for key in optional if key in spec.given))
    return tuple(f"stages.{spec.name}.{key}" for key in keys)
