"""Signatures of bundles: ed25519 over the manifest's descriptor in a DSSE envelope.

What is signed is DSSE's pre-authentication encoding of type and payload
(github.com/secure-systems-lab/dsse, protocol.md), so that a signature can never be taken for one of
repository metadata made by the same key. The envelope is a blob beside the manifest: signing leaves
the digest of the bundle as it is.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from edgeops.core.files import canonical_json
from edgeops.errors import InputError, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeops.core.manifest import Descriptor
    from edgeops.package.bundle import Bundle

PAYLOAD_TYPE = "application/vnd.oci.descriptor.v1+json"
PUBLIC = "release.pub"
_MAX_ENVELOPE = 1 << 16


def encoding(payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's PAE(type, payload)."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def envelope(subject: Descriptor, keyid: str, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the DSSE envelope over a manifest's descriptor; ``sign`` gives a raw signature."""
    payload = canonical_json(subject.to_json())
    signature = sign(encoding(payload))
    return canonical_json(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
        }
    )


def read_public_keys(path: Path) -> dict[str, Any]:
    """Return the public keys in a PEM file, or in ``release.pub`` of a keys folder, by key id.

    Raises InputError ``public-key-missing`` or ``public-key-malformed``.
    """
    file = path / PUBLIC if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(
            "public-key-missing",
            f"there is no public key at {file}",
            where=str(file),
            why=error.strerror or str(error),
            fix="name the release.pub that edgeops keys init wrote, or the folder it lies in",
        ) from error
    return parse_public_key(data, str(file))


def parse_public_key(data: bytes, where: str) -> dict[str, Any]:
    """Return the ed25519 key in PEM ``data`` by its key id, the one that repository metadata uses.

    Raises InputError ``public-key-malformed``.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    why = "it is no ed25519 public key in PEM form"
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        why = str(error).splitlines()[0] if str(error) else why
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(
            "public-key-malformed",
            f"{where} holds no public key that edgeops signs with",
            where=where,
            why=why,
            fix="name the release.pub that edgeops keys init wrote",
        )
    return {SSlibKey.from_crypto(key).keyid: key}


def signer_of(bundle: Bundle) -> str | None:
    """Return the key id that the bundle says it was signed with; nothing is proven by it."""
    if bundle.envelope_descriptor is None:
        return None
    signatures = _envelope(bundle)["signatures"]
    return str(signatures[0]["keyid"])


def verify_signature(bundle: Bundle, keys: dict[str, Any]) -> str:
    """Return the id of the key among ``keys`` that signed the bundle's manifest.

    Raises TrustError ``signature-missing``, ``signature-unknown-key`` or ``signature-wrong``.
    """
    if bundle.envelope_descriptor is None:
        raise TrustError(
            "signature-missing",
            "the bundle is not signed",
            where=bundle.where,
            why="nobody vouches for where it came from",
            fix="pack it with a key: edgeops pack --key DIR, or pack: {key: DIR} in edgeops.yaml",
        )
    document = _envelope(bundle)
    for item in document["signatures"]:
        if item["keyid"] in keys:
            _check(bundle, document, item, keys[item["keyid"]])
            return str(item["keyid"])
    signers = ", ".join(str(item["keyid"])[:12] for item in document["signatures"])
    raise TrustError(
        "signature-unknown-key",
        "the bundle is signed by another key than the one given",
        where=bundle.where,
        why=f"signed by {signers}, given {', '.join(key[:12] for key in keys)}",
        fix="ask its publisher for their release.pub; do not use the bundle if they did not sign it",
    )


def _check(bundle: Bundle, document: dict[str, Any], item: dict[str, Any], key: Any) -> None:
    from cryptography.exceptions import InvalidSignature

    payload = canonical_json(bundle.manifest_descriptor.to_json())
    why = "it was made for another manifest"
    try:
        if base64.b64decode(document["payload"], validate=True) == payload:
            why = "the key did not make it"
            key.verify(base64.b64decode(item["sig"], validate=True), encoding(payload))
            return
    except (InvalidSignature, binascii.Error, ValueError):
        pass
    raise TrustError(
        "signature-wrong",
        "the bundle's signature does not hold",
        where=bundle.where,
        why=why,
        fix="do not use this bundle: take it again from where it came",
    )


def _envelope(bundle: Bundle) -> dict[str, Any]:
    from edgeops.core.manifest import malformed

    if bundle.envelope_descriptor is None:
        raise malformed(bundle.where, "it has no signature")
    data = bundle.read(bundle.envelope_descriptor, _MAX_ENVELOPE)
    try:
        document: dict[str, Any] = json.loads(data)
        shaped = document["payloadType"] == PAYLOAD_TYPE and all(
            isinstance(item["keyid"], str) and isinstance(item["sig"], str)
            for item in document["signatures"]
        )
        if not shaped or not document["signatures"] or not isinstance(document["payload"], str):
            message = "it is no DSSE envelope"
            raise ValueError(message)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise malformed(bundle.where, f"the signature: {error}") from error
    return document
