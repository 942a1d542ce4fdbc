"""Applying a delta gives the right file or none; what it says of itself is never believed."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import pytest

from edgeops.errors import MissingError, TrustError
from edgeops.package.deltas import make
from edgeops.package.deltas.stream import number
from edgeops.runtime import delta as deltas
from edgeops.runtime.delta import Header, header
from tests.unit import _deltas

OLD = bytes(range(256)) * 40
NEW = OLD[:5000] + b"new" + OLD[5000:]


def records(*parts, method="tensor", old=OLD, new=NEW, end=True):
    """Return a delta with the given records."""
    about = Header(method, _deltas.digest(old), _deltas.digest(new), len(old), len(new))
    return about.encode() + b"".join(parts) + (b"\0" if end else b"")


def copy(offset, length):
    return bytes([header.COPY]) + number(offset) + number(length)


def literal(data):
    return bytes([header.LITERAL]) + number(len(data)) + b"\0" + data


GOOD = records(copy(0, 5000), literal(b"new"), copy(5000, len(OLD) - 5000))


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "old.bin"
    path.write_bytes(OLD)
    return path


def refused(base, delta, **options):
    """Return the code that a delta is refused with, having seen that nothing was left behind."""
    out = base.parent / "out.bin"
    out.write_bytes(b"as it was")
    options = {"expect": _deltas.digest(NEW), "size": len(NEW)} | options
    with pytest.raises(TrustError) as caught:
        deltas.apply(base, delta, out, **options)
    assert out.read_bytes() == b"as it was"
    assert {path.name for path in base.parent.iterdir()} <= {base.name, "out.bin", "d"}
    assert caught.value.exit_code == 20
    return caught.value.code


def test_good_delta_makes_the_file_from_bytes_and_from_a_path(base):
    out = base.parent / "deep" / "out.bin"
    assert deltas.apply(base, GOOD, out, expect=_deltas.digest(NEW)).method == "tensor"
    assert out.read_bytes() == NEW
    path = base.parent / "d"
    path.write_bytes(GOOD)
    deltas.apply(base, path, base, expect=_deltas.digest(NEW), size=len(NEW))
    assert base.read_bytes() == NEW


def test_header_says_what_the_delta_needs_and_makes(tmp_path):
    (tmp_path / "d").write_bytes(GOOD)
    for source in (GOOD, tmp_path / "d"):
        about = deltas.read_header(source)
        assert about == Header(
            "tensor", _deltas.digest(OLD), _deltas.digest(NEW), len(OLD), len(NEW)
        )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:50],
        b"X" + GOOD[1:],
        GOOD[:8] + b"\2" + GOOD[9:],
        GOOD[:9] + b"\7" + GOOD[10:],
        GOOD[:12] + b"\1" + GOOD[13:],
    ],
    ids=["empty", "short", "magic", "version", "method", "reserved"],
)
def test_header_that_is_none_is_refused(base, data):
    with pytest.raises(TrustError, match="no delta") as caught:
        deltas.read_header(data)
    assert caught.value.code == "delta-malformed"
    assert refused(base, data) == "delta-malformed"


def test_wrong_base_is_refused_before_anything_is_read(base):
    base.write_bytes(OLD[:-1] + b"x")
    assert refused(base, GOOD) == "delta-base-mismatch"
    base.write_bytes(OLD[:-1])
    assert refused(base, GOOD) == "delta-base-mismatch"
    gone = base.parent / "gone"
    with pytest.raises(TrustError) as caught:
        deltas.apply(gone, GOOD, base.parent / "out", expect=_deltas.digest(NEW))
    assert caught.value.code == "delta-base-mismatch"


def test_delta_of_another_file_is_refused_however_right_it_is(base):
    assert refused(base, GOOD, expect=_deltas.digest(b"else")) == "delta-malformed"
    assert refused(base, GOOD, size=len(NEW) + 1) == "delta-malformed"


def test_result_of_another_digest_is_refused(base):
    wrong = records(copy(0, 5000), literal(b"bad"), copy(5000, len(OLD) - 5000))
    assert refused(base, wrong) == "delta-result-mismatch"


def packed(size):
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(size)) + packer.flush()


BOMB = packed(100 << 20)
BROKEN = {
    "cut": GOOD[:-1],
    "longer": GOOD + b"\0",
    "too little": records(copy(0, 5000)),
    "too much": records(copy(0, 5000), copy(0, len(OLD))),
    "before the end of the base": records(copy(len(OLD) - 10, 20)),
    "far behind the base": records(copy(1 << 60, 20)),
    "copy of nothing": records(copy(0, 0)),
    "unknown operation": records(b"\x09"),
    "number without end": records(bytes([header.COPY]) + b"\xff" * 12),
    "literal too long": records(bytes([header.LITERAL]) + number(1 << 40) + b"\0"),
    "literal without bytes": records(bytes([header.LITERAL]) + number(5000) + b"\0abc"),
    "unknown codec": records(bytes([header.LITERAL]) + number(5) + b"\x09abcde"),
    "bomb": records(bytes([header.LITERAL]) + number(5000) + b"\1" + number(len(BOMB)) + BOMB),
    "small bomb": records(
        bytes([header.LITERAL]) + number(50) + b"\1" + number(len(packed(5000))) + packed(5000)
    ),
    "not deflated": records(bytes([header.LITERAL]) + number(50) + b"\1" + number(4) + b"\xff" * 4),
    "dictionary outside": records(bytes([header.LITERAL]) + number(5) + b"\2" + number(1 << 50)),
    "unknown kind": records(bytes([header.TYPED, 99]) + number(0) + number(10)),
    "block too long": records(bytes([header.TYPED, 1]) + number(0) + number(1 << 30)),
    "block outside": records(bytes([header.TYPED, 1]) + number(10_000) + number(5000) + b"\0"),
    "unknown flags": records(bytes([header.TYPED, 1]) + number(0) + number(8) + b"\x10"),
    "unknown width": records(bytes([header.TYPED, 1]) + number(0) + number(8) + b"\x0c"),
    "integers sorted": records(bytes([header.TYPED, 1]) + number(0) + number(8) + b"\2\1\0\0"),
    "odd shift": records(bytes([header.TYPED, 3]) + number(0) + number(8) + b"\0\3"),
    "shift of all": records(bytes([header.TYPED, 1]) + number(0) + number(8) + b"\0\x08"),
    "empty mask": records(bytes([header.TYPED, 1]) + number(0) + number(8) + b"\1\0\0"),
    "mask too long": records(bytes([header.TYPED, 1]) + number(0) + number(4) + b"\1\0\xf1"),
    "table from 1": records(bytes([header.TYPED, 6]) + number(0) + number(4) + b"\2\1\1\0"),
    "table of none": records(bytes([header.TYPED, 6]) + number(0) + number(4) + b"\2\0"),
    "table that falls": records(
        bytes([header.TYPED, 6]) + number(0) + number(4) + b"\2\3\0\0\5\0\5\4"
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_malformed_delta_is_refused(base, name):
    assert refused(base, BROKEN[name]) == "delta-malformed"


@pytest.mark.parametrize("size", [None, 1 << 50])
def test_size_that_cannot_be_is_refused(base, size):
    lie = GOOD[:24] + struct.pack("<Q", 1 << 50) + GOOD[32:]
    assert refused(base, lie, size=size) == "delta-malformed"


def zstd_record(data, length, *, known=0, with_size=True):
    zstandard = pytest.importorskip("zstandard")
    frame = zstandard.ZstdCompressor(write_content_size=with_size).compress(data)
    about = [number(each) for each in (0, known, length, len(frame))]
    return bytes([header.ZSTD]) + b"".join(about) + frame


def test_zstd_frame_that_lies_is_refused(base):
    length = len(NEW)
    assert zstd_record(NEW, length)
    for record in (
        zstd_record(NEW, length - 1),
        zstd_record(bytes(100 << 20), length),
        zstd_record(NEW, length, with_size=False),
        zstd_record(NEW, length, known=header.MOST_DICTIONARY + 1),
        zstd_record(NEW, length, known=len(OLD) + 1),
        zstd_record(NEW, length)[:-4],
        zstd_record(NEW, length)[:12] + b"\xff" * 40,
    ):
        assert refused(base, records(record, method="zstd")) == "delta-malformed"


def test_device_without_zstandard_says_so(base, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    delta = records(method="zstd")
    with pytest.raises(MissingError, match="zstd") as caught:
        deltas.apply(base, delta, base.parent / "out", expect=_deltas.digest(NEW))
    assert (caught.value.code, caught.value.exit_code) == ("delta-zstandard-missing", 4)
    assert deltas.methods() == ("tensor",)
    # The header may say what it likes: a device without it never gets as far as a zstd frame.
    delta = records(bytes([header.ZSTD]) + b"\0\0\1\1x")
    with pytest.raises(MissingError):
        deltas.apply(base, delta, base.parent / "out", expect=_deltas.digest(NEW))
    assert [path.name for path in base.parent.iterdir()] == [base.name]


def test_methods_are_those_of_this_python():
    pytest.importorskip("zstandard")
    assert deltas.methods() == ("tensor", "zstd")


MEASURE = """
import json, sys, threading, tracemalloc
from pathlib import Path
from edgeops.runtime.delta import apply, read_header
from edgeops.runtime.delta import typed  # what is imported is no memory of the delta
if "zstd" in sys.argv:
    import zstandard
