"""Without a network and with a wrong clock: nothing is updated, everything goes on, and it is said."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import numpy as np
import pytest

from edgeops.errors import EdgeopsError
from edgeops.runtime import Predictor
from edgeops.runtime.agent import clock, log
from edgeops.runtime.agent.policy import may_serve
from edgeops.runtime.agent.status import status
from tests.security._device import devices
from tests.security._world import expired, forge, write


@pytest.fixture(scope="module")
def templates(world, fast_folder):
    return devices(world, fast_folder / "offline")


@pytest.fixture
def device(templates, fast_folder):
    return templates["first"].copy_to(fast_folder / "offline" / "one")


def _answers(device):
    predictor = Predictor(device.home / "current", "gateway")
    return predictor.predict({"x": np.zeros((1, 4), "f4")})["probabilities"].shape == (1, 3)


def _ages(device, **age):
    """Let the last verification be so long ago."""
    path = device.home / "state.json"
    state = json.loads(path.read_bytes())
    state["last_verified"] = clock.stamp(datetime.now(UTC) - timedelta(**age))
    path.write_text(json.dumps(state))


def test_an_expired_timestamp_does_not_stop_serving(world, device):
    _ages(device, days=40)
    assert (
        device.update(forge(world.states[0], world.signers, {"timestamp": expired}))
        == "metadata-expired"
    )
    assert _answers(device)
    may_serve(device.home)
    assert status(device.home)["freshness"]["state"] == "stale"
    assert log.read(device.home)[-1]["code"] == "metadata-expired"


def test_serving_stops_where_the_policy_says_so_until_something_is_verified(world, device):
    (device.home / "agent.json").write_text('{"stop_after_s": 2592000}')
    _ages(device, days=40)
    assert status(device.home)["freshness"]["state"] == "stopped"
    with pytest.raises(EdgeopsError) as caught:
        may_serve(device.home)
    assert caught.value.code == "serving-stopped"
    assert device.update(world.states[1]) == "updated"
    may_serve(device.home)
    assert status(device.home)["freshness"]["state"] == "fresh"


@pytest.mark.parametrize(
    "now",
    [datetime(1970, 1, 1, 0, 1, tzinfo=UTC), datetime.now(UTC) - timedelta(days=2)],
    ids=["1970", "two days back"],
)
def test_a_clock_that_is_behind(world, device, now):
    assert device.update(world.states[1], now=now) == "clock-wrong"
    assert clock.stamp(now) in device.said
    assert device.serving() == "1.0.0"
    assert _answers(device)
    assert device.update(world.states[1]) == "updated"


def test_a_device_that_never_knew_the_time(world, templates, fast_folder):
    device = templates["nothing"].copy_to(fast_folder / "offline" / "two")
    assert device.update(world.states[1], now=datetime(1970, 1, 1, tzinfo=UTC)) == "clock-wrong"
    assert device.update(world.states[1]) == "updated"


def test_a_clock_that_is_far_ahead_is_said_and_leaves_nothing_behind(world, device, monkeypatch):
    from tuf.ngclient._internal import trusted_metadata_set as trusted

    future = datetime(2041, 5, 1, tzinfo=UTC)

    class Ahead(datetime):
        @classmethod
        def now(cls, tz=None):
            return future

    clocks = SimpleNamespace(datetime=Ahead, timezone=timezone)
    monkeypatch.setattr(trusted, "datetime", clocks)
    assert device.update(world.states[1], now=future) == "metadata-expired"
    assert "the clock is ahead" in device.said
    assert device.serving() == "1.0.0"
    monkeypatch.undo()
    assert device.update(world.states[1]) == "updated"


def test_a_clock_that_was_ahead_for_a_while_rests_no_longer_than_metadata_is_good(world, device):
    now = datetime.now(UTC)
    assert device.update(world.states[1], now=now + timedelta(days=20)) == "updated"
    assert device.update(world.states[2], now=now) == "clock-wrong"
    assert device.serving() == "1.1.0"
    assert device.update(world.states[2], now=now + timedelta(days=20)) == "updated"


def test_the_service_updates_by_itself(world, device):
    """The real program as the unit starts it, with a repository that moves under it."""
    write(world.states[0], device.folder / "repo")
    (device.home / "agent.json").write_text('{"poll_s": 1, "retry_s": 1, "jitter": 0}')
    command = [sys.executable, "-m", "edgeops.runtime.agent.cli", "run"]
    where = ["--home", device.home, "--repo", device.folder / "repo"]
    with subprocess.Popen([*command, *map(str, where), "--channel", "stable"]) as process:
        try:
            _until(lambda: _events(device).count("checked") >= 1)
            write(world.states[1], device.folder / "repo")
            _until(lambda: device.serving() == "1.1.0")
            (device.folder / "repo" / "metadata" / "timestamp.json").write_bytes(b"{}")
            _until(lambda: "metadata-tampered" in [e.get("code") for e in log.read(device.home)])
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert _events(device)[-1] == "stopped"
    assert _answers(device)


def _events(device):
    return [event["event"] for event in log.read(device.home)]


def _until(condition, seconds=60):
    for _ in range(seconds * 20):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come about")
