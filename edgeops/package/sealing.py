"""Seal chosen files of a bundle for the devices that hold a key; the counterpart of runtime.sealed.

The rules of nonces:

* the content key is 32 random bytes, made anew for every packing and never used as a key of AES;
* each file has a key of its own, derived from the content key, 16 random bytes and the file's path;
* within a file the nonce is the number of the piece and whether it is the last, so that no nonce
  comes twice under one key, and pieces cannot be moved, dropped or cut off;
* the key that wraps the content key for a recipient comes from an ephemeral key that is used once.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import digest
from edgeops.core.files import canonical_json, make_folder, write_atomic
from edgeops.core.manifest import SEALED_FORMAT, SEALED_KEYS, SEALED_PIECE, Seal
from edgeops.errors import InputError, UsageProblem
from edgeops.package.layout import Part
from edgeops.runtime.sealed import derive, file_key, piece_nonce, recipient_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BytesIO, FileIO

PRIVATE, PUBLIC = "device.key", "device.pub"
KINDS = ("variant", "features", "rules", "labels", "baseline", "code", "doc")
_OPEN = "variant.json"  # says what a variant is: devices, publish and verify read it without a key
_KEY_BYTES, _NONCE_BYTES = 32, 16
_MAX_PEM = 1 << 14


class SealedFile:
    """A file that is sealed while it is read; ``seal`` says at the end what it was."""

    def __init__(self, file: FileIO | BytesIO, size: int, key: bytes, nonce: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._file, self._size, self._nonce = file, size, nonce
        self._aes = AESGCM(key)
        self._sha = hashlib.sha256()
        self._number = self._done = self._at = 0
        self._held = b""
        self._ended = False

    @property
    def seal(self) -> Seal:
        """What was sealed."""
        return Seal(digest(self._sha.hexdigest()), self._done, self._nonce)

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` with the next sealed bytes; raises ValueError when the size changed."""
        if self._at == len(self._held):
            self._held, self._at = self._piece(), 0
        count = min(len(buffer), len(self._held) - self._at)
        buffer[:count] = memoryview(self._held)[self._at : self._at + count]
        self._at += count
        return count

    def _piece(self) -> bytes:
        if self._ended:
            return b""
        plain = self._read()
        self._done += len(plain)
        self._sha.update(plain)
        self._ended = self._done >= self._size
        if self._done > self._size or (not plain and self._size) or self._grown():
            message = f"it had {self._size} bytes and then others: something is writing to it"
            raise ValueError(message)
        number, self._number = self._number, self._number + 1
        return self._aes.encrypt(piece_nonce(number, last=self._ended), plain, None)

    def _read(self) -> bytes:
        plain = self._file.read(SEALED_PIECE) or b""
        while len(plain) < SEALED_PIECE and (more := self._file.read(SEALED_PIECE - len(plain))):
            plain += more
        return plain

    def _grown(self) -> bool:
        return self._ended and bool(self._file.read(1))


class Sealer:
    """The content key of one bundle, and whom it is for.

    ``chosen`` are the kinds, or kind and target, to seal: ``variant`` or ``variant:gateway``.
    """

    def __init__(self, chosen: Sequence[str], recipients: Sequence[bytes]) -> None:
        self._chosen = [tuple(text.partition(":")[::2]) for text in chosen]
        self._recipients = sorted(set(recipients), key=recipient_id)
        self._key = os.urandom(_KEY_BYTES)

    def takes(self, part: Part) -> bool:
        """Return whether a file is to be sealed."""
        if part.kind not in KINDS or Path(part.path).name == _OPEN:
            return False
        return any(
            kind == part.kind and target in ("", part.target or "") for kind, target in self._chosen
        )

    def check(self, parts: Sequence[Part]) -> None:
        """Raise UsageProblem ``encrypt-usage`` where a choice would seal nothing, unnoticed."""
        for kind, target in self._chosen:
            one = Sealer([f"{kind}:{target}" if target else kind], ())
            if not any(one.takes(part) for part in parts):
                raise _usage(
                    f"the bundle has nothing of the kind {kind!r}"
                    + (f" for {target}" if target else "")
                    + " to seal",
                    "who asks for it to be sealed would believe that it is",
                    f"leave {kind!r} out of what is encrypted, or include what was forgotten",
                )

    def sealed(self, path: str, file: FileIO | BytesIO, size: int) -> SealedFile:
        """Return the file at ``path`` in the bundle, sealed as it is read."""
        nonce = os.urandom(_NONCE_BYTES).hex()
        return SealedFile(file, size, file_key(self._key, nonce, path), nonce)

    def keys(self) -> Part:
        """Return sealed.json: the content key, wrapped for each recipient."""
        entries = [_wrap(self._key, public) for public in self._recipients]
        document = {"format": SEALED_FORMAT, "recipients": entries}
        return Part(SEALED_KEYS, "index", canonical_json(document))


