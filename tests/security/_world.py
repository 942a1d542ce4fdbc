"""A publisher with three releases, an attacker with keys of its own, and tools to forge with either."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from edgeops.core.files import canonical_json
from edgeops.publish.keys import init_keys, load_keys, rotate_keys
from tests.helpers import write_tiny_model
from tests.unit._bundles import make_bundle, release

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CHANNEL, TARGET = "stable", "gateway"
NOW = datetime.now(UTC)
ROLES = ("root", "targets", "snapshot", "timestamp")
Files = dict[str, bytes]


@dataclass
class World:
    """``states`` are the files of the repository after each release, ``heads`` their versions.

    ``foreign`` is another publisher's repository with the same names, ``signers`` and ``wrong``
    hold the keys of both by role.
    """

    folder: Path
    root: bytes
    states: list[Files] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    foreign: Files = field(default_factory=dict)
    signers: Mapping[str, Any] = field(default_factory=dict)
    wrong: Mapping[str, Any] = field(default_factory=dict)


VERSIONS = ("1.0.0", "1.1.0", "1.2.0")


def make_world(folder: Path) -> World:
    """Publish three releases on one channel, and one of another project on another.

    The models differ in few of their weights, so that there are deltas between the releases.
    """
    with patch("tests.unit._bundles.write_tiny_model", _tuned):
        return _published(folder)


def _published(folder: Path) -> World:
    init_keys(folder / "keys", now=NOW)
    world = World(folder, (folder / "keys" / "root.json").read_bytes())
    other = make_bundle(folder / "other", name="other", seed=90)
    release(folder, other, channel="others", now=NOW)
    for seed, version in enumerate(VERSIONS):
        bundle = make_bundle(folder / version, version=version, seed=seed)
        release(folder, bundle, channel=CHANNEL, now=NOW)
        world.states.append(read(folder / "repo"))
        world.heads.append(version)
    world.signers = _signers(folder / "keys")
    evil = folder / "evil"
    init_keys(evil / "keys", now=NOW)
    for version in VERSIONS[:2]:
        bundle = make_bundle(evil / version, version=version, seed=66)
        release(evil, bundle, channel=CHANNEL, now=NOW)
    world.foreign, world.wrong = read(evil / "repo"), _signers(evil / "keys")
    return world


def publish(world: World, version: str, *, seed: int = 7, **options: Any) -> Files:
    """Publish one more release with the world's keys and return the repository's files."""
    bundle = make_bundle(world.folder / f"more-{version}", version=version, seed=seed)
    release(world.folder, bundle, channel=CHANNEL, now=NOW, **options)
    return read(world.folder / "repo")


def rotate(world: World, role: str) -> None:
    """Replace a key; what was signed so far stays as it is until the next publication."""
    rotate_keys(world.folder / "keys", role, now=NOW)


def read(folder: Path) -> Files:
    """Return the files of a repository by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def write(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write a repository's files to a folder, in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return folder


def metadata_path(files: Mapping[str, bytes], role: str) -> str:
    """Return where the metadata of a role lies that this state of a repository uses."""
    if role == "timestamp":
        return "metadata/timestamp.json"
    if role == "root":
        numbers = [
            int(path.split("/")[1].split(".")[0]) for path in files if path.endswith(".root.json")
        ]
        return f"metadata/{max(numbers)}.root.json"
    above = "timestamp" if role == "snapshot" else "snapshot"
    meta = json.loads(files[metadata_path(files, above)])["signed"]["meta"]
    return f"metadata/{meta[f'{role}.json']['version']}.{role}.json"


def load(files: Mapping[str, bytes], role: str) -> Any:
    """Return the metadata of a role as tuf's Metadata."""
    from tuf.api.metadata import Metadata

    return Metadata.from_bytes(files[metadata_path(files, role)])


def forge(
    files: Mapping[str, bytes],
    signers: Mapping[str, Any],
    changes: Mapping[str, Callable[[Any], None]],
    *,
    targets: Mapping[str, bytes] | None = None,
    up_to: str = "timestamp",
) -> Files:
    """Return a repository in which roles were changed and all above were signed again.

    ``changes`` are called with the signed part of a role after its version was raised. ``targets``
    replaces target files by path. Roles above ``up_to`` stay as they are.
    """
    from tuf.api.metadata import MetaFile, TargetFile

    made = dict(files)
    below: MetaFile | None = None
    started = False
    for role in ("targets", "snapshot", "timestamp"):
        started = started or role in changes or (role == "targets" and bool(targets))
        if not started:
            continue
        metadata = copy.deepcopy(load(files, role))
        metadata.signed.version += 1
        if role == "targets":
            for path, data in (targets or {}).items():
                info = TargetFile.from_data(path, data, ["sha256"])
                metadata.signed.targets[path] = info
                parent, _, name = path.rpartition("/")
                made[f"targets/{parent}/{info.hashes['sha256']}.{name}"] = data
        elif role == "snapshot" and below is not None:
            metadata.signed.meta["targets.json"] = below
        elif role == "timestamp" and below is not None:
            metadata.signed.snapshot_meta = below
        if role in changes:
            changes[role](metadata.signed)
        metadata.signatures.clear()
        metadata.sign(signers[role])
        data = metadata.to_bytes()
        name = role if role == "timestamp" else f"{metadata.signed.version}.{role}"
        made[f"metadata/{name}.json"] = data
        below = _meta(metadata, data)
        if role == up_to:
            break
    return made


def craft(
    world: World,
    change: Callable[[dict[str, Any], Callable[[bytes], dict[str, Any]]], None],
    *,
    files: Mapping[str, bytes] | None = None,
    deltas: bytes | None = None,
) -> Files:
    """Return a repository whose channel offers a bundle that a publisher signed and nobody checked.

    ``change`` is called with the manifest of the second release as JSON and with a function that
    stores bytes as a blob and returns its descriptor. ``deltas`` is the list of deltas.
    """
    made = dict(world.states[1] if files is None else files)

    def store(data: bytes) -> dict[str, Any]:
        name = sha256(data).hexdigest()
        made[f"blobs/sha256/{name}"] = data
        return {"digest": f"sha256:{name}", "size": len(data)}

    channel = json.loads(made[channel_file(made)])
    offer = channel["offers"][0]
    manifest = json.loads(made[blob_path(offer["digest"])])
    change(manifest, store)
    manifest["layers"].sort(key=lambda layer: layer["annotations"]["org.cncf.model.filepath"])
    about = store(canonical_json(manifest))
    offer["bundle"].update(about)
    offer["digest"] = about["digest"]
    kind = "application/vnd.edgeops.deltas.v1+json"
    offer["deltas"] = None if deltas is None else {"mediaType": kind, **store(deltas)}
    path = f"channels/{CHANNEL}.json"
    return forge(made, world.signers, {}, targets={path: canonical_json(channel)})


def layer_of(manifest: Mapping[str, Any], ending: str) -> dict[str, Any]:
    """Return the layer of a manifest whose path ends so."""
    (found,) = [
        layer
        for layer in manifest["layers"]
        if layer["annotations"]["org.cncf.model.filepath"].endswith(ending)
    ]
    return found


def blob_path(digest: str) -> str:
    """Return where a blob lies in a repository."""
    return f"blobs/sha256/{digest.partition(':')[2]}"


def next_root(
    world: World, files: Mapping[str, bytes], change: Callable[[Any], None], *signers: Any
) -> Files:
    """Return a repository that serves one more root, changed and signed as told."""
    metadata = copy.deepcopy(load(files, "root"))
    metadata.signed.version += 1
    change(metadata.signed)
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    return {**files, f"metadata/{metadata.signed.version}.root.json": metadata.to_bytes()}


def expired(signed: Any) -> None:
    """Let metadata have expired yesterday."""
    signed.expires = (NOW - timedelta(days=1)).replace(microsecond=0)


def channel_file(files: Mapping[str, bytes], channel: str = CHANNEL) -> str:
    """Return where the channel's target file lies in this state."""
    path = f"channels/{channel}.json"
    sha = load(files, "targets").signed.targets[path].hashes["sha256"]
    return f"targets/channels/{sha}.{channel}.json"


def new_signer() -> Any:
    """Return a key that nobody knows."""
    from securesystemslib.signer import CryptoSigner

    return CryptoSigner.generate_ed25519()


def _tuned(path: Path, *, seed: int = 0, **_: Any) -> Path:
    """Write a model of some kilobytes whose last layer alone depends on the seed."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    write_tiny_model(path, hidden=400)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "b2":
            values = np.random.default_rng(seed).normal(size=3).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, "b2"))
    onnx.save(model, path)
    return path


def _meta(metadata: Any, data: bytes) -> Any:
    from tuf.api.metadata import MetaFile

    return MetaFile(metadata.signed.version, len(data), {"sha256": sha256(data).hexdigest()})


def _signers(folder: Path) -> dict[str, Any]:
    return {role: found[0] for role, found in load_keys(folder, roles=ROLES).signers.items()}
