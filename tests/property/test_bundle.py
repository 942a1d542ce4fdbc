"""No byte of a bundle can change unseen."""

from __future__ import annotations

import contextlib
import json
import os
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.core.files import canonical_json
from edgeops.core.manifest import (
    KINDS,
    SEALED_PIECE,
    Descriptor,
    Layer,
    Manifest,
    parse_manifest,
    sealed_size,
)
from edgeops.core.targets import TargetNeeds, encode_targets, fits, parse_targets
from edgeops.errors import InputError, TrustError
from edgeops.package.bundle import open_bundle
from edgeops.package.layout import Part
from edgeops.package.sealing import Sealer, make_recipient
from edgeops.package.verify import verify_bundle
from edgeops.package.write import write_bundle
from edgeops.publish.keys import init_keys
from edgeops.runtime.sealed import content_key, opened
from tests.unit._bundles import make_bundle, pack_full


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    init_keys(folder / "keys")
    bundle = make_bundle(folder, key=folder / "keys")
    return bundle.read_bytes(), folder / "keys" / "release.pub", folder / "flipped.edgeops"


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_flipping_any_bit_is_refused(signed, data):
    whole, _, place = signed
    position = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    flipped = bytearray(whole)
    flipped[position] ^= 1 << bit
    place.write_bytes(flipped)
    with pytest.raises((InputError, TrustError)) as caught:
        verify_bundle(place)
    assert caught.value.exit_code == (3 if position < 512 else 20)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_cutting_anywhere_is_refused(signed, data):
    whole, key, place = signed
    place.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises((InputError, TrustError)):
        verify_bundle(place, key)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_moving_a_block_is_refused(signed, data):
    whole, key, place = signed
    blocks = [whole[start : start + 512] for start in range(0, len(whole), 512)]
    taken, put = (data.draw(st.integers(0, len(blocks) - 1)) for _ in range(2))
    moved = blocks.copy()
    moved.insert(put, moved.pop(taken))
    if b"".join(moved) == whole:
        return
    place.write_bytes(b"".join(moved))
    with pytest.raises((InputError, TrustError)):
        verify_bundle(place, key)


def test_the_untouched_bundle_is_accepted(signed):
    whole, key, place = signed
    place.write_bytes(whole)
    assert verify_bundle(place, key)["verified"] is True


_names = st.text("abcdefgh.-_", min_size=1, max_size=8).filter(lambda name: name.strip("."))
_placed = ("variant", "index", "baseline")  # these lie where their kind says
_plain_kinds = st.sampled_from([kind for kind in KINDS if kind not in _placed])


