"""The repository's TUF metadata: read what is served, write what follows, timestamp.json last.

The layout is that of the TUF specification with consistent snapshots:
``metadata/N.root.json``, ``metadata/N.targets.json``, ``metadata/N.snapshot.json``,
``metadata/timestamp.json`` and ``targets/<folder>/<sha256>.<name>``. Nothing that clients can reach
is ever changed before timestamp.json points at something else, so a publisher that is killed
leaves what was served before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeops.errors import TrustError
from edgeops.publish.keys import LIFETIME, expiry, parse_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Store
    from edgeops.publish.keys import Keys

METADATA = "metadata"
TARGETS = "targets"


@dataclass(frozen=True)
class Served:
    """What a repository serves: tuf's Metadata of three roles, or None where nothing is published.

    ``root`` is the version of the newest root.json it has, 0 for none.
    """

    root: int
    targets: Any = None
    snapshot: Any = None
    timestamp: Any = None

    @property
    def files(self) -> dict[str, Any]:
        """The target files by path, as tuf's TargetFile."""
        return dict(self.targets.signed.targets) if self.targets else {}


def read_served(store: Store, keys: Keys) -> Served:
    """Read and verify what the repository serves; expiry is no fault here, for writing renews it.

    Raises TrustError ``repository-foreign`` when other keys made it, ``keys-outdated`` when it
    knows a newer root than the keys folder, ``repository-tampered`` when its metadata does not
    verify.
    """
    version = 0
    while store.exists(f"{METADATA}/{version + 1}.root.json"):
        version += 1
        if version not in keys.roots and version > keys.root.signed.version:
            raise TrustError(
                "keys-outdated",
                f"the repository has root version {version}, the keys are older",
                where=str(keys.folder),
                why=f"root.json of the keys is version {keys.root.signed.version}",
                fix="use the keys folder in which the last rotation was made",
            )
        if store.get(f"{METADATA}/{version}.root.json") != keys.roots.get(version):
            raise _foreign(keys)
    if not store.exists(f"{METADATA}/timestamp.json"):
        return Served(version)
    if version == 0:
        raise _foreign(keys)
    return _verified(store, parse_root(keys.roots[version], "root.json"), version)


def target_path(path: str, sha256: str) -> str:
    """Return where a target file lies: ``targets/<folder>/<sha256>.<name>``."""
    folder, _, name = path.rpartition("/")
    return f"{TARGETS}/{folder}/{sha256}.{name}"


def read_target(store: Store, served: Served, path: str) -> bytes | None:
    """Return a target file that is served, or None when there is none of that path.

    Raises TrustError ``repository-tampered`` when its bytes are not those that were signed.
    """
    from tuf.api.exceptions import LengthOrHashMismatchError

    info = served.files.get(path)
    if info is None:
        return None
    data = store.get(target_path(path, info.hashes["sha256"]))
    try:
        info.verify_length_and_hashes(data)
    except LengthOrHashMismatchError as error:
        raise _tampered(path, error) from error
    return data


def write_next(
    store: Store,
    keys: Keys,
    served: Served,
    changed: Mapping[str, bytes],
    now: datetime | None = None,
) -> tuple[int, Any]:
    """Add or replace target files and write the metadata that follows; timestamp.json comes last.

    Metadata that has less than half of its life left is renewed; where nothing changed and
    nothing is due, nothing is written. While the repository serves an older root than the keys
    have, everything is signed by the old and the new key of a rotated role and the new root is
    written after it, so that clients can follow at every moment. Returns the bytes written and the
    timestamp in force.
    """
    now = now or datetime.now(UTC)
    behind = served.root < keys.root.signed.version
    plan = _Plan(keys, now, both=behind and served.timestamp is not None)
    for path, data in changed.items():
        plan.target(path, data)
    targets, targets_new = plan.next(
        "targets", served.targets, _with_files(served, plan.files), behind or bool(changed)
    )
    snapshot, snapshot_new = plan.next(
        "snapshot", served.snapshot, {"targets.json": targets}, behind or targets_new
    )
    timestamp, _ = plan.next("timestamp", served.timestamp, snapshot, behind or snapshot_new)
    roots = {
        f"{METADATA}/{version}.root.json": data
        for version, data in sorted(keys.roots.items())
        if version > served.root
    }
    ordered = {**plan.out, **roots} if plan.bridges(served) else {**roots, **plan.out}
    for path, data in ordered.items():
        store.put(path, data)
    return sum(map(len, ordered.values())), timestamp


