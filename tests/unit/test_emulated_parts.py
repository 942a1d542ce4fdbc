"""The arm64 userland's making and what it refuses, as far as that takes no emulator."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from edgeops.core.environment import BROKEN, BUSY, MISSING, look
from edgeops.errors import ExitCode, InputError, MissingError, TransportError
from edgeops.validate.devices import reachable
from edgeops.validate.devices.emulated import debs as emulated_debs
from edgeops.validate.devices.emulated import enter as emulated_enter
from edgeops.validate.devices.emulated import wheels as emulated_wheels
from edgeops.validate.devices.emulated.device import EmulatedDevice
from edgeops.validate.devices.emulated.userland import ARM64
from tests.unit._environments import write_wheel

needs_apt = pytest.mark.skipif(
    not all(map(shutil.which, emulated_debs.TOOLS)), reason="not here: apt and dpkg-deb"
)


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Have no environment at all."""
    monkeypatch.setenv("EDGEOPS_ENVS", str(tmp_path / "envs"))
    return tmp_path / "envs"


def only(folder, monkeypatch, *programs):
    """Have nothing on the path but programs that fail."""
    folder.mkdir()
    for name in programs:
        (folder / name).write_text(f"#!/bin/sh\necho '{name}: no' >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def install(tmp_path, wanted, *, needed="tinypkg"):
    into = tmp_path / "packages"
    return emulated_wheels.install(wanted, into, python="3.11", glibc="2.36", needed=needed)


@pytest.mark.parametrize("address", ["", "riscv64", "arm"])
def test_there_is_one_machine(address):
    with pytest.raises(MissingError) as refused, EmulatedDevice().reach(address):
        pass
    assert refused.value.code == "emulated-unknown"
    assert "emulated:arm64" in refused.value.fix


def test_it_is_not_made_without_being_asked(nowhere):
    with pytest.raises(MissingError) as refused, EmulatedDevice().reach("arm64"):
        pass
    assert refused.value.code == "emulated-missing"
    assert refused.value.fix == "edgeops env create emulated-arm64"
    assert not nowhere.exists()


def test_what_is_missing_is_found_before_time_is_spent(nowhere):
    found = reachable.finding("emulated:arm64", "onnxruntime", "edgeops.yaml:3:1")
    assert (found.code, found.where) == ("emulated-missing", "edgeops.yaml:3:1")
    assert found.fix == "edgeops env create emulated-arm64"
    assert reachable.finding("emulated:mips", "onnxruntime").code == "emulated-unknown"


def test_its_times_are_not_to_be_judged():
    assert EmulatedDevice.emulated


def test_it_holds_the_engines_of_this_machine_in_their_versions():
    import onnxruntime

    assert ARM64.versions["onnxruntime"] == onnxruntime.__version__
    assert "numpy" in ARM64.versions


def test_another_recipe_or_engine_is_another_userland(tmp_path, monkeypatch):
    from dataclasses import replace

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(ARM64.lock.read_text().replace("version = 1", "version = 2"))
    assert replace(ARM64, lock=recipe).digest != ARM64.digest
    again = replace(ARM64)
    again.__dict__["versions"] = {**ARM64.versions, "onnxruntime": "0.1"}
    assert again.digest != ARM64.digest


def test_the_emulator_is_named_when_it_is_missing(tmp_path, monkeypatch):
    only(tmp_path / "bin", monkeypatch)
    with pytest.raises(MissingError) as refused:
        emulated_enter.enter(ARM64)
    assert refused.value.code == "emulated-qemu"
    assert refused.value.fix == "apt install qemu-user-static"


def test_ways_that_are_closed_are_told_with_their_words(tmp_path, monkeypatch):
    only(tmp_path / "bin", monkeypatch, "qemu-aarch64-static", "env", "unshare")
    with pytest.raises(MissingError) as refused:
        emulated_enter.enter(ARM64)
    assert refused.value.code == "emulated-refused"
    assert refused.value.why == "unshare: env: no; proot: it is not installed"


def test_apt_is_named_when_it_is_missing(tmp_path, monkeypatch):
    only(tmp_path / "bin", monkeypatch, "tar")
    with pytest.raises(MissingError) as refused:
        emulated_debs.fetch(["python3"], tmp_path / "scratch")
    assert refused.value.code == "emulated-tools"
    assert "apt-get, apt-config, dpkg-deb" in refused.value.what


@needs_apt
def test_sources_that_are_not_there_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(emulated_debs.SOURCES, str(tmp_path / "none.list"))
    with pytest.raises(InputError) as refused:
        emulated_debs.fetch(["python3"], tmp_path / "scratch")
    assert refused.value.code == "emulated-sources"


@needs_apt
def test_sources_without_the_packages_end_with_the_words_of_apt(tmp_path, monkeypatch):
    (tmp_path / "my.list").write_text(f"deb [trusted=yes] file:{tmp_path}/archive ./\n")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "Packages").touch()
    monkeypatch.setenv(emulated_debs.SOURCES, str(tmp_path / "my.list"))
    with pytest.raises(TransportError) as failed:
        emulated_debs.fetch(["python3"], tmp_path / "scratch")
    assert failed.value.code == "emulated-download"
    assert failed.value.exit_code == ExitCode.TRANSPORT
    assert "Unable to locate package python3" in failed.value.why
    assert emulated_debs.SOURCES in failed.value.fix


