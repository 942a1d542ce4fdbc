"""Which devices there are and what state they are in, by the real adb client."""

from __future__ import annotations

import os
import time

import pytest

from edgeops.errors import EdgeopsError, ExitCode
from edgeops.validate.devices.adb.client import (
    Attached,
    choose,
    find_client,
    last_line,
    parse_devices,
    state_error,
)
from edgeops.validate.devices.adb.device import AdbDevice


def refusal(address=""):
    with pytest.raises(EdgeopsError) as refused, AdbDevice().reach(address):
        pass
    return refused.value


def wait_for_state(adb, device, state):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if f"{device.serial}\t{state}" in adb("devices"):
            return
        time.sleep(0.1)
    raise AssertionError(adb("devices"))


def test_the_only_device_needs_no_name(adb):
    device = adb.attach()
    with AdbDevice().reach("") as reached:
        assert reached.shell.where == f"adb:{device.serial}"


def test_no_device(adb):
    error = refusal()
    assert (error.code, error.exit_code) == ("adb-no-device", ExitCode.TRANSPORT)
    assert "adb connect" in error.fix


def test_of_several_devices_one_has_to_be_named(adb, monkeypatch):
    first, second = adb.attach(), adb.attach()
    error = refusal()
    assert (error.code, error.exit_code) == ("adb-several-devices", ExitCode.MISSING)
    assert first.serial in error.why
    assert second.serial in error.why
    with AdbDevice().reach(second.serial) as reached:
        assert reached.shell.where == f"adb:{second.serial}"
    monkeypatch.setenv("ANDROID_SERIAL", first.serial)
    with AdbDevice().reach("") as reached:
        assert reached.shell.where == f"adb:{first.serial}"


def test_a_device_that_is_not_attached_is_to_be_connected(adb):
    device = adb.attach()
    error = refusal("192.0.2.1:5555")
    assert (error.code, error.exit_code) == ("adb-unknown-device", ExitCode.TRANSPORT)
    assert device.serial in error.why
    assert error.fix.endswith("adb connect 192.0.2.1:5555")


def test_a_device_that_trusts_nobody(adb):
    device = adb.attach(trusts=False)
    wait_for_state(adb, device, "unauthorized")
    error = refusal()
    assert (error.code, error.exit_code) == ("adb-unauthorized", ExitCode.MISSING)
    assert "Allow USB debugging" in error.fix


def test_a_device_that_says_nothing(adb):
    device = adb.attach(answers=False)
    wait_for_state(adb, device, "offline")
    error = refusal(device.serial)
    assert (error.code, error.exit_code) == ("adb-offline", ExitCode.TRANSPORT)
    assert f"adb connect {device.serial}" in error.fix


def test_a_device_of_old(adb):
    adb.attach(features="cmd")
    error = refusal()
    assert (error.code, error.exit_code) == ("adb-too-old", ExitCode.MISSING)


def test_no_adb(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("EDGEOPS_ADB", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    error = refusal()
    assert (error.code, error.exit_code) == ("adb-not-found", ExitCode.MISSING)
    monkeypatch.setenv("EDGEOPS_ADB", str(tmp_path / "nothing"))
    assert "EDGEOPS_ADB names" in refusal().why


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_adb_of_the_sdk_is_found(monkeypatch, tmp_path):
    sdk = program(tmp_path / "sdk" / "platform-tools" / "adb", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EDGEOPS_ADB", raising=False)
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    assert find_client().program == str(sdk)


def test_what_adb_says_when_it_fails_is_told(monkeypatch, tmp_path):
    words = "echo '* daemon not running; starting now at tcp:5037'; echo 'adb: error: no' >&2"
    monkeypatch.setenv("EDGEOPS_ADB", str(program(tmp_path / "adb", f"{words}; exit 1")))
    error = refusal()
    assert (error.code, error.exit_code) == ("adb-failed", ExitCode.TRANSPORT)
    assert error.why == "no"


DEVICES = """* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
emulator-5554\tdevice
0123456789ABCDEF\tunauthorized
R58M\tno permissions (user in plugdev group; are your udev rules wrong?); see [http://x]
192.168.1.5:5555\toffline

"""


def test_devices_are_read_with_their_states():
    found = parse_devices(DEVICES)
    assert [each.serial for each in found] == [
        "emulator-5554",
        "0123456789ABCDEF",
        "R58M",
        "192.168.1.5:5555",
    ]
    codes = [error.code if (error := state_error(each)) else None for each in found]
    assert codes == [None, "adb-unauthorized", "adb-no-permissions", "adb-offline"]
    assert choose(found, "emulator-5554") == Attached("emulator-5554", "device")


@pytest.mark.parametrize("state", ["recovery", "sideload", "bootloader", "something new"])
def test_a_device_in_another_state_is_not_ready(state):
    assert state_error(Attached("x", state)).code == "adb-not-booted"


def test_last_words_go_without_prefixes():
    assert last_line("adb: error: device 'x' not found\n\n") == "device 'x' not found"
    assert last_line("error: closed") == "closed"
    assert last_line("") == ""


def test_the_server_of_the_tests_is_a_private_one(adb):
    assert os.environ["ANDROID_ADB_SERVER_PORT"] != "5037"
    assert "List of devices" in adb("devices")
