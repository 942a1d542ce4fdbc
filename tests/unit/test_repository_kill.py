"""Killed at any write, a repository serves what it served, and the same command goes on from there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgeops.errors import InputError
from edgeops.publish import stores
from edgeops.publish.keys import init_keys
from edgeops.publish.stores import FolderStore
from edgeops.runtime.agent.fetch import open_remote
from edgeops.runtime.agent.trust import read_channel
from edgeops.stages.publish_moves import PromoteRequest, promote_verb, renew_verb, withdraw_verb
from tests.unit._bundles import make_bundle, release

CHECKOUT = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=20)

VERBS = {
    "publish": lambda root: release(root, root / "new.edgeops", now=NOW),
    "promote": lambda root: promote_verb(
        PromoteRequest(root, "repo", channel="stable", share=0.6, key="keys"), now=NOW
    ),
    "copy": lambda root: promote_verb(
        PromoteRequest(root, "repo", source="stable", into="beta", key="keys"), now=NOW
    ),
    "withdraw": lambda root: withdraw_verb(root, "1.1.0", "repo", "bad", key="keys", now=NOW),
    "renew": lambda root: renew_verb(root, "repo", key="keys", now=LATER),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    init_keys(root / "keys", now=NOW)
    release(root, make_bundle(root / "one"), now=NOW)
    release(root, make_bundle(root / "two", version="1.1.0", seed=2), now=NOW, share=0.5)
    make_bundle(root / "three", version="1.2.0", seed=3).rename(root / "new.edgeops")
    (root / "repo").rename(root / "before")
    return root


class _Dying(FolderStore):
    """A folder whose process is killed at the n-th write: before it, or in the middle of it."""

    stop, middle, count = 0, False, 0

    def put(self, path, data):
        _Dying.count += 1
        if _Dying.count == _Dying.stop:
            if not _Dying.middle:
                os.kill(os.getpid(), signal.SIGKILL)
            data = _half(data)
        super().put(path, data)


def _half(data):
    whole = data if isinstance(data, bytes) else b"".join(data)
    yield whole[: len(whole) // 2]
    os.kill(os.getpid(), signal.SIGKILL)


def _killed(root, verb, stop, *, middle):
    """Run a verb in a process of its own that dies at a write; returns whether it came to its end."""
    child = os.fork()
    if child == 0:
        _Dying.stop, _Dying.middle, _Dying.count = stop, middle, 0
        stores.FolderStore = _Dying
        try:
            VERBS[verb](root)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def _seen(root, state):
    """Return what a device sees: the offers of each channel, and until when the timestamp is good."""
    shutil.rmtree(root / state, ignore_errors=True)
    found = {}
    with open_remote(str(root / "repo")) as remote:
        for channel in ("stable", "beta"):
            try:
                anchor = (root / "keys/root.json").read_bytes()
                seen = read_channel(remote, anchor, channel, root / state)
            except InputError as error:
                if error.code != "channel-unknown":  # not there yet
                    raise
                continue
            offers = [(offer.version, offer.share) for offer in seen.channel.offers]
            found[channel] = offers, seen.expires
    return found


def _fresh(world):
    shutil.rmtree(world / "repo", ignore_errors=True)
    shutil.copytree(world / "before", world / "repo")


@pytest.mark.parametrize("middle", [False, True])
@pytest.mark.parametrize(
    "verb",
    [pytest.param(verb, marks=[pytest.mark.slow] * (verb == "publish")) for verb in VERBS],
)
def test_killed_at_any_write_it_serves_the_old_or_the_new(world, verb, middle):
    _fresh(world)
    before = _seen(world, "state")
    VERBS[verb](world)
    after = _seen(world, "state")
    assert after != before
    for stop in range(1, 30):
        _fresh(world)
        finished = _killed(world, verb, stop, middle=middle)
        found = _seen(world, "state")
        if finished:
            assert found == after
            break
        # The timestamp is the last write: until it is there whole, nothing is seen of the rest.
        assert found == before
        VERBS[verb](world)
        assert _seen(world, "state") == after
    assert finished
    assert stop > 1


_HOLDS = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from edgeops.publish.stores import FolderStore
with FolderStore(Path(sys.argv[2])).lock():
    print("locked", flush=True)
    time.sleep(1)
    Path(sys.argv[3]).touch()
"""


def test_two_publishers_on_one_machine_wait_for_each_other(world):
    _fresh(world)
    done = world / "done"
    command = [sys.executable, "-c", _HOLDS, str(CHECKOUT), str(world / "repo"), str(done)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        VERBS["promote"](world)
        # What the other does last with the lock: no time tells that it was waited for.
        waited = done.exists()
    assert other.returncode == 0
    assert waited
    assert _seen(world, "state")["stable"][0] == [("1.1.0", 0.6), ("1.0.0", 1.0)]
