"""The stage ``publish``: a bundle into a signed repository, a channel moved to it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from edgeops.core.project import bundle_file
from edgeops.core.stage import Out, StageInfo, StagePlan, StageResult
from edgeops.errors import Finding, GateFailed, GateInconclusive, TrustError
from edgeops.stages.pack import check_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from edgeops.core.channel import Channel
    from edgeops.core.contracts import Store
    from edgeops.core.events import Events
    from edgeops.core.project import Project, Target
    from edgeops.core.stage import StageContext
    from edgeops.package.bundle import Bundle
    from edgeops.publish.deltas import Deltas
    from edgeops.publish.keys import Keys
    from edgeops.publish.metadata import Served
    from edgeops.publish.releases import Release

KEYS = ".edgeops/keys"
DELTAS = 3
_REMOTE = "://"


@dataclass(frozen=True)
class PublishOptions:
    """Where the release goes, which channel gets it, and who signs."""

    to: str = field(
        default="releases", metadata={"help": "The repository: a folder of the project."}
    )
    channel: str = field(default="stable", metadata={"help": "The channel that is moved."})
    key: str = field(default=KEYS, metadata={"help": "The keys folder that signs the repository."})
    accept: str = field(
        default="",
        metadata={"help": "Why to publish although gates did not pass; it is signed with it."},
    )
    rebuild: bool = field(
        default=False,
        metadata={"help": "Let a version be published again with other files; for trying out."},
    )
    share: float = field(
        default=1.0, metadata={"help": "Which part of the channel's devices is offered it."}
    )
    cohort: tuple[str, ...] = field(
        default=(), metadata={"help": "What devices it is for: region=eu, memory_mb>=512."}
    )
    minimum_runtime: str = field(
        default="", metadata={"help": "The oldest edgeops on a device that it is for."}
    )
    expires: str = field(
        default="", metadata={"help": "How long it is offered: 30d, or a time in UTC."}
    )
    deltas: int = field(
        default=DELTAS, metadata={"help": "From how many earlier releases deltas are made."}
    )


class Publish:
    """The entry point ``publish`` of ``edgeops.stages``."""

    info = StageInfo(
        "publish", "Add a release to a repository and move its channel.", scope="project"
    )
    Options = PublishOptions

    def plan(self, project: Project, target: Target | None, options: PublishOptions) -> StagePlan:
        """Return the bundle as dep and the repository, which is added to, as out."""
        del target
        spec = project.stage_using("publish")
        keys = [option.name for option in fields(PublishOptions)] if spec else ()
        return StagePlan(
            deps=(bundle_file(project),),
            outs=() if _REMOTE in options.to else (Out(options.to, persist=True),),
            params=tuple(f"stages.{spec.name}.{key}" for key in keys) if spec else (),
        )

    def preflight(
        self, root: Path, project: Project, target: Target | None, options: PublishOptions
    ) -> Sequence[Finding]:
        """Return nothing; raises MissingError ``keys-missing`` or ``store-unknown``.

        And InputError for a channel, share, cohort, runtime or expiry that is none.
        """
        del project, target
        from edgeops.publish.channels import parse_terms
        from edgeops.publish.releases import check_name
        from edgeops.publish.stores import open_store
        from edgeops.stages.publish_mirror import check_terms, is_registry

        said = options.cohort, options.minimum_runtime, options.expires
        check_name(options.channel, "channel")
        parse_terms(options.share, *said)
        if is_registry(options.to):
            check_terms(options.to, options.share, said)
            return ()
        open_store(options.to, root)
        check_keys(root / options.key)
        return ()

    def run(self, context: StageContext, options: PublishOptions) -> StageResult:
        """Publish the project's bundle; raises what :func:`publish_bundle` raises."""
        request = PublishRequest(
            context.root,
            bundle_file(context.project),
            options.to,
            options.channel,
            options.key,
            options.accept or None,
            rebuild=options.rebuild,
            share=None if options.share == 1 else options.share,
            cohort=options.cohort,
            minimum_runtime=options.minimum_runtime,
            expires=options.expires,
            deltas=options.deltas,
        )
        result = publish_bundle(request, events=context.events)
        place = f"{result['release']} is on {result['channel']}"
        return StageResult({"bytes_uploaded": result["bytes_uploaded"]}, (place, *result["notes"]))