@given(files=st.dictionaries(_names, st.tuples(st.binary(max_size=2000), _plain_kinds)))
@settings(max_examples=60, deadline=None)
def test_what_is_packed_comes_out(tmp_path_factory, files):
    files.pop("bundle.json", None)
    place = Path(tmp_path_factory.getbasetemp()) / "round.edgeops"
    parts = [Part(name, kind, data) for name, (data, kind) in files.items()]
    write_bundle(place, "round", "1.0", parts, variants={})
    first = place.read_bytes()
    with open_bundle(place) as bundle:
        found = {
            item.path: (b"".join(bundle.pieces(item.blob)), item.kind)
            for item in bundle.manifest.layers
        }
    write_bundle(place, "round", "1.0", parts[::-1], variants={})
    assert found == files
    assert place.read_bytes() == first


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Return a bundle with every new kind of file in it, sealed and not."""
    folder = tmp_path_factory.mktemp("sealed")
    make_recipient(folder / "key")
    bundle = pack_full(
        folder, encrypt=("variant:gateway", "labels"), recipients=(folder / "key",), sdk=("python",)
    )
    return bundle.read_bytes(), folder / "flipped.edgeops"


@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_flipping_any_bit_of_sealed_files_wheels_and_documents_is_refused(sealed, data):
    whole, place = sealed
    position = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    place.write_bytes(flipped)
    with pytest.raises((InputError, TrustError)) as caught:
        verify_bundle(place)
    assert caught.value.exit_code == (3 if position < 512 else 20)


_sizes = st.one_of(
    st.integers(0, 3000),
    st.sampled_from([SEALED_PIECE + by for by in (-1, 0, 1)] + [2 * SEALED_PIECE]),
)


@given(size=_sizes, cut=st.integers(500, 1 << 21), data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_sealed_opens_however_it_is_cut_and_only_whole(size, cut, data):
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.generate()
    sealing = Sealer(["code"], [key.public_key().public_bytes_raw()])
    plain = bytes(range(256)) * (size // 256 + 1)
    source = sealing.sealed("a/b", BytesIO(plain[:size]), size)
    room = bytearray(sealed_size(size) + 1)
    done = 0
    while count := source.readinto(memoryview(room)[done : done + cut]):
        done += count
    assert done == sealed_size(size)
    whole = bytes(room[:done])
    layer = Layer(Descriptor("x", "sha256:" + "0" * 64, done), "a/b", "code", None, source.seal)
    secret = content_key(sealing.keys().source, key, "x")
    pieces = [whole[at : at + cut] for at in range(0, done, cut)]
    assert b"".join(opened(pieces, layer, secret)) == plain[:size]
    wrong = bytearray(whole)
    wrong[data.draw(st.integers(0, done - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for changed in (bytes(wrong), whole[: data.draw(st.integers(0, done - 1))]):
        with pytest.raises(TrustError):
            list(opened([changed], layer, secret))


_parts = st.sampled_from(["a", "..", ".", "", "a\\b", "c:", "\0", "é", "A", "x" * 40, "\u202e"])


@given(
    parts=st.lists(_parts, min_size=1, max_size=5),
    kind=st.sampled_from(["code", "runtime", "doc", "variant", "evidence", "index", "baseline"]),
    target=st.sampled_from([None, "gateway"]),
)
@settings(max_examples=200, deadline=None)
def test_no_path_of_a_manifest_leads_outside(parts, kind, target):
    path = "/".join(parts)
    blob = Descriptor("x", "sha256:" + "0" * 64, 0)
    config = Descriptor("x", "sha256:" + "1" * 64, 0)
    manifest = Manifest("x", "1", config, (Layer(blob, path, kind, target),))
    with contextlib.suppress(TrustError):
        (layer,) = parse_manifest(manifest.encode(), "m").layers
        resolved = Path(os.path.normpath(Path("/root/place") / layer.path))
        assert resolved.is_relative_to("/root/place")
        assert resolved != Path("/root/place")


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_GOOD = TargetNeeds("mnn", "3.6.1", "int8", 10, "sha256:" + "0" * 64, ("aarch64",), None, 12.5)


@given(key=st.sampled_from([*_GOOD.to_json(), "other"]), value=_values)
@settings(max_examples=150, deadline=None)
def test_an_index_is_read_back_or_refused(key, value):
    document = {"format": "edgeops.targets/1", "targets": {"a": {**_GOOD.to_json(), key: value}}}
    with contextlib.suppress(TrustError):
        targets = parse_targets(canonical_json(document), "t")
        assert encode_targets(targets) == canonical_json(document)
        fits(targets["a"], {"engine": "mnn", "engine_version": "3.7", "arch": "arm64", "opset": 9})


@given(key=st.sampled_from(["format", "nonce", "plain", "size", "other"]), value=_values)
@settings(max_examples=150, deadline=None)
def test_what_a_layer_says_of_its_seal_is_read_back_or_refused(key, value):
    seal = {
        "format": "edgeops.sealed/1",
        "nonce": "0" * 32,
        "plain": "sha256:" + "1" * 64,
        "size": 5,
        key: value,
    }
    blob = Descriptor("x", "sha256:" + "0" * 64, 5 + 16)
    config = Descriptor("x", "sha256:" + "1" * 64, 0)
    document = json.loads(Manifest("x", "1", config, (Layer(blob, "a", "code"),)).encode())
    text = json.dumps(seal, sort_keys=True, separators=(",", ":"))
    document["layers"][0]["annotations"]["dev.edgeops.sealed"] = text
    data = canonical_json(document)
    with contextlib.suppress(TrustError):
        manifest = parse_manifest(data, "m")
        assert manifest.encode() == data
        assert manifest.layers[0].content.size == 5