def anonymous():
    text = Path("/proc/self/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024
delta = Path("delta")
about = read_header(delta)
tracemalloc.start()
before = anonymous()
most = 0
stop = threading.Event()
def watch():
    global most
    while not stop.wait(0.002):
        most = max(most, anonymous())
thread = threading.Thread(target=watch, daemon=True)
thread.start()
apply(Path("old/model.onnx"), delta, Path("out"), expect=about.after, size=about.after_size)
stop.set()
thread.join()
print(json.dumps({"traced": tracemalloc.get_traced_memory()[1], "resident": most - before}))
"""


@pytest.mark.parametrize(
    ("kind", "method"), [("fp32", "tensor"), ("int8", "tensor"), ("int8", "zstd")]
)
def test_applying_takes_little_memory(tmp_path, kind, method):
    old = _deltas.weights()
    before, after = _deltas.files(
        tmp_path, *(_deltas.network(w, kind) for w in (old, _deltas.tuned(old, 0.01)))
    )
    delta = make(before, after, name="model.onnx", most=1.0, methods=(method,))
    (tmp_path / "delta").write_bytes(delta.data)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, method], cwd=tmp_path, capture_output=True, check=True
    )
    measured = json.loads(done.stdout)
    assert (tmp_path / "out").read_bytes() == after.read_bytes()
    assert measured["traced"] <= 16e6
    assert measured["resident"] <= 16e6