@dataclass(frozen=True)
class PublishRequest:
    """What ``edgeops publish`` was asked for.

    ``key`` is the keys folder. ``accept`` is the reason to publish a bundle whose gates did not
    pass or that has none; it stands in the signed release. ``rollback`` lets the channel go back,
    ``rebuild`` a version be published again with other files, ``reinstate`` a withdrawn release be
    offered again. ``deltas`` is from how many earlier releases deltas are made.
    """

    root: Path
    bundle: str
    to: str
    channel: str
    key: str = KEYS
    accept: str | None = None
    rollback: bool = False
    rebuild: bool = False
    reinstate: bool = False
    share: float | None = None
    cohort: Sequence[str] = ()
    minimum_runtime: str = ""
    expires: str = ""
    deltas: int = DELTAS


def publish_bundle(
    request: PublishRequest, *, events: Events, now: datetime | None = None
) -> dict[str, Any]:
    """Publish a bundle whose gates passed, and return the result as JSON.

    Raises GateFailed ``publish-gate-failed``, GateInconclusive ``publish-gate-inconclusive`` or
    ``publish-gates-absent``,
    and what opening the bundle, reading the keys and writing the repository raise.
    """
    from edgeops.package.bundle import check_there, open_bundle
    from edgeops.publish.channels import parse_terms
    from edgeops.publish.keys import load_keys
    from edgeops.publish.repository import Wish, publish
    from edgeops.publish.stores import open_store
    from edgeops.stages.publish_mirror import is_registry, mirror_bundle

    check_there(request.root / request.bundle)
    if is_registry(request.to):
        with open_bundle(request.root / request.bundle) as opened:
            about = _checked(opened, request)
            if (request.root / request.key / "root.json").is_file():
                _check_signer(opened, load_keys(request.root / request.key, roles=("targets",)))
            result = mirror_bundle(opened, request, events=events)
        return _result(result, request, about)
    store = open_store(request.to, request.root)
    terms = parse_terms(request.share, request.cohort, request.minimum_runtime, request.expires)
    wish = Wish(request.channel, terms, request.rollback, request.rebuild, request.reinstate)
    keys = load_keys(request.root / request.key)
    events.step("verifying the bundle")
    with open_bundle(request.root / request.bundle) as opened:
        about = _checked(opened, request)
        _check_signer(opened, keys)
        result = publish(
            store,
            keys,
            _release(opened, about, request.accept, terms.minimum_runtime),
            opened.blobs(),
            opened.pieces,
            wish,
            events=events,
            deltas=_deltas(opened, request.deltas, events),
            now=now,
        )
    return _result(result, request, about)


def _checked(bundle: Bundle, request: PublishRequest) -> dict[str, Any]:
    from edgeops.package.verify import checked

    about = checked(bundle)
    _check_gates(about, request.accept)
    return about


def _result(
    result: Mapping[str, Any], request: PublishRequest, about: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        **result,
        "repository": request.to,
        "verdict": about["verdict"],
        "gates": about["gates"],
    }


def _deltas(bundle: Bundle, count: int, events: Events) -> Any:
    """Return what makes the deltas to a bundle, or None where none are wanted."""
    from edgeops.package.deltas import make
    from edgeops.publish.deltas import earlier_releases, make_deltas

    if count < 1:
        return None
    about = bundle.manifest.name, bundle.manifest.version

    def made(old: Path, new: Path) -> tuple[str, bytes] | None:
        delta = make(old, new, name=new.name)
        return (delta.header.method, delta.data) if delta else None

    def deltas(store: Store, served: Served, channel: Channel | None) -> Deltas:
        earlier = earlier_releases(store, served, channel, *about, count)
        return make_deltas(store, bundle.manifest, bundle.pieces, earlier, made, events)

    return deltas


