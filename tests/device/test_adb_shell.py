"""A shell over adb: exit codes, bytes as they are, a leash, and a connection that breaks."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
import time

import pytest

from edgeops.errors import MissingError, TransportError
from edgeops.validate.devices.adb.client import find_client
from edgeops.validate.devices.adb.shell import AdbShell
from tests.device._phone import commands


@pytest.fixture(params=["linux", "android"])
def device(request, adb, tmp_path):
    """Return a device with the commands of Linux, and one with those of Android."""
    if request.param == "linux":
        return adb.attach()
    path, shell = commands(tmp_path / "bin")
    return adb.attach(environment={"PATH": str(path)}, shell=shell)


@pytest.fixture
def shell(device):
    return AdbShell(find_client(), device.serial)


def test_exit_code_output_and_errors_are_kept_apart(shell):
    done = shell.run("echo out; echo err >&2; exit 7", timeout_s=60)
    assert (done.code, done.out, done.err) == (7, b"out\n", b"err\n")


@pytest.mark.parametrize("code", [0, 1, 86, 127, 255])
def test_every_exit_code_comes_back(shell, code):
    assert shell.run(f"exit {code}", timeout_s=60).code == code


def test_a_command_that_is_not_there(shell):
    done = shell.run("no-such-command", timeout_s=60)
    assert done.code == 127
    assert b"no-such-command" in done.err


def test_standard_input_comes_as_it_is(shell):
    data = bytes(range(256)) * 1000 + b"\r\n~.\n\x04"
    done = shell.run("cat", stdin=data, timeout_s=60)
    assert done.out == data


@pytest.mark.parametrize(
    "text",
    ["a b", "it's", '"$HOME`id`"', "a\\nb", "tab\there", "line\nend", "*", "~", "ä€", "-n", "%s"],
)
def test_words_are_quoted(shell, text):
    done = shell.run(f"printf %s {shlex.quote(text)}", timeout_s=60)
    assert done.out.decode() == text


def test_lines_come_one_by_one_and_the_leash_ends_the_command(shell, device):
    lines = []

    class Enough(Exception):
        pass

    def take(line):
        lines.append(line)
        if len(lines) == 2:
            raise Enough

    command = "echo first; echo second; cat >/dev/null; echo over >>ended"
    with pytest.raises(Enough):
        shell.run(command, timeout_s=60, on_line=take, leash=True)
    assert lines == ["first", "second"]
    wait_until((device.root / "ended").exists)


def wait_until(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_command_that_takes_too_long_is_ended(shell, device):
    with pytest.raises(TransportError) as failed:
        shell.run("cat >/dev/null", timeout_s=0.5, leash=True)
    assert failed.value.code == "device-timeout"
    wait_until(lambda: not device.running())


def test_a_connection_that_breaks_is_no_exit_code(shell, device):
    def drop():
        wait_until(device.running)
        device.drop()

    dropping = threading.Thread(target=drop)
    dropping.start()
    with pytest.raises(TransportError) as failed:
        shell.run("cat >/dev/null; exit 0", timeout_s=60, leash=True)
    dropping.join()
    assert failed.value.code == "device-lost"
    assert failed.value.where == f"adb:{device.serial}"


def test_a_service_that_is_refused_is_a_lost_device(shell, device):
    device.refuses = "shell"
    with pytest.raises(TransportError) as failed:
        shell.run("echo hello", timeout_s=60)
    assert failed.value.code == "device-lost"


def test_files_go_there_and_come_back(shell, device, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1_000_000))
    path = f"{device.root}/a file"
    shell.put(source, path)
    shell.get(path, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_what_was_lost_is_gone_on_with(shell, adb, device, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    path = device.root / "part"
    device.drop_after = device.received + 1_000_000
    with pytest.raises(TransportError) as failed:
        shell.put(source, str(path))
    assert failed.value.code == "device-lost"
    wait_until(lambda: path.exists() and path.stat().st_size and not device.running())
    have = path.stat().st_size
    assert 0 < have < 1_000_000
    assert path.read_bytes() == source.read_bytes()[:have]
    adb.reconnect(device)
    received = device.received
    shell.put(source, str(path), offset=have)
    assert path.read_bytes() == source.read_bytes()
    assert device.received - received < 3_000_000


def test_a_file_that_is_not_there_leaves_none_here(shell, tmp_path):
    with pytest.raises(MissingError) as failed:
        shell.get("/nothing/here", tmp_path / "back")
    assert failed.value.code == "device-shell"
    assert not (tmp_path / "back").exists()


def test_a_full_disk_says_so(shell, device, tmp_path):
    disk = device.root / "disk"
    disk.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    words = [mount, "-t", "tmpfs", "-o", "size=200k", "none", str(disk)]
    if (
        os.geteuid()
        or not mount
        or subprocess.run(words, check=False, capture_output=True).returncode
    ):
        pytest.skip("only root can make a small disk")
    try:
        (tmp_path / "large").write_bytes(os.urandom(1_000_000))
        with pytest.raises(MissingError) as failed:
            shell.put(tmp_path / "large", f"{disk}/large")
        assert failed.value.code == "device-disk-full"
    finally:
        subprocess.run([umount, str(disk)], check=True)
