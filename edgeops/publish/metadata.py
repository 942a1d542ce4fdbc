"""The repository's TUF metadata: read what is served, write what follows, timestamp.json last.

The layout is that of the TUF specification with consistent snapshots:
``metadata/N.root.json``, ``metadata/N.targets.json``, ``metadata/N.snapshot.json``,
``metadata/timestamp.json`` and ``targets/<folder>/<sha256>.<name>``. Nothing that clients can reach
is ever changed before timestamp.json points at something else, so a publisher that is killed
leaves what was served before.

Channels are targets of the role ``targets``, which devices read. The releases of a project are
targets of a role of its own, ``releases-<project>``, that devices never fetch (ADR 12).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeops.errors import TrustError
from edgeops.publish.keystore import LIFETIME, expiry, parse_root

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Store
    from edgeops.publish.keystore import Keys

METADATA = "metadata"
TARGETS = "targets"
_RELEASES = "releases/"


@dataclass(frozen=True)
class Served:
    """What a repository serves: tuf's Metadata of the roles, or None where nothing is published.

    ``root`` is the version of the newest root.json it has, 0 for none. ``releases`` are the roles
    ``releases-<project>`` by name.
    """

    root: int
    targets: Any = None
    snapshot: Any = None
    timestamp: Any = None
    releases: Mapping[str, Any] = field(default_factory=dict)

    def files(self, role: str = "targets") -> dict[str, Any]:
        """Return the target files of a role by path, as tuf's TargetFile.

        edgeops 0.1 had the releases among the targets of the role ``targets``.
        """
        held = {"targets": self.targets, **self.releases}
        return {
            path: info
            for name in dict.fromkeys(("targets", role))
            if held.get(name)
            for path, info in held[name].signed.targets.items()
            if role_of(path) == role
        }

    @property
    def roles(self) -> set[str]:
        """The roles of releases: those that there are, and those that older releases move to."""
        known = self.targets.signed.targets if self.targets else ()
        return {*self.releases, *map(role_of, known)} - {"targets"}

    def versions(self, project: str) -> list[str]:
        """Return the versions of a project that are published, in no order."""
        start = f"{_RELEASES}{project}/"
        paths = self.files(role_of(start))
        return [path[len(start) : -len(".json")] for path in paths]

    def channels(self) -> list[str]:
        """Return the names of the channels, sorted."""
        return sorted(path.split("/")[1][: -len(".json")] for path in self.files())


def role_of(path: str) -> str:
    """Return the role that signs a target file."""
    if path.startswith(_RELEASES):
        return f"releases-{path.split('/')[1]}"
    return "targets"


def read_served(store: Store, keys: Keys) -> Served:
    """Read and verify what the repository serves; expiry is no fault here, for writing renews it.

    Of the keys' roots only those from the newest one served on are needed. Raises TrustError
    ``repository-foreign`` when other keys made it, ``keys-outdated`` when it knows a newer root
    than the keys folder, ``repository-tampered`` when its metadata does not verify; MissingError
    ``roots-missing``.
    """
    version = 0
    while store.exists(f"{METADATA}/{version + 1}.root.json"):
        version += 1
        if version > keys.root.signed.version:
            raise TrustError(
                "keys-outdated",
                f"the repository has root version {version}, the keys are older",
                where=str(keys.folder),
                why=f"root.json of the keys is version {keys.root.signed.version}",
                fix="use the keys folder in which the last rotation was made",
            )
        known = keys.roots.get(version)
        if known is not None and store.get(f"{METADATA}/{version}.root.json") != known:
            raise _foreign(keys)
    keys.check_roots(version)
    if not store.exists(f"{METADATA}/timestamp.json"):
        return Served(version)
    if version == 0:
        raise _foreign(keys)
    whole = "targets" in keys.signers
    return _verified(store, parse_root(keys.roots[version], "root.json"), version, whole=whole)


def target_path(path: str, sha256: str) -> str:
    """Return where a target file lies: ``targets/<folder>/<sha256>.<name>``."""
    folder, _, name = path.rpartition("/")
    return f"{TARGETS}/{folder}/{sha256}.{name}"


def read_target(store: Store, served: Served, path: str) -> bytes | None:
    """Return a target file that is served, or None when there is none of that path.

    Raises TrustError ``repository-tampered`` when its bytes are not those that were signed.
    """
    from tuf.api.exceptions import LengthOrHashMismatchError

    info = served.files(role_of(path)).get(path)
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
) -> Written:
    """Add or replace target files and write the metadata that follows; timestamp.json comes last.

    Metadata that has less than half of its life left is renewed; where nothing changed and
    nothing is due, nothing is written. While the repository serves an older root than the keys
    have, everything is signed by the old and the new key of a rotated role and the new root is
    written after it, so that clients can follow at every moment. Raises MissingError
    ``keys-missing`` when that needs a key that is not here, TrustError ``root-expired``.
    """
    moment = now or datetime.now(UTC)
    keys.check_expiry(moment)
    behind = served.root < keys.root.signed.version
    if behind:
        keys.check_online()
    plan = _Plan(keys, moment, both=behind and served.timestamp is not None, behind=behind)
    timestamp = plan.all(served, changed)
    roots = {
        f"{METADATA}/{version}.root.json": data
        for version, data in sorted(keys.roots.items())
        if version > served.root
    }
    ordered = {**plan.out, **roots} if plan.bridges(served) else {**roots, **plan.out}
    for path, data in ordered.items():
        store.put(path, data)
    return Written(sum(map(len, ordered.values())), timestamp, plan.roles, plan.expiring)


@dataclass(frozen=True)
class Written:
    """What was written, and what is due to be signed by a key that is not here, with its end.

    ``timestamp`` is the one in force, ``roles`` are those that were signed.
    """

    bytes: int
    timestamp: Any
    roles: Sequence[str]
    expiring: Mapping[str, datetime]


class _Plan:
    """Collects the files to write, in the order in which they may appear."""

    def __init__(self, keys: Keys, now: datetime, *, both: bool, behind: bool) -> None:
        self._keys = keys
        self._now = now
        self._both = both
        self._behind = behind
        self.out: dict[str, bytes] = {}
        self.roles: list[str] = []
        self.expiring: dict[str, datetime] = {}

    def all(self, served: Served, changed: Mapping[str, bytes]) -> Any:
        """Plan target files and all roles that follow from them; returns the timestamp."""
        files: dict[str, dict[str, Any]] = {}
        for path, data in changed.items():
            files.setdefault(role_of(path), {})[path] = self._target(path, data)
        known = dict(served.snapshot.signed.meta) if served.snapshot else {}
        meta = {name: about for name, about in known.items() if name != "targets.json"}
        releases = dict(served.releases)
        signing = "targets" in self._keys.signers
        for role in sorted({*served.roles, *files} - {"targets"} if signing else ()):
            new, is_new = self._next(
                role,
                releases.get(role),
                {**served.files(role), **files.get(role, {})},
                role in files or self._resigned(served, role),
            )
            releases[role] = new
            if is_new:
                meta[f"{role}.json"] = _meta(new)
        targets, targets_new = self._next(
            "targets",
            served.targets,
            ({**served.files(), **files.get("targets", {})}, self._delegations(releases)),
            self._behind or "targets" in files or set(releases) != set(served.releases),
        )
        if targets_new or not known:
            meta["targets.json"] = _meta(targets)
        else:
            meta["targets.json"] = known["targets.json"]
        snapshot, snapshot_new = self._next(
            "snapshot", served.snapshot, meta, self._behind or meta != known
        )
        timestamp, _ = self._next(
            "timestamp", served.timestamp, snapshot, self._behind or snapshot_new
        )
        return timestamp

    def bridges(self, served: Served) -> bool:
        """Return whether clients of the root served so far can verify what is to be written."""
        if served.timestamp is None:
            return False
        root = parse_root(self._keys.roots[served.root], "root.json").signed
        return all(
            any(item.public_key.keyid in root.roles[role].keyids for item in signers)
            for role, signers in self._keys.signers.items()
        )

    def _target(self, path: str, data: bytes) -> Any:
        from tuf.api.metadata import TargetFile

        info = TargetFile.from_data(path, data, ["sha256"])
        self.out[target_path(path, info.hashes["sha256"])] = data
        return info

    def _next(self, role: str, old: Any, content: Any, changed: bool) -> tuple[Any, bool]:
        """Return a role's metadata and whether it is new; ``content`` is what it holds."""
        kind = _kind(role)
        due = old is None or old.signed.expires - self._now < LIFETIME[kind] / 2
        if due and not changed and _key(kind) not in self._keys.signers:
            self.expiring[role] = old.signed.expires
            return old, False
        if not changed and not due:
            return old, False
        version = 1 if old is None else old.signed.version + 1
        metadata = self._sign(kind, _signed(kind, version, expiry(kind, self._now), content))
        name = "timestamp" if role == "timestamp" else f"{version}.{role}"
        self.out[f"{METADATA}/{name}.json"] = metadata.to_bytes()
        self.roles.append(role)
        return metadata, True

    def _sign(self, kind: str, signed: Any) -> Any:
        from tuf.api.metadata import Metadata

        metadata = Metadata(signed)
        signers = self._keys.signers[_key(kind)]
        both = self._both and kind != "releases"
        for signer in signers if both else signers[:1]:
            metadata.sign(signer, append=True)
        return metadata

    def _resigned(self, served: Served, role: str) -> bool:
        """Return whether a role of releases is still signed by a key that was replaced."""
        if role not in served.releases:
            return True
        delegations = served.targets.signed.delegations
        return self._keys.release_keyid not in delegations.roles[role].keyids

    def _delegations(self, releases: Mapping[str, Any]) -> Any:
        """Return what lets the release key sign the releases of each project."""
        from tuf.api.metadata import DelegatedRole, Delegations

        if not releases:
            return None
        key = self._keys.signers["targets"][0].public_key
        return Delegations(
            keys={key.keyid: key},
            roles={
                role: DelegatedRole(
                    role, [key.keyid], 1, True, paths=[f"{_RELEASES}{role.partition('-')[2]}/*"]
                )
                for role in sorted(releases)
            },
        )


