"""Properties of serving: the breaker is never stuck, frames come back, no request breaks a parser."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.runtime.serving import breaker as b
from edgeops.runtime.serving import wire
from edgeops.runtime.serving.body import JSON, NPY, NPZ, inputs_of
from edgeops.runtime.serving.breaker import Breaker, Rules
from edgeops.runtime.serving.http import parse_head

RULES = Rules(b.ALLOWED, window_s=10, cooldown_s=2, trials=2, openings=3, openings_window_s=60)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "good", "void", *b.ALLOWED]), st.floats(0, 5, allow_nan=False)
    ),
    max_size=60,
)


def play(steps):
    """Yield (what, when, admitted, before, after) of each step."""
    breaker, now = Breaker(), 0.0
    for what, waited in steps:
        before, now, admitted = breaker, now + waited, None
        if what == "ask":
            admitted, breaker = b.admit(breaker, now, RULES)
        elif what == "good":
            breaker = b.good(breaker, RULES)
        elif what == "void":
            breaker = b.void(breaker)
        else:
            breaker = b.fault(breaker, what, now, RULES)
        yield what, now, admitted, before, breaker


@given(STEPS)
def test_breaker_goes_by_its_table_alone(steps):
    for _, _, _, before, after in play(steps):
        if before.state != after.state:
            assert after.state in {
                to for (start, _), to in b.TABLE.items() if start == before.state
            }


@given(STEPS)
def test_breaker_lets_all_in_when_closed_and_one_when_half_open(steps):
    for what, now, admitted, before, after in play(steps):
        if what != "ask":
            continue
        if before.state == b.CLOSED:
            assert admitted
        elif before.state == b.OPEN:
            assert admitted == (now - before.opened[-1] >= RULES.cooldown_s)
        if admitted and after.state == b.HALF_OPEN:
            assert b.admit(after, now, RULES)[0] is False


@given(STEPS)
def test_breaker_is_never_stuck(steps):
    """Whatever happened, a model that is well again serves after the cooldown and its trials."""
    *_, last = [(Breaker(), 0.0), *((after, now) for _, now, _, _, after in play(steps))]
    breaker, now = last
    for _ in range(RULES.trials):
        now += RULES.cooldown_s + 1e-6
        admitted, breaker = b.admit(breaker, now, RULES)
        assert admitted
        breaker = b.good(breaker, RULES)
    assert breaker.state == b.CLOSED


@given(STEPS)
def test_breaker_remembers_little_and_only_what_is_recent(steps):
    for what, now, _, _, after in play(steps):
        if what in b.ALLOWED and after.state == b.OPEN and after.opened[-1] == now:
            assert all(now - when <= RULES.window_s for when, _ in after.faults)
            assert all(now - when <= RULES.openings_window_s for when in after.opened)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ARRAYS = arrays_of.arrays(
    st.sampled_from([np.float32, np.int64, np.uint8, np.bool_, np.float16, np.complex64]),
    arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
VALUES = st.dictionaries(st.text(), ARRAYS | st.binary(max_size=20) | JSONS, max_size=5)


def frame(values, head=None):
    return b"".join(wire.encode(head or {}, values))


def split(data):
    text, body = wire.SIZES.unpack_from(data)
    place = wire.SIZES.size + text
    return data[wire.SIZES.size : place], memoryview(bytearray(data[place : place + body]))


@given(VALUES)
def test_frames_come_back(values):
    head, found = wire.decode(*split(frame(values, {"do": "x"})))
    assert head == {"do": "x"}
    assert list(found) == list(values)
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            assert found[name].tobytes() == value.tobytes()
        else:
            assert found[name] == value


def test_frames_carry_texts_and_what_rules_answer():
    texts = np.array([["a", "ö"], ["", "long"]], dtype=object)
    values = {"t": texts, "r": {"score": np.float32(0.5), "box": np.arange(2)}}
    _, found = wire.decode(*split(frame(values)))
    assert found["t"].tolist() == texts.tolist()
    assert found["r"] == {"score": 0.5, "box": [0, 1]}


@given(st.binary(max_size=200), st.binary(max_size=40))
@example(b'{"values": {"x": {"a": ["|O", [1]]}}}', bytes(8))
@example(b'{"values": {"x": {"a": ["<f4", [-1, -1]]}}}', bytes(4))
@example(b'{"values": {"x": {"a": ["<f4", [1099511627776]]}}}', bytes(4))
@example(b'{"values": {"x": {"b": -5}}}', b"")
@example(b'{"values": {"x": {"t": [2], "j": ["a"]}}}', b"")
def test_frames_of_a_child_gone_mad_are_refused(text, body):
    try:
        wire.decode(text, memoryview(body))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return


X = (TensorInfo("x", ("N", 4), "float32"),)


def code(work, *arguments):
    """Return the code of the InputError that is raised, "" when none is."""
    try:
        work(*arguments)
    except InputError as error:
        return error.code
    return ""


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@given(st.sampled_from([JSON, NPY, NPZ]), st.binary(max_size=300))
@example(NPY, npy(np.zeros(3))[:-1])
@example(NPY, npy(np.array([{}], dtype=object)))
@example(NPZ, npz(x=np.zeros(3))[:-30])
@example(JSON, b'{"inputs": {"x": {"base64": "AAAA", "dtype": "O", "shape": [1]}}}')
@example(JSON, b'{"inputs": {"x": {"base64": "AAAA", "dtype": "<f4", "shape": [4294967296]}}}')
@example(JSON, b"[" * 100_000)
def test_no_body_breaks_the_parser(kind, data):
    assert code(inputs_of, kind, data, X, None) in {"", "serve-malformed"}


@given(ARRAYS)
def test_arrays_come_as_npy_and_npz(array):
    for kind, data in ((NPY, npy(array)), (NPZ, npz(x=array))):
        found = inputs_of(kind, data, X, None)["x"]
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()


@given(st.binary(max_size=300))
def test_no_head_breaks_the_parser(text):
    assert code(lambda: parse_head(text).length) in {"", "serve-malformed", "serve-length"}


@pytest.mark.parametrize(
    "lines",
    [
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        "GET / HTTP/1.1\r\nContent-Length: -1",
        "GET / HTTP/1.1\r\nContent-Length: 1_0",
        "GET / HTTP/1.1\r\nContent-Length : 1",
        "GET / HTTP/1.1\r\nno header",
        "GET http://other/ HTTP/1.1",
        "GET / HTTP/2",
        "GET /",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(lines):
    with pytest.raises(InputError) as caught:
        assert parse_head(lines.encode()).length
    assert caught.value.code == "serve-malformed"