def _release(
    bundle: Bundle, about: Mapping[str, Any], accept: str | None, minimum_runtime: str | None
) -> Release:
    from edgeops.publish.releases import Release

    return Release(
        project=bundle.manifest.name,
        version=bundle.manifest.version,
        manifest=bundle.manifest_descriptor,
        signature=bundle.signature_descriptor,
        layers=bundle.manifest.layers,
        targets=bundle.manifest.targets,
        verdict=about["verdict"],
        accepted=accept if about["verdict"] != "pass" else None,
        minimum_runtime=minimum_runtime,
    )


def _check_gates(about: Mapping[str, Any], accept: str | None) -> None:
    verdict = about["verdict"]
    if verdict == "pass" or (accept and accept.strip()):
        return
    name = f"{about['name']} {about['version']}"
    result = {"gates": about["gates"], "verdict": verdict}
    fix = "mend the model or the gate, or publish with --accept REASON, which is signed with it"
    if verdict == "fail":
        raise GateFailed(
            "publish-gate-failed",
            f"{name} is not published: {_which(about, 'fail')} failed",
            why=_details(about, "fail"),
            fix=fix,
            result=result,
        )
    if verdict == "inconclusive":
        raise GateInconclusive(
            "publish-gate-inconclusive",
            f"{name} is not published: {_which(about, 'inconclusive')} could not be decided",
            why=_details(about, "inconclusive"),
            fix="measure again on a quieter machine (edgeops run validate --force), "
            "or publish with --accept REASON, which is signed with it",
            result=result,
        )
    raise GateInconclusive(
        "publish-gates-absent",
        f"{name} is not published: not every target has a gate that passed",
        why=f"its targets are {', '.join(about['targets']) or 'none'}, the gates are on "
        f"{', '.join(sorted({gate['target'] for gate in about['gates']})) or 'none of them'}",
        fix="validate with gates and pack the evidence, "
        "or publish with --accept REASON, which is signed with it",
        result=result,
    )


def _which(about: Mapping[str, Any], word: str) -> str:
    count = sum(gate["verdict"] == word for gate in about["gates"])
    return "a gate" if count == 1 else f"{count} gates"


def _details(about: Mapping[str, Any], word: str) -> str:
    return "\n".join(
        f"{gate['target']}: {gate['name']} {gate['bound']}, measured {gate['value']}"
        + (
            f" in [{gate['interval'][0]:.4g}, {gate['interval'][1]:.4g}]"
            if gate["interval"]
            else ""
        )
        for gate in about["gates"]
        if gate["verdict"] == word
    )


def _check_signer(bundle: Bundle, keys: Keys) -> None:
    """Refuse a bundle that somebody else signed; an unsigned one is vouched for by publishing."""
    from edgeops.package.signature import verify_signature

    if bundle.signature_descriptor is None:
        return
    try:
        verify_signature(bundle, keys.release_keys())
    except TrustError as error:
        if error.code == "signature-unknown-key":
            error.fix = "pack it again with the keys that publish it: edgeops pack ... --key DIR"
        raise


@dataclass(frozen=True)
class RotateRequest:
    """What ``edgeops keys rotate`` was asked for; see :func:`edgeops.publish.keys.rotate_keys`."""

    root: Path
    folder: Path
    role: str
    to: str | None = None
    replaced: str | None = None
    threshold: int | None = None
    others: Sequence[Path] = ()


def rotate_and_renew(request: RotateRequest) -> dict[str, Any]:
    """Replace the key of a role and, with ``to``, bring the new root into that repository."""
    from edgeops.publish.keys import load_keys, rotate_keys
    from edgeops.publish.repository import renew
    from edgeops.publish.stores import open_store

    folder = request.root / request.folder
    result = rotate_keys(
        folder,
        request.role,
        replaced=request.replaced,
        threshold=request.threshold,
        others=[request.root / path for path in request.others],
    )
    written = 0
    if request.to and result["complete"]:
        store = open_store(request.to, request.root)
        written = renew(store, load_keys(folder))["bytes_uploaded"]
    return {**result, "repository": request.to, "bytes_uploaded": written}
