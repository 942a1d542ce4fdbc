"""No delta, however mutated, makes a wrong file, takes much memory or fails in a strange way."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeops.errors import TrustError
from edgeops.package.deltas import block, make
from edgeops.runtime.delta import apply, header, typed
from edgeops.runtime.delta.reader import Reader
from tests.unit import _deltas

QUICK = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CODES = {"delta-malformed", "delta-base-mismatch", "delta-result-mismatch"}


class Memory:
    """A base that is bytes."""

    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read(self, offset, length):
        return self.data[offset : offset + length]


def numbers(kind, seed, count, changed, noise):
    """Return old and new numbers of a kind, of which a share moved by some noise."""
    random = np.random.default_rng(seed)
    size = typed.KINDS[kind].size
    if noise is None:  # any bits at all: infinities, NaNs, denormals, zeros of both signs
        old, new = (random.bytes(size * count) for _ in range(2))
        new = bytearray(new)
        new[: len(new) // 2] = b"\0" * (len(new) // 2)
        return old, bytes(new)
    old = random.normal(size=count)
    new = np.where(random.random(count) < changed, old + noise * random.normal(size=count), old)
    if kind == 5:
        made = [(a.astype("<f4").view("<u4") >> 16).astype("<u2") for a in (old, new)]
    elif kind in (4, 6):
        made = [a.astype({4: "<f2", 6: "<f4"}[kind]) for a in (old, new)]
    else:
        made = [np.rint(a * 30).astype(f"<i{size}") for a in (old, new)]
    return made[0].tobytes(), made[1].tobytes()


@QUICK
@given(
    kind=st.sampled_from(sorted(typed.KINDS)),
    seed=st.integers(0, 99),
    count=st.sampled_from([1, 2, 3, 7, 300, 5000]),
    changed=st.sampled_from([0.001, 0.1, 1.0]),
    noise=st.sampled_from([None, 1e-4, 0.01, 0.3, 100.0]),
)
def test_numbers_come_back(kind, seed, count, changed, noise):
    old, new = numbers(kind, seed, count, changed, noise)
    record = block.encode(kind, old, new, 0)
    if record is None:
        return  # nothing in common: written as it is
    base = Memory(old)
    reader = Reader(record, base)
    assert reader.byte() == header.TYPED
    assert bytes(typed.read_block(reader, base, len(new))) == new
    reader.end()


@pytest.fixture(scope="module", params=["fp32", "int8", "fp16", "zstd"])
def known(request, tmp_path_factory):
    """Return a base, a delta that fits it and the size and digest of what it makes."""
    folder = tmp_path_factory.mktemp("delta")
    old = _deltas.weights(_deltas.SMALL)
    kind, methods = request.param, ("tensor",)
    if kind == "zstd":
        pytest.importorskip("zstandard")
        kind, methods = "int8", ("zstd",)
    before, after = _deltas.files(
        folder, *(_deltas.network(w, kind) for w in (old, _deltas.tuned(old, 0.02)))
    )
    delta = make(before, after, name="model.onnx", most=1.0, methods=methods)
    return before, delta.data, after.read_bytes()


@QUICK
@given(data=st.data())
def test_mutated_delta_is_refused_or_makes_the_right_file(known, tmp_path, data):
    base, delta, right = known
    mutated = bytearray(delta)
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the changes go where the records begin: that is where sizes and places stand.
        last = len(mutated) - 1
        at = data.draw(st.integers(0, min(last, 400)) | st.integers(0, last))
        do = data.draw(st.sampled_from(["flip", "cut", "insert", "drop", "extreme"]))
        if do == "flip":
            mutated[at] ^= 1 << data.draw(st.integers(0, 7))
        elif do == "cut":
            del mutated[max(at, 1) :]
        elif do == "insert":
            mutated[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        elif do == "drop":
            del mutated[at : at + data.draw(st.integers(1, 9))]
        else:
            mutated[at : at + 8] = b"\xff" * 7 + b"\x7f"
        mutated = mutated or bytearray(b"\0")
    out = tmp_path / "out"
    tracemalloc.start()
    code = ""
    try:
        apply(base, bytes(mutated), out, expect=_deltas.digest(right), size=len(right))
    except TrustError as error:
        code = error.code
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= 16e6
    if code:
        assert code in CODES
        assert list(tmp_path.iterdir()) == []
    else:
        assert out.read_bytes() == right
        out.unlink()