@needs_apt
def test_apt_touches_nothing_of_the_machine(tmp_path):
    configuration = emulated_debs._configuration(tmp_path / "scratch")
    found = subprocess.run(
        [shutil.which("apt-config"), "dump", "--format", "%f %v%n"],
        env={**os.environ, "APT_CONFIG": str(configuration)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    settings = dict(line.partition(" ")[::2] for line in found.splitlines())
    for name in ("Dir::State", "Dir::State::status", "Dir::Cache", "Dir::Etc::parts"):
        assert settings[name].startswith(str(tmp_path)), name
    assert settings["APT::Architecture"] == "arm64"
    assert not [name for name in settings if "Post-Invoke" in name or "Pre-Install" in name]


@needs_apt
def test_a_package_that_is_damaged_is_named(tmp_path):
    (tmp_path / "bad_1_arm64.deb").write_bytes(b"no archive")
    with pytest.raises(MissingError) as refused:
        emulated_debs.unpack([tmp_path / "bad_1_arm64.deb"], tmp_path / "root", [])
    assert refused.value.code == "emulated-damaged"
    assert "bad_1_arm64.deb" in refused.value.what


@needs_apt
def test_links_of_the_root_stay_when_a_package_has_folders_there(tmp_path):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    about = "Package: t\nVersion: 1\nArchitecture: arm64\nMaintainer: t <t@example.org>\nDescription: t\n"
    (tree / "DEBIAN" / "control").write_text(about)
    for name in ("lib/ld.so", "usr/lib/other.so", "usr/share/doc/t/copyright"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("x")
    deb = tmp_path / "t_1_arm64.deb"
    subprocess.run(
        [shutil.which("dpkg-deb"), "--build", "--root-owner-group", str(tree), str(deb)],
        capture_output=True,
        check=True,
    )
    emulated_debs.unpack([deb], tmp_path / "root", ["usr/share/doc"])
    root = tmp_path / "root"
    assert (root / "lib").is_symlink()
    assert sorted(path.name for path in (root / "usr" / "lib").iterdir()) == ["ld.so", "other.so"]
    assert not (root / "usr" / "share" / "doc" / "t").exists()


def test_the_version_of_a_package_is_told_by_its_file(tmp_path):
    files = [
        tmp_path / "libc6_2.36-9+deb12u14_arm64.deb",
        tmp_path / "libbz2-1.0_1%3a2-3_arm64.deb",
    ]
    assert emulated_debs.version_in(files, "libc6") == "2.36-9+deb12u14"
    assert emulated_debs.version_in(files, "libbz2-1.0") == "2-3"
    assert emulated_debs.version_in(files, "bash") == ""


@pytest.mark.slow
def test_an_engine_without_a_wheel_is_left_out_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    write_wheel(tmp_path)
    absent = install(tmp_path, {"tinypkg": "1.0", "no-such-engine": "2.0"})
    assert list(absent) == ["no-such-engine"]
    assert absent["no-such-engine"] == "No matching distribution found for no-such-engine==2.0"
    assert (tmp_path / "packages" / "tinypkg.py").is_file()
    assert not (tmp_path / "one").exists()


def test_without_numpy_nothing_is_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(TransportError) as failed:
        install(tmp_path, {"numpy": "2.4.6"}, needed="numpy")
    assert failed.value.code == "emulated-wheels"
    assert failed.value.why == "No matching distribution found for numpy==2.4.6"


@needs_apt
@pytest.mark.skipif(not shutil.which("qemu-aarch64-static"), reason="not here: qemu-user-static")
def test_a_making_that_is_killed_leaves_nothing_that_passes_for_a_userland(nowhere, tmp_path):
    # A fifo in place of the sources: apt waits for its other end, so that the kill is in time.
    fifo = tmp_path / "wait.list"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "edgeops", "env", "create", "emulated-arm64"]
    with subprocess.Popen(
        command,
        env={**os.environ, emulated_debs.SOURCES: str(fifo)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as making:
        for line in making.stderr:
            if "fetching Debian packages" in line:
                break
        os.killpg(making.pid, signal.SIGKILL)
    # What was just being started may hold the lock for the moment that it takes to die too.
    until = time.monotonic() + 20
    while (state := look(ARM64).state) == BUSY and time.monotonic() < until:
        time.sleep(0.05)
    assert state in {BROKEN, MISSING}
    with pytest.raises(MissingError) as refused, EmulatedDevice().reach("arm64"):
        pass
    assert refused.value.fix == "edgeops env create emulated-arm64"
