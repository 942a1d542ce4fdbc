"""What an agent reads of a disk and of a wheel is hostile until proven: no input gets it off its feet."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.core import lifecycle
from edgeops.errors import TrustError
from edgeops.runtime.agent.home import Slot, State, parse_state
from edgeops.runtime.agent.wheels import unpack_wheel

TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DIGESTS = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
SLOTS = st.none() | st.builds(Slot, TEXT, DIGESTS, st.sampled_from(["", "gateway"]))
TIMES = st.none() | st.just("2026-01-01T00:00:00Z")
STATES = st.builds(
    State,
    state=st.sampled_from(lifecycle.STATES),
    current=SLOTS,
    previous=SLOTS,
    candidate=SLOTS,
    warm_ups=st.integers(0, 9),
    refused=st.dictionaries(DIGESTS, st.fixed_dictionaries({"why": TEXT, "at": TEXT}), max_size=3),
    available=st.none() | st.fixed_dictionaries({"version": TEXT, "digest": DIGESTS}),
    device_id=TEXT,
    last_checked=TIMES,
    last_verified=TIMES,
)


@given(STATES)
def test_state_is_read_as_it_was_written(state):
    assert parse_state(state.encode()) == state
    assert parse_state(state.encode()).encode() == state.encode()


@given(STATES, st.data())
def test_field_of_another_kind_is_refused_or_harmless(state, data):
    document = json.loads(state.encode())
    name = data.draw(st.sampled_from(sorted(document)))
    document[name] = data.draw(JSON)
    try:
        found = parse_state(json.dumps(document).encode())
    except ValueError:
        return
    assert parse_state(found.encode()) == found
    assert found.state in lifecycle.STATES
    assert found.refuse("sha256:" + "0" * 64, "why", "2026-01-01T00:00:00Z").encode()


@given(STATES, st.data())
def test_flipped_bytes_are_refused_or_a_state(state, data):
    raw = bytearray(state.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert parse_state(bytes(raw)).state in lifecycle.STATES
    except ValueError:
        return


PARTS = st.sampled_from(["a", "b", "..", ".", "", "C:", "x\\y", "site", "\x00", "é"])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@given(files=st.lists(st.tuples(NAMES, st.binary(max_size=20)), max_size=4), data=st.data())
def test_no_wheel_writes_outside(files, data, tmp_path_factory):
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")  # of names that stand there twice
        for name, content in files:
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, content)
    raw = bytearray(out.getvalue())
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    base = tmp_path_factory.mktemp("wheel")
    wheel = base / "w.whl"
    wheel.write_bytes(raw)
    with suppress(TrustError):
        unpack_wheel(wheel, base / "in" / "site")
    inside = base / "in" / "site"
    written = [path for path in base.rglob("*") if path.is_file() and path != wheel]
    assert all(path.is_relative_to(inside) for path in written)
    assert not any(path.is_symlink() for path in base.rglob("*"))


def test_wheel_with_a_name_twice_is_refused(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.py", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.py", b"2")
    (tmp_path / "w.whl").write_bytes(out.getvalue())
    with pytest.raises(TrustError, match="cannot be unpacked"):
        unpack_wheel(tmp_path / "w.whl", tmp_path / "site")