def _kind(role: str) -> str:
    return "releases" if role.startswith("releases-") else role


def _key(kind: str) -> str:
    return "targets" if kind == "releases" else kind


def _signed(kind: str, version: int, expires: datetime, content: Any) -> Any:
    from tuf.api.metadata import Snapshot, Targets, Timestamp

    if kind == "targets":
        files, delegations = content
        return Targets(version=version, expires=expires, targets=files, delegations=delegations)
    if kind == "releases":
        return Targets(version=version, expires=expires, targets=content)
    if kind == "snapshot":
        return Snapshot(version=version, expires=expires, meta=content)
    return Timestamp(version=version, expires=expires, snapshot_meta=_meta(content))


def _meta(metadata: Any) -> Any:
    from tuf.api.metadata import MetaFile

    return MetaFile.from_data(metadata.signed.version, metadata.to_bytes(), ["sha256"])


def _verified(store: Store, root: Any, version: int, *, whole: bool) -> Served:
    """Return what is served; ``whole`` says whether releases may be changed, and are read."""
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
        releases = {}
        delegations = targets.signed.delegations if whole else None
        for role in (delegations and delegations.roles) or ():
            about = snapshot.signed.meta[f"{role}.json"]
            data = store.get(f"{METADATA}/{about.version}.{role}.json")
            about.verify_length_and_hashes(data)
            releases[role] = Metadata[Targets].from_bytes(data)
            targets.verify_delegate(role, releases[role])
    except (
        RepositoryError,
        DeserializationError,
        LookupError,
        ValueError,
        AttributeError,
    ) as error:
        raise _tampered("its metadata", error) from error
    return Served(version, targets, snapshot, timestamp, releases)


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
