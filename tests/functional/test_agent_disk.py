"""A home on a disk that really is full: the code says so, and with room again the next update works."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from edgeops.errors import MissingError
from edgeops.runtime.agent.home import Home
from edgeops.runtime.agent.update import Options
from tests.unit._agent_faults import served, tidy, updated
from tests.unit._agent_repo import Repo, plain_files

DISK = 4 << 20
MODEL = 200_000


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "none", str(folder)]
    if os.geteuid() or not mount or subprocess.run(command, capture_output=True, check=False).returncode:  # fmt: skip
        pytest.skip("a small disk cannot be mounted here: that takes the system's administrator")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - the one of mount


def fill(disk, leave):
    """Fill the disk but for so many bytes."""
    place = disk / "filler"
    with place.open("wb") as file:
        left = shutil.disk_usage(disk).free - leave
        file.write(bytes(max(left, 0)))
    return place


@pytest.mark.parametrize("leave", [0, 4096, 60_000, 3 << 19], ids=str)
def test_full_disk_is_told_and_got_over(tmp_path, disk, leave):
    repo = Repo(tmp_path / "repo")
    (tmp_path / "root.json").write_bytes(repo.root)
    old = repo.publish(repo.bundle("1.0.0", plain_files("one")))
    options = Options(disk / "home", str(tmp_path / "repo"), tmp_path / "root.json")
    updated(options)
    files = plain_files("two")
    files["variants/gateway/model.bin"] = (os.urandom(MODEL * 4), "variant", "gateway")
    new = repo.publish(repo.bundle("2.0.0", files))
    filler = fill(disk, leave)
    with pytest.raises(MissingError) as caught:
        updated(options)
    assert caught.value.code == "disk-full"
    assert served(disk / "home") == old.digest
    filler.unlink()
    assert updated(options)["outcome"] == "updated"
    assert served(disk / "home") == new.digest
    assert Home(disk / "home").read().previous is not None
    tidy(disk / "home")