class _Plan:
    """Collects the files to write, in the order in which they may appear."""

    def __init__(self, keys: Keys, now: datetime, *, both: bool) -> None:
        self._keys = keys
        self._now = now
        self._both = both
        self.files: dict[str, Any] = {}
        self.out: dict[str, bytes] = {}

    def target(self, path: str, data: bytes) -> None:
        from tuf.api.metadata import TargetFile

        info = TargetFile.from_data(path, data, ["sha256"])
        self.files[path] = info
        self.out[target_path(path, info.hashes["sha256"])] = data

    def next(self, role: str, old: Any, content: Any, changed: bool) -> tuple[Any, bool]:
        """Return a role's metadata and whether it is new; ``content`` is what it points at."""
        due = old is None or old.signed.expires - self._now < LIFETIME[role] / 2
        if not changed and not due:
            return old, False
        version = 1 if old is None else old.signed.version + 1
        metadata = self._sign(role, _signed(role, version, expiry(role, self._now), content))
        name = "timestamp" if role == "timestamp" else f"{version}.{role}"
        self.out[f"{METADATA}/{name}.json"] = metadata.to_bytes()
        return metadata, True

    def bridges(self, served: Served) -> bool:
        """Return whether clients of the root served so far can verify what is to be written."""
        if served.timestamp is None:
            return False
        root = parse_root(self._keys.roots[served.root], "root.json").signed
        return all(
            any(item.public_key.keyid in root.roles[role].keyids for item in signers)
            for role, signers in self._keys.signers.items()
        )

    def _sign(self, role: str, signed: Any) -> Any:
        from tuf.api.metadata import Metadata

        metadata = Metadata(signed)
        signers = self._keys.signers[role]
        for signer in signers if self._both else signers[:1]:
            metadata.sign(signer, append=True)
        return metadata


def _with_files(served: Served, files: Mapping[str, Any]) -> dict[str, Any]:
    return {**served.files, **files}


def _signed(role: str, version: int, expires: datetime, content: Any) -> Any:
    from tuf.api.metadata import MetaFile, Snapshot, Targets, Timestamp

    if role == "targets":
        return Targets(version=version, expires=expires, targets=content)
    if role == "snapshot":
        meta = {name: _meta(MetaFile, item) for name, item in content.items()}
        return Snapshot(version=version, expires=expires, meta=meta)
    return Timestamp(version=version, expires=expires, snapshot_meta=_meta(MetaFile, content))


def _meta(kind: Any, metadata: Any) -> Any:
    return kind.from_data(metadata.signed.version, metadata.to_bytes(), ["sha256"])


def _verified(store: Store, root: Any, version: int) -> Served:
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp
    from tuf.api.serialization import DeserializationError

    try:
        timestamp = Metadata[Timestamp].from_bytes(store.get(f"{METADATA}/timestamp.json"))
        root.verify_delegate("timestamp", timestamp)
        about = timestamp.signed.snapshot_meta
        data = store.get(f"{METADATA}/{about.version}.snapshot.json")
        about.verify_length_and_hashes(data)
        snapshot = Metadata[Snapshot].from_bytes(data)
        root.verify_delegate("snapshot", snapshot)
        about = snapshot.signed.meta["targets.json"]
        data = store.get(f"{METADATA}/{about.version}.targets.json")
        about.verify_length_and_hashes(data)
        targets = Metadata[Targets].from_bytes(data)
        root.verify_delegate("targets", targets)
    except (
        RepositoryError,
        DeserializationError,
        LookupError,
        ValueError,
        AttributeError,
    ) as error:
        raise _tampered("its metadata", error) from error
    return Served(version, targets, snapshot, timestamp)


def _tampered(what: str, error: Exception) -> TrustError:
    return TrustError(
        "repository-tampered",
        f"the repository was changed by someone else: {what} does not verify",
        where=what,
        why=str(error) or type(error).__name__,
        fix="restore the repository from a copy you trust, or publish to a new folder",
    )


def _foreign(keys: Keys) -> TrustError:
    return TrustError(
        "repository-foreign",
        "the repository was made with other keys",
        where=str(keys.folder),
        why="its root of trust is not one of this keys folder; devices would refuse what you sign",
        fix="use the keys it was made with, or publish to a new folder",
    )
