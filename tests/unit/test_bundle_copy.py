"""Copying and hashing in one pass: the same whatever the size, and nothing that goes wrong is lost."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading

import pytest

from edgeops.errors import MissingError
from edgeops.package import copy as room
from edgeops.package.layout import Part
from edgeops.package.write import write_bundle


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let a few kilobytes be large."""
    monkeypatch.setattr(room, "_LARGE", 1 << 12)
    monkeypatch.setattr(room, "_FLUSH", 1 << 11)
    monkeypatch.setattr(room, "PIECE", 1 << 8)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 4095, 4096, 4097, 10_000])
def test_what_is_copied_is_hashed(size):
    data, into = os.urandom(size), io.BytesIO()
    assert room.copy(io.BytesIO(data), size, into) == (hashlib.sha256(data).hexdigest(), size)
    assert into.getvalue() == data


@pytest.mark.parametrize("size", [100, 9000])
def test_a_source_of_another_size_is_noticed(size):
    assert room.copy(io.BytesIO(bytes(size + 50)), size, io.BytesIO())[1] == size + 1
    assert room.copy(io.BytesIO(bytes(size - 50)), size, io.BytesIO())[1] == size - 50


def test_a_disk_that_fails_while_it_is_flushed_is_said(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "weights").write_bytes(bytes(20_000))
    out = tmp_path / "x.edgeops"
    out.write_bytes(b"the old one")
    monkeypatch.setattr(os, "fdatasync", full)
    part = Part("weights", "code", tmp_path / "weights")
    with pytest.raises(MissingError) as caught:
        write_bundle(out, "x", "1", [part], variants={})
    assert caught.value.code == "disk-full"
    assert out.read_bytes() == b"the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights", "x.edgeops"]


def test_a_source_that_fails_leaves_no_thread_behind():
    class Broken(io.BytesIO):
        def readinto(self, buffer):
            if self.tell() > 6000:
                raise OSError(errno.EIO, "Input/output error")
            return super().readinto(buffer)

    before = threading.active_count()
    with pytest.raises(OSError, match="Input/output"):
        room.copy(Broken(bytes(20_000)), 20_000, io.BytesIO())
    assert threading.active_count() == before
