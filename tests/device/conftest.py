"""The real adb client with a server of its own, and small adbds for it to talk to."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from tests.device._adbd import Adbd
from tests.device._sshd import sshd, way  # noqa: F401 - fixtures of the tests in this folder
from tests.servers import free_port

# What ends because its connection did may take a moment to.
_MAY_LAST_S = 30


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory):
    """Start an adb server on a private port with a home of its own; end it by that port."""
    program = shutil.which("adb")
    if program is None:
        pytest.skip("the adb client is not here: apt-get install adb")
    port = free_port()
    home = tmp_path_factory.mktemp("adb-home")
    settings = {"ANDROID_ADB_SERVER_PORT": str(port), "HOME": str(home), "ADB_MDNS": "0"}
    environment = {**os.environ, **settings}
    quiet = {"env": environment, "capture_output": True, "timeout": 60, "check": True}
    subprocess.run([program, "start-server"], **quiet)  # noqa: PLW1510 - it is in quiet
    yield program, settings
    subprocess.run([program, "kill-server"], **quiet)  # noqa: PLW1510 - it is in quiet


class Adb:
    """The adb client of the tests and the devices that are attached to it."""

    def __init__(self, program, tmp_path):
        self._program = program
        self._tmp_path = tmp_path
        self.devices = []

    def __call__(self, *words):
        done = subprocess.run(
            [self._program, *words], capture_output=True, timeout=60, check=False, text=True
        )
        return done.stdout + done.stderr

    def attach(self, **about):
        """Start the daemon of a new device and connect it."""
        root = self._tmp_path / f"device{len(self.devices)}"
        root.mkdir()
        device = Adbd(root, **about)
        self.devices.append(device)
        self("connect", device.serial)
        return device

    def reconnect(self, device):
        """Connect a device again whose connection was lost."""
        self("disconnect", device.serial)
        self("connect", device.serial)


@pytest.fixture
def adb(adb_server, tmp_path, monkeypatch):
    """Return the client with no device attached; afterwards nothing runs on any of them."""
    program, settings = adb_server
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for name in ("ANDROID_SERIAL", "EDGEOPS_ADB", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    client = Adb(program, tmp_path)
    client("disconnect")
    yield client
    until = time.monotonic() + _MAY_LAST_S
    while any(device.running() for device in client.devices) and time.monotonic() < until:
        time.sleep(0.05)
    left = {device.serial: device.running() for device in client.devices}
    client("disconnect")
    for device in client.devices:
        device.close()
    assert not any(left.values()), left
