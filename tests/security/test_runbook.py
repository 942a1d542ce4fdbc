"""What docs/security.md says to do when something happened, done with the verbs that it names."""

from __future__ import annotations

import json
import shutil

import pytest

from edgeops.cli import main
from tests.security._device import Device
from tests.security._world import channel_file, expired, forge, make_world, read, write


@pytest.fixture
def world(fast_folder):
    """Return a publisher of one's own, for here its keys are replaced."""
    yield make_world(fast_folder / "runbook")
    shutil.rmtree(fast_folder / "runbook")


@pytest.fixture
def device(world):
    """A device that has the third release, whose repository is the publisher's folder."""
    found = Device(world.folder / "device", world.root)
    assert found.update(world.states[2]) == "updated"
    return found


@pytest.fixture
def run(world, capsys):
    def runner(*arguments):
        code = main(["-C", str(world.folder), *arguments, "--json"])
        out = capsys.readouterr().out
        assert code == 0, out
        return json.loads(out)

    return runner


def test_a_release_is_withdrawn(world, device, run):
    why = ("--reason", "misreads labels", "--project", "tiny")
    run("withdraw", "1.2.0", "--to", "repo", *why, "--key", "keys")
    assert device.update(read(world.folder / "repo")) == "updated"
    assert device.serving() == "1.1.0"


def test_online_keys_are_stolen(world, device, run):
    stolen = world.signers
    thief = json.loads(world.states[2][channel_file(world.states[2])])
    thief["offers"] = thief["offers"][1:]
    data = json.dumps(thief, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    attack = {"channels/stable.json": data}
    far = dict.fromkeys(("targets", "snapshot", "timestamp"), _far)
    assert device.update(forge(world.states[2], stolen, far, targets=attack)) == "updated"
    assert device.serving() == "1.1.0"  # the thief took the devices back

    for role in ("targets", "snapshot", "timestamp"):
        run("keys", "rotate", "keys", "--role", role, "--to", "repo")
        (world.folder / "keys" / f"{role}.previous.pem").unlink()
    assert device.update(read(world.folder / "repo")) == "updated"
    assert device.serving() == "1.2.0"
    again = forge(read(world.folder / "repo"), stolen, far, targets=attack)
    assert device.update(again) == "metadata-unsigned"
    assert device.serving() == "1.2.0"


def test_nobody_renewed(world, device, run):
    write(forge(world.states[2], world.signers, {"timestamp": expired}), world.folder / "repo")
    assert device.update(read(world.folder / "repo")) == "metadata-expired"
    run("renew", "--to", "repo", "--key", "keys")
    assert device.update(read(world.folder / "repo")) == "current"


def _far(signed):
    signed.version += 1_000_000
