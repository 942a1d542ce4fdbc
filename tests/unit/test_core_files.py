"""Whole or not at all, and never outside."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from edgeops.core.files import (
    canonical_json,
    disk_errors,
    folder_atomic,
    inside,
    make_folder,
    neighbour,
    trusted_links,
    write_atomic,
)
from edgeops.errors import InputError, MissingError


def _leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_write_atomic_replaces_the_file(tmp_path):
    path = tmp_path / "sub" / "a.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert _leftovers(path.parent) == []


def test_write_atomic_refuses_the_place_of_a_folder(tmp_path):
    with pytest.raises(InputError) as caught:
        write_atomic(tmp_path, b"")
    assert caught.value.code == "file-is-folder"


def test_write_atomic_gives_the_same_mode_under_any_umask(tmp_path):
    before = os.umask(0o077)
    try:
        write_atomic(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_folder_atomic_replaces_the_folder_when_the_block_ends_well(tmp_path):
    place = tmp_path / "variant"
    place.mkdir()
    (place / "old").write_text("old")
    with folder_atomic(place) as new:
        (new / "new").write_text("new")
        assert (place / "old").is_file()
    assert [path.name for path in place.iterdir()] == ["new"]
    assert _leftovers(tmp_path) == []


def test_folder_atomic_leaves_the_folder_as_it_was_when_the_block_raises(tmp_path):
    place = tmp_path / "variant"
    place.mkdir()
    (place / "old").write_text("old")

    def fail_half_way():
        with folder_atomic(place) as new:
            (new / "half").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert [path.name for path in place.iterdir()] == ["old"]
    assert _leftovers(tmp_path) == []


def test_folder_atomic_keeps_the_old_folder_when_killed(tmp_path):
    place = tmp_path / "variant"
    place.mkdir()
    (place / "old").write_text("old")
    script = (
        "import pathlib, sys, time\nfrom edgeops.core.files import folder_atomic\n"
        "with folder_atomic(pathlib.Path(sys.argv[1])) as new:\n"
        "    (new / 'half').write_text('half')\n    print('in', flush=True)\n    time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(place)], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout.readline() == "in\n"
        time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
    assert [path.name for path in place.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "disk-full"), (errno.EROFS, "not-writable"), (errno.EACCES, "not-writable")],
)
def test_disk_errors_say_what_to_do(tmp_path, number, code):
    with pytest.raises(MissingError) as caught, disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert caught.value.code == code
    assert caught.value.fix


@pytest.mark.parametrize("place", ["file", "file/below"])
@pytest.mark.parametrize("write", [make_folder, lambda place: write_atomic(place / "x", b"")])
def test_a_file_where_a_folder_is_needed_is_said(tmp_path, place, write):
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(InputError) as caught:
        write(tmp_path / place)
    assert caught.value.code == "folder-is-file"
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_disk_errors_let_others_through(tmp_path):
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "gone")


@pytest.mark.parametrize("relative", ["../x", "/etc/passwd", "a/../../x", "a\\b", "x\0y"])
def test_inside_refuses_what_leads_out(tmp_path, relative):
    with pytest.raises(InputError) as caught:
        inside(tmp_path, relative)
    assert caught.value.code == "path-outside"


def test_inside_refuses_a_link_that_leads_out(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError):
        inside(tmp_path / "root", "link")


def test_inside_takes_what_stays(tmp_path):
    assert inside(tmp_path, "a/b.txt") == tmp_path / "a" / "b.txt"


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1})
    assert canonical_json({"a": "é"}) == '{\n  "a": "é"\n}\n'.encode()


def test_canonical_json_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_links_that_this_process_made_lead_to_where_it_says_and_no_further(tmp_path):
    root, view, away = tmp_path / "root", tmp_path / "view", tmp_path / "away"
    for folder in (root / "sub", view, away):
        folder.mkdir(parents=True)
    (root / "sub" / "file").write_text("here")
    (away / "secret").write_text("there")
    (root / "link").symlink_to(away / "secret")
    for name in ("sub", "link"):
        (view / name).symlink_to(root / name)
    with pytest.raises(InputError, match="leads outside"):
        inside(view, "sub/file")
    with trusted_links(view, root):
        assert inside(view, "sub/file").read_text() == "here"
        with pytest.raises(InputError, match="leads outside"):
            inside(view, "link")
        with pytest.raises(InputError, match="leads outside"):
            inside(view, "../away/secret")
    with trusted_links(view):
        assert inside(view, "link").read_text() == "there"


@pytest.mark.parametrize(
    ("missing", "near"),
    [
        ("dits", "dist"),
        ("dist/shop-1.0.1.edgeops", "dist/shop-1.0.0.edgeops"),
        ("dits/shop-1.0.0.edgeops", "dist/shop-1.0.0.edgeops"),
        ("dits/other", "dist"),
        ("dist/../dits", "dist/../dist"),
        ("elsewhere/a/b", None),
        ("dist/other.edgeops", None),
        ("dist/shop-1.0.0.edgops", "dist/shop-1.0.0.edgeops"),
    ],
)
def test_neighbour_is_what_nearly_has_the_name_of_what_is_not_there(tmp_path, missing, near):
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "shop-1.0.0.edgeops").touch()
    found = neighbour(tmp_path / missing)
    assert found == (tmp_path / near if near else None)