def sealer(chosen: Sequence[str], recipients: Sequence[Path], targets: Sequence[str]) -> Sealer:
    """Return what seals files as ``pack --encrypt --recipient`` says.

    Raises UsageProblem ``encrypt-usage``, InputError ``recipient-missing`` or
    ``recipient-malformed``.
    """
    for text in chosen:
        kind, _, target = text.partition(":")
        if kind not in KINDS or (target and (target not in targets or kind not in _TARGETED)):
            raise _usage(
                f"nothing can be sealed as {text!r}",
                f"the kinds are {', '.join(KINDS)}; of {', '.join(_TARGETED)} one target can be named: "
                f"{', '.join(targets)}",
            )
    if not chosen or not recipients:
        raise _usage(
            "what to encrypt and for whom go together",
            "a file is sealed for recipients, who can open it; nobody else can, not even you",
        )
    return Sealer(chosen, [read_recipient(path) for path in recipients])


_TARGETED = ("variant", "baseline", "code")


def _usage(what: str, why: str, fix: str = "") -> UsageProblem:
    fix = fix or "edgeops pack ... --encrypt variant --recipient device.pub"
    return UsageProblem("encrypt-usage", what, why=why, fix=fix)


def make_recipient(folder: Path) -> dict[str, Any]:
    """Make the key pair of a device, or of a fleet that shares one, in ``folder``.

    Raises InputError ``recipient-exists``: a lost key opens nothing any more.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    if (folder / PRIVATE).exists() or (folder / PUBLIC).exists():
        raise InputError(
            "recipient-exists",
            f"{folder} holds a recipient's key already",
            where=str(folder / PRIVATE),
            why="what was sealed for it could never be opened again without it",
            fix="name another folder",
        )
    key = X25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    make_folder(folder)
    _write_secret(folder / PRIVATE, pem)
    public = key.public_key()
    about = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_atomic(folder / PUBLIC, about)
    return {
        "public": str(folder / PUBLIC),
        "private": str(folder / PRIVATE),
        "recipient": recipient_id(public.public_bytes_raw()),
    }


def read_recipient(path: Path) -> bytes:
    """Return the 32 bytes of the X25519 public key in a PEM file, or in a folder's device.pub.

    Raises InputError ``recipient-missing`` or ``recipient-malformed``.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    file = path / PUBLIC if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            key = load_pem_public_key(opened.read(_MAX_PEM))
    except OSError as error:
        why, code = error.strerror or str(error), "recipient-missing"
    except (ValueError, UnsupportedAlgorithm) as error:
        why, code = str(error).splitlines()[0], "recipient-malformed"
    else:
        if isinstance(key, X25519PublicKey):
            return key.public_bytes_raw()
        why, code = "it is a public key of another kind", "recipient-malformed"
    fix = f"name the {PUBLIC} that edgeops keys recipient wrote"
    if code == "recipient-missing":
        raise InputError(
            "recipient-missing",
            f"there is no public key of a recipient at {file}",
            where=str(file),
            why=why,
            fix=fix,
        )
    raise InputError(
        "recipient-malformed",
        f"{file} holds no public key that files can be sealed for",
        where=str(file),
        why=why,
        fix=fix,
    )


def _write_secret(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _wrap(content_key: bytes, public: bytes) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    once = X25519PrivateKey.generate()
    ephemeral = once.public_key().public_bytes_raw()
    secret = once.exchange(X25519PublicKey.from_public_bytes(public))
    # The wrapping key is used this once, so that a nonce of zeros comes once.
    key = derive(secret, ephemeral + public, b"wrap")
    return {
        "recipient": recipient_id(public),
        "ephemeral": ephemeral.hex(),
        "wrapped": AESGCM(key).encrypt(bytes(12), content_key, None).hex(),
    }
