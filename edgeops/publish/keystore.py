"""A keys folder: what lies in it, how it is read, how private keys are kept.

Files of a keys folder:

* ``root.json``: the trusted root that devices ship with, the newest version.
* ``roots/N.root.json``: all versions, which a repository must be able to serve.
* ``offline/root-1.pem`` and further: the root keys, which replace the other keys; keep them away.
* ``targets.pem snapshot.pem timestamp.pem``: the online keys. targets.pem also signs bundles.
* ``ROLE.previous.pem``: the key before the last rotation, which signs along until the repository
  serves the new root. ``ROLE.next.pem`` and ``pending.root.json`` exist only during a rotation.
* ``release.pub``: the public key of targets.pem.

Private keys are PKCS8, mode 0600, encrypted when EDGEOPS_KEY_PASSPHRASE is set.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from edgeops.core.files import disk_errors, write_atomic
from edgeops.errors import InputError, MissingError, TrustError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROLES = ("root", "targets", "snapshot", "timestamp")
ONLINE = ROLES[1:]
# How long metadata is good for. A device that sees nothing newer for so long refuses to update
# (and goes on serving): publishing anything, or the same bundle again, renews what is past half.
LIFETIME = {
    "root": timedelta(days=730),
    "targets": timedelta(days=365),
    "releases": timedelta(days=365),
    "snapshot": timedelta(days=90),
    "timestamp": timedelta(days=30),
}
# From when on publishing and renewing say that the root must be followed by another.
ROOT_NOTICE = timedelta(days=90)
OFFLINE = "offline"
PASSPHRASE = "EDGEOPS_KEY_PASSPHRASE"  # noqa: S105 - the name of the variable, no passphrase
_MODE_KEY = 0o600
_MODE_FOLDER = 0o700


@dataclass(frozen=True)
class Keys:
    """A keys folder that was read: ``root`` is tuf's Metadata[Root], ``roots`` all versions' bytes.

    ``signers`` are securesystemslib signers by role: the current key first, then the previous one.
    """

    folder: Path
    root: Any
    roots: Mapping[int, bytes]
    signers: Mapping[str, tuple[Any, ...]]

    def sign_release(self, data: bytes) -> bytes:
        """Return the raw ed25519 signature of the release key over ``data``."""
        return bytes.fromhex(self.signers["targets"][0].sign(data).signature)

    def release_keys(self) -> dict[str, Any]:
        """Return the public keys that bundles may be signed with: the current and the last one."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        public = [item.public_key for item in self.signers["targets"]]
        return {
            str(key.keyid): Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))
            for key in public
        }

    @property
    def release_keyid(self) -> str:
        """The id of the release key in repository metadata."""
        return str(self.signers["targets"][0].public_key.keyid)

    def check_roots(self, served: int) -> None:
        """Raise MissingError ``roots-missing`` unless all roots from the one served on are here."""
        for version in range(max(served, 1), self.root.signed.version):
            if version not in self.roots:
                raise MissingError(
                    "roots-missing",
                    f"roots/{version}.root.json is not in {self.folder}",
                    where=str(self.folder),
                    why=f"root.json is version {self.root.signed.version}, and devices that know "
                    "an older one follow it over each version between",
                    fix="copy the folder roots from where the keys were rotated",
                )

    def check_expiry(self, now: datetime) -> None:
        """Raise TrustError ``root-expired`` when devices would refuse what is signed now."""
        root = self.root.signed
        if root.expires > now:
            return
        raise TrustError(
            "root-expired",
            f"root.json expired on {root.expires:%Y-%m-%d}: devices refuse all that is signed now",
            where=str(self.folder),
            why=f"it is version {root.version}, and this machine's clock says {now:%Y-%m-%d}",
            fix="check this machine's clock; if it is right, the next root is made with the root "
            f"keys: edgeops keys rotate {self.folder} --role timestamp --to REPO",
        )

    def notes(self, now: datetime) -> list[str]:
        """Return what a person must do soon, which no renewing does: make the next root."""
        root = self.root.signed
        if root.expires - now > ROOT_NOTICE:
            return []
        note = f"root.json is good until {root.expires:%Y-%m-%d}: before that make the next one"
        return [f"{note}: edgeops keys rotate {self.folder} --role timestamp --to REPO"]

    def check_online(self) -> None:
        """Raise MissingError ``keys-missing`` unless all online keys are here."""
        absent = [role for role in ONLINE if role not in self.signers]
        if absent:
            raise MissingError(
                "keys-missing",
                f"a new root needs the keys of {' and '.join(absent)} to come into a repository",
                where=str(self.folder),
                why="all that is served must be signed by keys that the new root names, at once",
                fix="where all keys are: edgeops renew --to REPO --key DIR",
            )


