"""Sealed files of a bundle: opened in memory with a device's key, never written to a disk in clear.

A random content key seals the files of one bundle. ``sealed.json`` holds it once a recipient,
wrapped for that recipient's X25519 key. docs/formats/encryption.md has every byte of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import PREFIX
from edgeops.core.files import trusted_links
from edgeops.core.manifest import FILE, SEALED_FORMAT, SEALED_KEYS, SEALED_PIECE, SEALED_TAG
from edgeops.errors import InputError, MissingError, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edgeops.core.manifest import Layer, Manifest

_KEY_BYTES = 32
_MAX_KEYS = 1 << 20
_MAX_PEM = 1 << 14
_INFO = SEALED_FORMAT.encode()


def derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256 (RFC 5869)."""
    hashes, hkdf = _crypto("primitives.hashes"), _crypto("primitives.kdf.hkdf")
    key: bytes = hkdf.HKDF(hashes.SHA256(), _KEY_BYTES, salt, _INFO + b" " + info).derive(secret)
    return key


def file_key(content_key: bytes, nonce: str, path: str) -> bytes:
    """Return the key of one file: another nonce or another path has another key."""
    return derive(content_key, bytes.fromhex(nonce), b"file " + path.encode())


def piece_nonce(number: int, *, last: bool) -> bytes:
    """Return the 12 bytes that AES-GCM takes for a piece: its number, and whether it is the last."""
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def recipient_id(public: bytes) -> str:
    """Return the name of a recipient: the sha256 of the 32 bytes of the public key."""
    return hashlib.sha256(public).hexdigest()


def read_key(path: Path) -> Any:
    """Return the X25519 private key in a PEM file.

    Raises MissingError ``sealed-key-missing`` when it is not there, InputError
    ``sealed-key-malformed``.
    """
    serialization = _crypto("primitives.serialization")
    kind = _crypto("primitives.asymmetric.x25519").X25519PrivateKey
    try:
        with path.open("rb") as file:
            key = serialization.load_pem_private_key(file.read(_MAX_PEM), None)
    except OSError as error:
        raise MissingError(
            "sealed-key-missing",
            f"there is no key to open sealed files with at {path}",
            where=str(path),
            why=error.strerror or str(error),
            fix="name the device.key that edgeops keys recipient wrote",
        ) from error
    except (ValueError, TypeError, _crypto_exceptions().UnsupportedAlgorithm) as error:
        key, why = None, str(error).splitlines()[0]
    else:
        why = "it is a private key of another kind"
    if isinstance(key, kind):
        return key
    raise InputError(
        "sealed-key-malformed",
        f"{path} holds no key that opens sealed files",
        where=str(path),
        why=why,
        fix="name the device.key that edgeops keys recipient wrote",
    )


def content_key(document: bytes, key: Any, where: str) -> bytes:
    """Return the content key in sealed.json that is wrapped for ``key``.

    Raises TrustError ``sealed-for-others`` when it is for none of the recipients, ``sealed-changed``
    when it does not open.
    """
    aead = _crypto("primitives.ciphers.aead")
    public = key.public_key().public_bytes_raw()
    try:
        entries = _recipients(document)
        wrapped = entries.get(recipient_id(public))
        if wrapped is None:
            raise _for_others(where, len(entries))
        peer = _crypto("primitives.asymmetric.x25519").X25519PublicKey
        ephemeral, sealed = wrapped
        secret = key.exchange(peer.from_public_bytes(ephemeral))
        opener = aead.AESGCM(derive(secret, ephemeral + public, b"wrap"))
        found: bytes = opener.decrypt(bytes(12), sealed, None)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _changed(f"{where}: {SEALED_KEYS}", str(error)) from error
    except _crypto_exceptions().InvalidTag as error:
        raise _changed(f"{where}: {SEALED_KEYS}", "the wrapped key does not open") from error
    return found


def opened(pieces: Iterable[bytes], layer: Layer, content_key: bytes) -> Iterator[bytes]:
    """Yield the plaintext of a sealed file from the pieces of its blob, however they are cut.

    Each piece is authentic when it is yielded; that it is the whole file is known at the end.
    Raises TrustError ``sealed-truncated`` or ``sealed-changed``.
    """
    seal = layer.seal
    if seal is None:
        yield from pieces
        return
    opener = _crypto("primitives.ciphers.aead").AESGCM(
        file_key(content_key, seal.nonce, layer.path)
    )
    sha, done, last = hashlib.sha256(), 0, False
    for number, piece in enumerate(_cut(pieces)):
        last = done + len(piece) - SEALED_TAG >= seal.size
        try:
            plain = opener.decrypt(piece_nonce(number, last=last), piece, None)
        except (_crypto_exceptions().InvalidTag, ValueError) as error:
            raise _changed(layer.path, f"piece {number} does not open") from error
        done += len(plain)
        sha.update(plain)
        yield plain
    if not last:  # an empty file has one piece too, which proves that it is empty
        raise TrustError(
            "sealed-truncated",
            f"{layer.path} ends too early",
            where=layer.path,
            why=f"it opens to {done} bytes and should have {seal.size}",
            fix="fetch or copy the release again",
        )
    if PREFIX + sha.hexdigest() != seal.plain:
        raise _changed(layer.path, "it opens to another file than the manifest names")


