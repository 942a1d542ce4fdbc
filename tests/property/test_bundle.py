"""No byte of a bundle can change unseen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.core.manifest import KINDS
from edgeops.errors import InputError, TrustError
from edgeops.package.bundle import open_bundle
from edgeops.package.layout import Part
from edgeops.package.verify import verify_bundle
from edgeops.package.write import write_bundle
from edgeops.publish.keys import init_keys
from tests.unit._bundles import make_bundle


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
_plain_kinds = st.sampled_from([kind for kind in KINDS if kind not in ("variant", "index")])


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
