"""Signing keys and the root of trust: made once, rotated without losing those who trust them.

A root key signs roots and nothing else. Where there are several, a new root needs so many of them
as the threshold says, of the old and of the new ones; their holders may sign one after another.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.files import disk_errors, make_folder, meant, write_atomic
from edgeops.errors import InputError, MissingError, TrustError
from edgeops.publish.keystore import (
    LIFETIME,
    OFFLINE,
    ONLINE,
    PASSPHRASE,
    ROLES,
    Keys,
    expiry,
    generate,
    keys_missing,
    load_keys,
    parse_root,
    present,
    read_private,
    read_signer,
    root_files,
    signer,
    write_private,
    write_public,
    write_root,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = [
    "LIFETIME",
    "ONLINE",
    "ROLES",
    "Keys",
    "expiry",
    "init_keys",
    "keys_missing",
    "load_keys",
    "parse_root",
    "present",
    "rotate_keys",
    "sign_root",
]
PENDING = "pending.root.json"
_MOST_ROOT_KEYS = 16


def init_keys(
    folder: Path, *, root_keys: int = 1, threshold: int = 1, now: datetime | None = None
) -> dict[str, Any]:
    """Make the keys and the first root.json in a new or empty folder.

    Returns ``public``, ``root`` (paths), ``expires``, ``threshold`` and ``root_keys``. Raises
    InputError ``keys-exist`` or ``threshold-invalid``.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(
            "keys-exist",
            f"{folder} is not empty" if folder.is_dir() else f"{folder} is a file",
            where=str(folder),
            why="keys that devices trust must never be overwritten",
            fix="choose another folder, or replace one key with: edgeops keys rotate DIR --role ROLE",
        )
    _check_threshold(root_keys, threshold)
    make_folder(folder.parent)
    with disk_errors(folder):
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            root = _write_first(new, root_keys, threshold, now)
            new.replace(folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    return {
        "public": str(folder / "release.pub"),
        "root": str(folder / "root.json"),
        "offline": [str(path) for path in root_files(folder)],
        "threshold": threshold,
        "root_keys": root_keys,
        "version": 1,
        "expires": root.expires.isoformat(),
        "encrypted": bool(os.environ.get(PASSPHRASE)),
    }


def _write_first(folder: Path, root_keys: int, threshold: int, now: datetime | None) -> Any:
    from tuf.api.metadata import Metadata, Root

    root = Root(expires=expiry("root", now), consistent_snapshot=True)
    private = {role: generate() for role in ONLINE}
    for role, key in private.items():
        root.add_key(signer(key).public_key, role)
        write_private(folder / f"{role}.pem", key)
    signers = []
    for number in range(1, root_keys + 1):
        key = generate()
        signers.append(signer(key))
        root.add_key(signers[-1].public_key, "root")
        write_private(folder / OFFLINE / f"root-{number}.pem", key)
    root.roles["root"].threshold = threshold
    metadata = Metadata(root)
    for item in signers:
        metadata.sign(item, append=True)
    write_public(folder, private["targets"])
    write_root(folder, metadata)
    return root


def rotate_keys(
    folder: Path,
    role: str,
    *,
    replaced: str | None = None,
    threshold: int | None = None,
    others: Sequence[Path] = (),
    now: datetime | None = None,
) -> dict[str, Any]:
    """Replace the key of a role: root.json gets the next version, signed by root keys old and new.

    Of several root keys ``replaced`` is the one to go, by its file's name or the begin of its id.
    ``others`` are root keys that lie elsewhere. Where too few root keys are at hand, the new root
    waits in ``pending.root.json`` for :func:`sign_root`. Killed anywhere, the folder holds the old
    keys or the new ones: root.json decides which of the key files of a role is current. Raises
    InputError ``role-unknown``, ``rotation-pending``, ``root-key-unsaid`` or
    ``threshold-invalid``, and what reading keys raises.
    """
    if role not in ROLES:
        raise InputError(
            "role-unknown",
            f"no role is called {role!r}",
            where=str(folder),
            why=f"the roles are {', '.join(ROLES)}",
            fix=f"say one of them: edgeops keys rotate {folder} --role timestamp",
        )
    metadata = load_keys(folder, roles=()).root
    _settle(folder, metadata)
    if (folder / PENDING).is_file():
        raise InputError(
            "rotation-pending",
            "another rotation waits for signatures",
            where=str(folder / PENDING),
            why="a root follows the one before it; two cannot be made at once",
            fix=f"finish it: edgeops keys sign {folder}; or remove {PENDING} to give it up",
        )
    paths = _root_keys(folder, others)
    signers = [read_signer(path) for path in paths]
    if not any(item.public_key.keyid in metadata.signed.roles["root"].keyids for item in signers):
        raise _no_root_key(folder, role)
    key = generate()
    names = {item.public_key.keyid: path.stem for path, item in zip(paths, signers, strict=True)}
    old = _replaced(folder, metadata, role, replaced, names)
    metadata.signed.revoke_key(old, role)
    metadata.signed.add_key(signer(key).public_key, role)
    if threshold is not None:
        _check_threshold(len(metadata.signed.roles["root"].keyids), threshold)
        metadata.signed.roles["root"].threshold = threshold
    metadata.signed.version += 1
    metadata.signed.expires = expiry("root", now)
    metadata.signatures.clear()
    for item in (*signers, *([signer(key)] if role == "root" else [])):
        metadata.sign(item, append=True)
    place = _free(folder) if role == "root" else folder / f"{role}.next.pem"
    write_private(place, key)
    write_atomic(folder / PENDING, metadata.to_bytes())
    return {**_finish(folder), "role": role}


def sign_root(path: Path, others: Sequence[Path] = ()) -> dict[str, Any]:
    """Sign a root that waits for signatures, and put it in force when it has enough.

    ``path`` is a keys folder, or a copy of its ``pending.root.json`` that a holder of a root key
    was sent: that is signed in place, and the result says which keys it names, to be compared with
    what the holder was told. ``others`` are root keys or folders of them. Raises
    InputError ``rotation-none``, MissingError ``keys-missing``, TrustError ``key-foreign``.
    """
    from tuf.api.metadata import Metadata

    pending = path / PENDING if path.is_dir() else path
    if path.is_dir():
        _settle(path, load_keys(path, roles=()).root)
    if not pending.is_file():
        raise InputError(
            "rotation-none",
            f"no root waits for signatures in {path}",
            where=str(pending),
            why="it was finished, or none was begun" if path.is_dir() else "no such file or folder",
            fix=f"begin one: edgeops keys rotate {path} --role ROLE"
            if path.is_dir()
            else meant(path, "name the keys folder, or the pending.root.json that was sent"),
        )
    metadata: Any = _parsed(pending, Metadata)
    if path.is_dir() and others:
        _refuse_strangers(path, metadata, _root_keys(None, others))
    for key in _root_keys(path if path.is_dir() else None, others):
        metadata.sign(read_signer(key), append=True)
    write_atomic(pending, metadata.to_bytes())
    if path.is_dir():
        return _finish(path)
    return {
        "root": str(path),
        "version": metadata.signed.version,
        "expires": metadata.signed.expires.isoformat(),
        "keys": {role: _keyids(metadata, role) for role in ROLES},
        "threshold": metadata.signed.roles["root"].threshold,
        "signatures": len(metadata.signatures),
        "complete": False,
    }


def _refuse_strangers(folder: Path, pending: Any, paths: Sequence[Path]) -> None:
    """Raise TrustError ``key-foreign`` where no key that was named is one of old or new root."""
    known = {*_keyids(load_keys(folder, roles=()).root, "root"), *_keyids(pending, "root")}
    if not any(read_signer(path).public_key.keyid in known for path in paths):
        raise TrustError(
            "key-foreign",
            f"{' and '.join(path.name for path in paths)} cannot sign this root",
            where=str(folder / PENDING),
            why=f"the root keys begin with {', '.join(sorted(keyid[:8] for keyid in known))}",
            fix="name a key that the root in force or the new one knows; what was replaced signs "
            "no more",
        )


def _finish(folder: Path) -> dict[str, Any]:
    """Put a pending root in force when enough keys of the old and the new root signed it."""
    from tuf.api.metadata import Metadata

    before = load_keys(folder, roles=()).root
    pending: Any = _parsed(folder / PENDING, Metadata)
    if pending.signed.version != before.signed.version + 1:
        raise _no_pending(
            folder / PENDING,
            f"it is version {pending.signed.version}, and {before.signed.version} is in force",
        )
    known = {*before.signed.roles["root"].keyids, *pending.signed.roles["root"].keyids}
    for keyid in [keyid for keyid in pending.signatures if keyid not in known]:
        del pending.signatures[keyid]
    found = pending.signed.get_root_verification_result(
        before.signed, pending.signed_bytes, pending.signatures
    )
    needs = {
        name: {"have": len(part.signed), "need": part.threshold}
        for name, part in (("old", found.first), ("new", found.second))
    }
    if found.verified:
        write_root(folder, pending)
        _settle(folder, pending)
    return {
        "public": str(folder / "release.pub"),
        "root": str(folder / "root.json"),
        "version": pending.signed.version,
        "expires": pending.signed.expires.isoformat(),
        "threshold": pending.signed.roles["root"].threshold,
        "root_keys": len(_keyids(pending, "root")),
        "complete": found.verified,
        "signatures": needs,
        "pending": None if found.verified else str(folder / PENDING),
    }


def _settle(folder: Path, root: Any) -> None:
    """Give key files the names that fit a root in force; a rotation may have been killed before."""
    for role in ONLINE:
        new = folder / f"{role}.next.pem"
        if new.is_file() and read_signer(new).public_key.keyid in _keyids(root, role):
            if role == "targets":
                write_public(folder, read_private(new))
            if (folder / f"{role}.pem").is_file():
                (folder / f"{role}.pem").replace(folder / f"{role}.previous.pem")
            new.replace(folder / f"{role}.pem")
    pending = folder / PENDING
    if pending.is_file() and _version(pending) <= root.signed.version:
        pending.unlink()


def _version(pending: Path) -> float:
    """Return the version of a root that waits, infinite when it cannot be read: that one stays."""
    from tuf.api.metadata import Metadata

    try:
        return int(_parsed(pending, Metadata).signed.version)
    except InputError:
        return float("inf")


def _root_keys(folder: Path | None, others: Sequence[Path]) -> list[Path]:
    """Return the files of all root keys at hand."""
    paths = root_files(folder) if folder else []
    for other in others:
        found = sorted(other.glob("*.pem")) if other.is_dir() else [other]
        if not found or not found[0].is_file():
            raise MissingError(
                "keys-missing",
                f"there is no root key at {other}",
                where=str(other),
                why="no file in it ends in .pem" if other.is_dir() else "no such file",
                fix=meant(other, "name with --with where the holder of the key keeps it"),
            )
        paths += found
    return paths


def _no_root_key(folder: Path, role: str) -> MissingError:
    return MissingError(
        "keys-missing",
        f"no root key of {folder} is at hand",
        where=str(folder / OFFLINE),
        why="a new root is signed by root keys, which are kept away from the others",
        fix=f"name where they are kept: edgeops keys rotate {folder} --role {role} --with KEY",
    )


def _replaced(
    folder: Path, root: Any, role: str, said: str | None, names: Mapping[str, str]
) -> str:
    """Return the id of the key to replace; ``names`` are those of the root keys at hand, by id."""
    keyids = list(_keyids(root, role))
    if said is None and len(keyids) == 1:
        return str(keyids[0])
    wanted = (said or "-").removesuffix(".pem")
    found = [keyid for keyid in keyids if names.get(keyid) == wanted] or [
        keyid for keyid in keyids if keyid.startswith(wanted)
    ]
    if len(found) == 1:
        return str(found[0])
    known = [keyid[:8] + (f" ({names[keyid]})" if keyid in names else "") for keyid in keyids]
    # What is not here is what was lost, more often than what is.
    likely = next((keyid for keyid in keyids if keyid not in names), keyids[0])
    what = f"say which of the {len(keyids)} keys of {role} is replaced"
    if said is not None:
        what = f"{'several keys' if found else 'no key'} of {role} can be meant by {said!r}"
    raise InputError(
        "root-key-unsaid",
        what,
        where=str(folder),
        why="their ids begin with " + ", ".join(known),
        fix=f"edgeops keys rotate {folder} --role {role} --replace {likely[:8]}",
    )


def _free(folder: Path) -> Path:
    numbers = range(1, 10 * _MOST_ROOT_KEYS)
    places = (folder / OFFLINE / f"root-{number}.pem" for number in numbers)
    return next(place for place in places if not place.exists())


def _keyids(root: Any, role: str) -> list[str]:
    return list(root.signed.roles[role].keyids)


def _parsed(path: Path, kind: Any) -> Any:
    from tuf.api.serialization import DeserializationError

    try:
        metadata = kind.from_bytes(path.read_bytes())
        _ = metadata.signed.roles["root"]
    except (DeserializationError, AttributeError, KeyError) as error:
        raise _no_pending(path, str(error) or type(error).__name__) from error
    return metadata


def _no_pending(path: Path, why: str) -> InputError:
    return InputError(
        "rotation-none",
        f"{path} is no root that waits for signatures",
        where=str(path),
        why=why,
        fix="take a copy of pending.root.json as edgeops keys rotate wrote it",
    )


def _check_threshold(root_keys: int, threshold: int) -> None:
    if not 1 <= threshold <= root_keys <= _MOST_ROOT_KEYS:
        raise InputError(
            "threshold-invalid",
            f"{threshold} of {root_keys} root keys cannot be asked for",
            where="--threshold",
            why=f"there may be 1 to {_MOST_ROOT_KEYS} root keys, and at least one and at most "
            "all of them must sign",
            fix="say for example --root-keys 3 --threshold 2",
        )