_FROM_REPOSITORY = (
    "copy it there from where you keep the keys; a repository has it as metadata/N.root.json"
)


def load_keys(folder: Path, roles: tuple[str, ...] = ONLINE) -> Keys:
    """Read root.json and the private keys of ``roles``.

    Raises MissingError ``keys-missing`` or ``key-locked``, InputError ``key-malformed`` or
    ``key-passphrase``, TrustError ``root-malformed`` or ``key-foreign``.
    """
    if not (folder / "root.json").is_file():
        raise keys_missing(folder)
    data = (folder / "root.json").read_bytes()
    metadata = parse_root(data, str(folder / "root.json"))
    signers = {
        role: root_signers(folder, metadata) if role == "root" else _signers(folder, metadata, role)
        for role in roles
    }
    roots = {metadata.signed.version: data}
    for path in (folder / "roots").glob("*.root.json"):
        number = path.name.split(".")[0]
        if number.isdigit() and int(number) < metadata.signed.version:
            roots[int(number)] = path.read_bytes()
    return Keys(folder, metadata, roots, signers)


def present(folder: Path, role: str) -> bool:
    """Return whether a keys folder has a private key for an online role."""
    return (folder / f"{role}.pem").is_file() or (folder / f"{role}.next.pem").is_file()


def keys_missing(folder: Path) -> MissingError:
    """Return the error for a folder that holds no keys, or keys and no root.json."""
    if any(folder.glob("*.pem")):
        found = (folder / "roots").glob("*.root.json")
        roots = sorted(found, key=lambda path: (len(path.name), path.name))
        kept = f"put it back: cp {roots[-1]} {folder / 'root.json'}" if roots else _FROM_REPOSITORY
        return MissingError(
            "keys-missing",
            f"there is no root.json beside the keys in {folder}",
            where=str(folder),
            why="it says which of the keys devices trust",
            fix=kept,
        )
    return MissingError(
        "keys-missing",
        f"there are no signing keys in {folder}",
        where=str(folder),
        why="signing keys are made once, kept outside version control and never downloaded",
        fix="copy them there from where you keep them, for devices trust no others;\n"
        f"only for a new repository make new ones: edgeops keys init {folder}",
    )


def parse_root(data: bytes, where: str) -> Any:
    """Return root.json as tuf's Metadata, checked to be signed by its own root keys.

    Raises TrustError ``root-malformed``.
    """
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root
    from tuf.api.serialization import DeserializationError

    try:
        metadata: Any = Metadata.from_bytes(data)
        if not isinstance(metadata.signed, Root):
            message = f"it is {metadata.signed.type} metadata"
            raise TypeError(message)
        metadata.verify_delegate("root", metadata)
    except (RepositoryError, DeserializationError, TypeError, ValueError) as error:
        raise TrustError(
            "root-malformed",
            f"{where} is no root of trust",
            where=where,
            why=str(error) or type(error).__name__,
            fix="take the root.json that edgeops keys init wrote, from a copy you trust",
        ) from error
    return metadata


def expiry(role: str, now: datetime | None = None) -> datetime:
    """Return when metadata of a role that is signed now expires, in whole seconds of UTC."""
    return (now or datetime.now(UTC)).replace(microsecond=0) + LIFETIME[role]