@contextmanager
def unsealed_folder(folder: Path, manifest: Manifest, key: Path | None) -> Iterator[Path]:
    """Yield a folder that looks like ``folder`` with its sealed files open, while the block runs.

    ``folder`` is an unpacked bundle or a slot. Sealed files are links to memory of this process
    (memfd), all others links to themselves; what is not in ``folder`` is left out. Without sealed
    files ``folder`` itself is yielded. Raises MissingError ``sealed-key-needed``, and what
    :func:`read_key`, :func:`content_key` and :func:`opened` raise.
    """
    there = [item for item in manifest.layers if (folder / item.path).is_file()]
    sealed = [item for item in there if item.seal is not None]
    if not sealed:
        yield folder
        return
    secret = _secret(folder, key)
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="edgeops-open-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        stack.enter_context(trusted_links(place))
        for item in there:
            link = place / item.path
            link.parent.mkdir(parents=True, exist_ok=True)
            goal = str((folder / item.path).resolve())
            if item.seal is not None:
                goal = stack.enter_context(_in_memory(folder, item, secret))
            link.symlink_to(goal)
        (place / FILE).symlink_to((folder / FILE).resolve())
        yield place


@contextmanager
def unsealed_file(folder: Path, layer: Layer, key: Path | None) -> Iterator[Path]:
    """Yield the path of one file of an unpacked bundle, open in memory where it is sealed.

    Raises what :func:`unsealed_folder` does.
    """
    if layer.seal is None:
        yield folder / layer.path
        return
    with _in_memory(folder, layer, _secret(folder, key)) as place:
        yield Path(place)


def _secret(folder: Path, key: Path | None) -> bytes:
    if key is None:
        raise MissingError(
            "sealed-key-needed",
            f"{folder} has sealed files, and no key was given to open them with",
            where=str(folder),
            why="they were packed with encrypt, for devices that hold a key",
            fix="give the device's key: Predictor(path, key=Path('device.key')), or put it at "
            "HOME/device.key for the agent",
        )
    try:
        with (folder / SEALED_KEYS).open("rb") as file:
            document = file.read(_MAX_KEYS)
    except OSError as error:
        raise _changed(str(folder / SEALED_KEYS), error.strerror or str(error)) from error
    return content_key(document, read_key(key), str(folder))


@contextmanager
def _in_memory(folder: Path, layer: Layer, secret: bytes) -> Iterator[str]:
    """Yield the path of a sealed file's plaintext in memory."""
    import fcntl

    if not hasattr(os, "memfd_create"):
        raise MissingError(
            "sealed-no-memory",
            "this system has no files in memory, and sealed files are opened nowhere else",
            where=layer.path,
            why="memfd_create is a call of Linux (3.17 or newer)",
            fix="use a bundle without sealed files on this system",
        )
    number = os.memfd_create("edgeops", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with (folder / layer.path).open("rb") as source, os.fdopen(os.dup(number), "wb") as file:
            for plain in opened(iter(lambda: source.read(SEALED_PIECE), b""), layer, secret):
                file.write(plain)
        # 15: nobody may write, grow or shrink it, or take these seals off (linux/fcntl.h).
        fcntl.fcntl(number, getattr(fcntl, "F_ADD_SEALS", 1033), 15)
        yield f"/proc/{os.getpid()}/fd/{number}"
    finally:
        os.close(number)


def _cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces as they were sealed."""
    size, held = SEALED_PIECE + SEALED_TAG, bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


def _recipients(document: bytes) -> Mapping[str, tuple[bytes, bytes]]:
    value = json.loads(document)
    if value["format"] != SEALED_FORMAT:
        message = f"format is {value['format']!r}, this edgeops reads {SEALED_FORMAT!r}"
        raise ValueError(message)
    return {
        str(item["recipient"]): (bytes.fromhex(item["ephemeral"]), bytes.fromhex(item["wrapped"]))
        for item in value["recipients"]
    }


def _for_others(where: str, count: int) -> TrustError:
    return TrustError(
        "sealed-for-others",
        "the sealed files were sealed for others than the holder of this key",
        where=where,
        why=f"they have {count} recipients, and this key is none of them",
        fix="use the key of a recipient, or have the bundle packed with this one's device.pub",
    )


def _changed(where: str, why: str) -> TrustError:
    return TrustError(
        "sealed-changed",
        "a sealed file was changed or damaged",
        where=where,
        why=why,
        fix="do not use this release: fetch or copy it again from where it came",
    )


def _crypto(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"cryptography.hazmat.{name}")
    except ImportError as error:
        raise MissingError(
            "sealed-no-cryptography",
            "sealed files cannot be opened without the package cryptography",
            where="cryptography",
            why=str(error),
            fix="pip install 'cryptography>=43'",
        ) from error


def _crypto_exceptions() -> Any:
    from importlib import import_module

    return import_module("cryptography.exceptions")
