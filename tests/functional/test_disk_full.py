"""No space on the disk: exit 4, nothing half written, and with space again it works."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess

import pytest
from ruamel.yaml import YAML

from edgeops.cli import main
from tests.functional._digits import CASES, files
from tests.functional.conftest import copied
from tests.helpers import write_tiny_data, write_tiny_model
from tests.unit._bundles import make_bundle

SPACE = 256 * 1024


class Disk:
    """A small disk of its own that can be filled and emptied."""

    def __init__(self, folder):
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, *, leave=0):
        """Fill the disk to the last byte, then give back ``leave`` bytes."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass
            if leave:
                file.truncate(file.tell() - leave)
        assert shutil.disk_usage(self.folder).free <= leave

    def clear(self):
        self._filler.unlink()

    def files(self):
        """Return what lies on the disk, leftovers and all."""
        return files(self.folder, without=("filler",))


@pytest.fixture
def disk(tmp_path, request):
    """Return a disk in memory, of as many bytes as the test's parameter says."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = getattr(request, "param", SPACE)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder)]
    mount = shutil.which("mount")
    if os.geteuid() or not mount or subprocess.run(command, check=False, capture_output=True).returncode:  # fmt: skip
        pytest.skip("a small disk cannot be mounted here: that takes the system's administrator")
    yield Disk(folder)
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - the one of mount


@pytest.fixture
def run(capsys):
    """Return a function that runs a verb and returns exit code, output and errors."""

    def runner(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return runner


@pytest.fixture
def place(tmp_path):
    """Return a folder with a model, data that fits it and a signed bundle."""
    model = write_tiny_model(tmp_path / "model.onnx")
    write_tiny_data(tmp_path / "data.npz", model)
    assert main(["-C", str(tmp_path), "keys", "init", "keys"]) == 0
    make_bundle(tmp_path, key=tmp_path / "keys").rename(tmp_path / "t.edgeops")
    return tmp_path


_QUANTIZE = ("quantize", "model.onnx", "--to", "onnxruntime", "--calibration", "data.npz")
VERBS = {
    "convert": ("convert", "model.onnx", "--to", "onnxruntime", "-o", "disk/out"),
    "quantize": (*_QUANTIZE, "-o", "disk/out"),
    "pack": ("pack", "gateway", "--name", "t", "--version", "1.0.0", "-o", "disk/out"),
    "publish": ("publish", "t.edgeops", "--to", "disk/out", "--channel", "c", "--key", "keys"),
    "unpack": ("unpack", "t.edgeops", "-o", "disk/out"),
    "keys": ("keys", "init", "disk/out"),
    "init": ("init", "disk/out"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_verb_on_a_full_disk_says_so_and_leaves_nothing(verb, place, disk, run, golden):
    disk.fill()
    code, _, text = run("-C", place, *VERBS[verb])
    assert code == 4, text
    assert "[disk-full]" in text
    if verb == "convert":
        golden("errors/disk-full.txt", text)
    assert disk.files() == {}
    disk.clear()
    assert run("-C", place, *VERBS[verb])[0] == 0
    assert disk.files() != {}


@pytest.mark.parametrize("verb", ["convert", "quantize", "pack"])
def test_what_was_there_stays_when_the_new_does_not_fit(verb, place, disk, run):
    assert run("-C", place, *VERBS[verb])[0] == 0
    before = disk.files()
    for leave in (0, 4096, 8192):
        disk.fill(leave=leave)
        code = run("-C", place, *VERBS[verb])[0]
        assert code == 4 or leave
        assert disk.files() == before, leave
        disk.clear()


def test_repository_on_a_full_disk_serves_what_it_did(place, disk, run):
    device = ("unpack", "disk/out", "--channel", "c", "--root", "keys/root.json", "--json")
    assert run("-C", place, *VERBS["publish"])[0] == 0
    served = json.loads(run("-C", place, *device, "-o", "one")[1])["digest"]
    make_bundle(place, key=place / "keys", version="2.0.0").rename(place / "t.edgeops")
    codes = []
    for leave in (0, 4096, 12288):
        disk.fill(leave=leave)
        codes.append(run("-C", place, *VERBS["publish"])[0])
        assert json.loads(run("-C", place, *device, "-o", "two")[1])["digest"] == served
        disk.clear()
    assert codes == [4, 4, 4]
    assert run("-C", place, *VERBS["publish"])[0] == 0
    assert json.loads(run("-C", place, *device, "-o", "three")[1])["digest"] != served


def _forget_results(root, which):
    """Make a stage run again, with nothing of what it made before in DVC's cache."""
    (out,) = which.outs
    for path in (root / out).iterdir():
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        (root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    entry = YAML(typ="safe").load(root / "dvc.lock")["stages"][which.address]
    md5 = entry["outs"][0]["md5"]
    (root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    which.make_stale(root)


@pytest.mark.slow
@pytest.mark.parametrize("disk", [4 * 1024 * 1024], indirect=True)
@pytest.mark.parametrize("leave", [0, 24 * 1024, 64 * 1024])
def test_run_on_a_full_disk_says_so_and_goes_on_with_space(leave, disk, digits_done, run, settled):
    """Without space DVC cannot begin; with some, the stage cannot write, or DVC not keep it."""
    root = copied(digits_done, disk.folder / "digits")
    which = next(one for one in CASES if one.name == "quantize")
    _forget_results(root, which)
    disk.fill(leave=leave)
    code, out, _ = run("-C", root, "run", "--json")
    error = json.loads(out)["error"]
    assert (code, error["code"]) == (4, "disk-full"), error
    assert "no space left on the disk" in error["what"]
    made = root / which.outs[0]
    assert not made.exists() or files(made) == files(digits_done / which.outs[0])
    assert not list(made.parent.glob(".quantized.*"))
    disk.clear()
    code, _, text = run("-C", root, "run")
    assert code == 0, text
    assert files(root) == files(digits_done)
