"""The verb ``unpack``: files out of a bundle, or out of what a repository's channel offers."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edgeops.core.files import meant
from edgeops.errors import EdgeopsError, InputError, UsageProblem
from edgeops.stages.publish import KEYS

if TYPE_CHECKING:
    from edgeops.core.events import Events
    from edgeops.runtime.agent.fetch import Remote
    from edgeops.runtime.agent.http import Limits

# What a device remembers of a repository, in the folder that it unpacks into.
STATE = ".trust"
_CHANNELS = "channels/"
_MOST_METADATA = 8 << 20


@dataclass(frozen=True)
class UnpackRequest:
    """What ``edgeops unpack`` was asked for; ``trusted`` is the path of a root.json."""

    root: Path
    source: str
    out: str
    target: str | None = None
    only: str | None = None
    channel: str | None = None
    trusted: str | None = None


def unpack_verb(request: UnpackRequest, *, events: Events) -> dict[str, Any]:
    """Unpack a bundle file, or what a channel of a repository offers, and return the result.

    Raises UsageProblem ``unpack-usage`` when a repository comes without channel or root, or a
    bundle with one.
    """
    from edgeops.publish.stores import is_repository
    from edgeops.stages.publish_mirror import is_registry, unpack_mirrored

    stated = request.channel is not None, request.trusted is not None
    if is_registry(request.source) and not any(stated):
        return unpack_mirrored(request, events)
    if is_repository(request.source, request.root):
        if not all(stated):
            raise _unsaid(request)
        return _from_repository(request, events)
    if any(stated) and (request.root / request.source).exists():
        raise UsageProblem(
            "unpack-usage",
            f"{request.source} is no repository, and only those have channels",
            where=request.source,
            why="--channel and --root are for a folder that edgeops publish wrote",
            fix="leave them out for a bundle, or name the repository's folder",
        )
    return _from_bundle(request, events)


def _unsaid(request: UnpackRequest) -> UsageProblem:
    """Return the error for a repository that was named without all that a device knows of it."""
    known = [] if request.channel else _channels(request.source, request.root)
    channel = request.channel or (known[0] if len(known) == 1 else "CHANNEL")
    keys = f"{KEYS}/root.json"
    trusted = request.trusted or (keys if (request.root / keys).is_file() else "ROOT.JSON")
    missing = [
        *(() if request.channel else ("which channel",)),
        *(() if request.trusted else ("whom to trust",)),
    ]
    return UsageProblem(
        "unpack-usage",
        f"{request.source} is a repository: say {', and '.join(missing)}",
        where=request.source,
        why="a device knows a repository by its root.json and takes what a channel offers"
        + (f"; its channels are: {', '.join(known)}" if known else ""),
        fix=f"add --channel {channel} --root {trusted}",
    )


def _channels(source: str, root: Path) -> list[str]:
    """Return the channels that a repository names: unverified, for the text of an error alone."""
    from edgeops.core.manifest import valid_name
    from edgeops.runtime.agent.http import Limits

    try:
        with _remote(source, root, Limits(idle_s=3, grace_s=3, tries=1)) as remote:
            snapshot = _signed(remote, "timestamp")["meta"]["snapshot.json"]["version"]
            targets = _signed(remote, f"{snapshot}.snapshot")["meta"]["targets.json"]["version"]
            paths = _signed(remote, f"{targets}.targets")["targets"]
    except (EdgeopsError, OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    names = (path[len(_CHANNELS) : -len(".json")] for path in paths if path.startswith(_CHANNELS))
    return sorted(filter(valid_name, names))


def _signed(remote: Remote, name: str) -> Any:
    data = remote.small(f"metadata/{name}.json", _MOST_METADATA)
    return json.loads(data or b"")["signed"]


def _from_bundle(request: UnpackRequest, events: Events) -> dict[str, Any]:
    from edgeops.package.bundle import open_bundle
    from edgeops.package.unpack import check_place, choose, uses_of, write_files
    from edgeops.package.verify import checked

    out = request.root / request.out
    check_place(out)
    events.step("verifying the bundle")
    with open_bundle(request.root / request.source) as bundle:
        checked(bundle)
        uses = uses_of(bundle.manifest, request.target, bundle.pieces)
        layers = choose(bundle.manifest, request.target, request.only, uses)
        events.step("writing files", total=len(layers))
        files = write_files(out, bundle.manifest_bytes, layers, bundle.pieces)
    return _result(out, bundle.manifest.name, bundle.manifest.version, bundle.digest, files)


def _from_repository(request: UnpackRequest, events: Events) -> dict[str, Any]:
    from edgeops.core.manifest import parse_manifest
    from edgeops.package.unpack import check_place, choose, uses_of, write_files
    from edgeops.runtime.agent.look import fetch_blob, offered
    from edgeops.runtime.agent.trust import check_root

    out = request.root / request.out
    anchor = _root_bytes(request.root / str(request.trusted))
    check_root(anchor, str(request.trusted))
    check_place(out)
    with (
        TemporaryDirectory(prefix="edgeops-") as temporary,
        _remote(request.source, request.root) as remote,
    ):
        state = Path(temporary) / STATE
        if (out / STATE).is_dir():
            shutil.copytree(out / STATE, state, symlinks=True)
        events.step("verifying the repository")
        offer = offered(remote, anchor, str(request.channel), state)
        data = b"".join(fetch_blob(remote, offer.manifest))
        manifest = parse_manifest(data, offer.manifest.digest)
        uses = uses_of(manifest, request.target, partial(fetch_blob, remote))
        layers = choose(manifest, request.target, request.only, uses)
        events.step("fetching files", total=len(layers))
        files = write_files(
            out,
            data,
            layers,
            partial(fetch_blob, remote),
            lambda folder: _keep(state, folder / STATE),
        )
    return {
        **_result(out, offer.project, offer.version, offer.manifest.digest, files),
        "channel": request.channel,
        "share": offer.share,
        "bytes_downloaded": remote.bytes,
        "requests": remote.requests,
    }


def _remote(source: str, root: Path, limits: Limits | None = None) -> Remote:
    """Return a server that devices read from, or a store that publishers write to."""
    from edgeops.publish.stores import open_store
    from edgeops.runtime.agent.fetch import open_remote
    from edgeops.runtime.agent.look import remote_of

    if source.startswith(("http://", "https://")):
        return open_remote(source, limits)
    return remote_of(open_store(source, root), source)


def _keep(state: Path, place: Path) -> None:
    shutil.copytree(state, place, symlinks=True)


def _root_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "root-missing",
            f"there is no root of trust at {path}",
            where=str(path),
            why=error.strerror or str(error),
            fix=meant(path, "name the root.json that edgeops keys init wrote"),
        ) from error


def _result(
    out: Path, name: str, version: str, digest: str, files: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "folder": str(out),
        "name": name,
        "version": version,
        "digest": digest,
        "files": files,
    }