def generate() -> Any:
    """Return a new private key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


def signer(private: Any) -> Any:
    """Return a private key as what signs metadata."""
    from securesystemslib.signer import CryptoSigner

    return CryptoSigner(private)


def read_signer(path: Path) -> Any:
    """Return what signs with the key in a file; raises as :func:`load_keys` does."""
    return signer(read_private(path))


def root_files(folder: Path) -> list[Path]:
    """Return the files of root keys in a keys folder; older folders have ``root.pem`` at the top."""
    found = sorted((folder / OFFLINE).glob("root*.pem"))
    return [*found, folder / "root.pem"] if (folder / "root.pem").is_file() else found


def root_signers(folder: Path, root: Any) -> tuple[Any, ...]:
    """Return the signers of the root keys that are here and that a root names."""
    keyids = root.signed.roles["root"].keyids
    found = [read_signer(path) for path in root_files(folder)]
    return tuple(item for item in found if item.public_key.keyid in keyids)


def _signers(folder: Path, root: Any, role: str) -> tuple[Any, ...]:
    """Return the signers of a role, the one that root.json names first."""
    names = [f"{role}.pem", f"{role}.next.pem", f"{role}.previous.pem"]
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise MissingError(
            "keys-missing",
            f"the {role} key is not in {folder}",
            where=str(folder / f"{role}.pem"),
            why="what this role signs cannot be signed without it",
            fix="copy it there from where you keep it; if it is lost, where the root keys are: "
            f"edgeops keys rotate {folder} --role {role}",
        )
    signers = [read_signer(path) for path in found]
    keyids = root.signed.roles[role].keyids
    current = [item for item in signers if item.public_key.keyid in keyids]
    if not current:
        raise TrustError(
            "key-foreign",
            f"{found[0].name} is not the key that root.json names for {role}",
            where=str(folder),
            why=f"root.json version {root.signed.version} names {', '.join(keyids)[:12]}",
            fix="put the key and the root.json that belong together into one folder",
        )
    return (*current, *(item for item in signers if item not in current))


def read_private(path: Path) -> Any:
    """Return the private key in a file; raises as :func:`load_keys` does."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = path.read_bytes()
    encrypted = b"ENCRYPTED" in data.split(b"\n", 1)[0]
    passphrase = os.environ.get(PASSPHRASE, "").encode()
    if encrypted and not passphrase:
        raise MissingError(
            "key-locked",
            f"{path.name} is encrypted and no passphrase was given",
            where=str(path),
            why=f"the variable {PASSPHRASE} is not set",
            fix=f"set {PASSPHRASE} to the passphrase the keys were made with",
        )
    try:
        key = load_pem_private_key(data, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise InputError(
                "key-passphrase",
                f"the passphrase does not open {path.name}",
                where=str(path),
                why=f"{PASSPHRASE} is not the one the keys were made with",
                fix=f"set {PASSPHRASE} to the passphrase the keys were made with",
            ) from error
        raise _key_malformed(path, str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _key_malformed(path, f"it is a {type(key).__name__}")
    return key


def _key_malformed(path: Path, why: str) -> InputError:
    return InputError(
        "key-malformed",
        f"{path.name} is no ed25519 private key in PEM form",
        where=str(path),
        why=why,
        fix="restore the file from a backup, or replace the key with: edgeops keys rotate",
    )


def write_private(path: Path, key: Any) -> None:
    """Write a private key for its owner alone, encrypted when a passphrase is set."""
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    passphrase = os.environ.get(PASSPHRASE, "").encode()
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
    temporary = path.with_name(f".{path.name}.new")
    with disk_errors(path):
        path.parent.mkdir(mode=_MODE_FOLDER, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE_KEY)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_MODE_KEY)
        temporary.replace(path)


def write_public(folder: Path, private: Any) -> None:
    """Write the public key that bundles are verified with."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    data = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_atomic(folder / "release.pub", data)


def write_root(folder: Path, metadata: Any) -> None:
    """Make a root the newest: from this moment its keys are the current ones."""
    data = metadata.to_bytes()
    write_atomic(folder / "roots" / f"{metadata.signed.version}.root.json", data)
    write_atomic(folder / "root.json", data)
