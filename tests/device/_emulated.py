"""The arm64 userland for tests: the person's own when it is ready, else made once a session."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import pytest

from edgeops.core.environment import PLACE, READY, look, place
from edgeops.errors import EdgeopsError
from edgeops.validate.devices.emulated import enter as emulated_enter
from edgeops.validate.devices.emulated.userland import ARM64

PROGRAMS = {
    "qemu-aarch64-static": "qemu-user-static",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "tar": "tar",
    "unshare": "util-linux",
}
REAL_PLACE = place()  # before the tests get a home of their own
LACKING = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
needs_qemu = pytest.mark.skipif(bool(LACKING), reason=f"not here: apt-get install {LACKING}")
# What has to do with the network or with this machine's rights, and not with edgeops.
_NOT_HERE = {"emulated-download", "emulated-wheels", "emulated-refused"}


@contextmanager
def living_in(folder):
    """Have environments lie in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PLACE, str(folder))
        yield


@pytest.fixture(scope="session")
def userland_place(tmp_path_factory):
    """Return the folder in which the userland is; skip where it cannot be made."""
    from edgeops.convert.environments.environment import create_environment
    from edgeops.core.events import Silence

    with living_in(REAL_PLACE):
        if look(ARM64).state == READY:
            yield REAL_PLACE
            return
    folder = tmp_path_factory.mktemp("envs")
    with living_in(folder):
        try:
            create_environment(ARM64.name, events=Silence())
        except EdgeopsError as error:
            if error.code in _NOT_HERE:
                pytest.skip(f"the arm64 userland cannot be made here: {error.what}: {error.why}")
            raise
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def userland(userland_place, monkeypatch):
    """Return the userland, ready to be entered."""
    monkeypatch.setenv(PLACE, str(userland_place))
    try:
        emulated_enter.enter(ARM64)
    except EdgeopsError as error:
        if error.code in _NOT_HERE:
            pytest.skip(f"the arm64 userland cannot be entered here: {error.why}")
        raise
    return ARM64


def running(word):
    """Return the command lines of this machine that hold a word."""
    from pathlib import Path

    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if word.encode() in line:
            found.append(line)
    return found


def document(capsys):
    """Return the JSON document that a verb printed."""
    return json.loads(capsys.readouterr().out)
