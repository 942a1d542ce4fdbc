"""dvc.lock comes back as it was when a run ends badly and leaves it cut."""

from __future__ import annotations

import pytest

from edgeops.pipeline.lock import FILE, kept

WHOLE = "schema: '2.0'\nstages:\n  train:\n    cmd: python train.py\n"
CUT = "schema: '2.0'\nstages:\n  train:\n    cmd: python tr\n  val"


@pytest.fixture
def lock(tmp_path):
    (tmp_path / FILE).write_text(WHOLE)
    return tmp_path / FILE


def left(root):
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def failing(lock, text):
    with kept(lock.parent):
        lock.write_text(text)
        raise OSError("full")


def fails_after(lock, text):
    with pytest.raises(OSError, match="full"):
        failing(lock, text)


def test_a_lock_that_was_cut_comes_back(lock):
    fails_after(lock, CUT)
    assert lock.read_text() == WHOLE
    assert left(lock.parent) == [FILE]


def test_a_lock_that_can_be_read_stays_as_the_run_left_it(lock):
    more = WHOLE + "  pack:\n    cmd: tar\n"
    fails_after(lock, more)
    assert lock.read_text() == more
    with kept(lock.parent):
        lock.write_text(WHOLE)
    assert lock.read_text() == WHOLE
    assert left(lock.parent) == [FILE]


def test_a_first_lock_that_was_cut_goes(tmp_path):
    fails_after(tmp_path / FILE, CUT)
    assert left(tmp_path) == []


def test_what_a_killed_run_left_is_used_by_the_next(lock):
    copying = kept(lock.parent)
    copying.__enter__()  # and never left, as when the process is killed
    lock.write_text(CUT)
    with kept(lock.parent):
        assert lock.read_text() == WHOLE
    assert left(lock.parent) == [FILE]
