"""The power may go at any step: what is served is the old or the new release, whole, always."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeops.errors import EdgeopsError
from edgeops.runtime.agent.home import Home
from edgeops.runtime.agent.rollback import rollback
from edgeops.runtime.agent.status import status
from edgeops.runtime.agent.update import Options
from tests.unit._agent_faults import Cut, Full, PowerCut, served, tidy, updated, watching
from tests.unit._agent_repo import Repo, plain_files

CHECKOUT = Path(__file__).resolve().parents[2]
MOST_STEPS = 400


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch):
    """The steps are counted, not timed; a real disk makes each of them slow."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def repo(tmp_path):
    return Repo(tmp_path / "repo")


@pytest.fixture
def place(tmp_path, repo):
    """A repository with two releases and homes before, at the first, and at the second of them."""
    (tmp_path / "root.json").write_bytes(repo.root)
    one = repo.publish(repo.bundle("1.0.0", plain_files("one")))
    updated(options(tmp_path, "at-one"))
    two = repo.publish(repo.bundle("2.0.0", plain_files("two")))
    shutil.copytree(tmp_path / "at-one", tmp_path / "at-two", symlinks=True)
    updated(options(tmp_path, "at-two"))
    return tmp_path, one.digest, two.digest


def options(root, home):
    return Options(root / home, str(root / "repo"), root / "root.json")


def again(root, before):
    """Return a home as it was: its hard links stay such, as a device has them."""
    home = root / "home"
    shutil.rmtree(home, ignore_errors=True)
    if before:
        subprocess.run(["cp", "-a", str(root / before), str(home)], check=True)  # noqa: S607
    return home


def each_step(root, before, work, fault):
    """Do ``work`` with a fault at each of its steps in turn; yield the home after each."""
    for at in range(1, MOST_STEPS):
        home = again(root, before)
        caught = None
        with watching(fault(at)) as watch:
            try:
                work(home)
            except (PowerCut, EdgeopsError) as error:
                caught = error
        if caught is None:
            assert watch.steps < at
            return
        yield home, caught
    pytest.fail(f"more than {MOST_STEPS} steps")


@pytest.mark.parametrize(
    ("before", "old"), [(None, None), ("at-one", 0)], ids=["first install", "update"]
)
def test_power_goes_at_each_step_of_an_update(place, before, old):
    root, *digests = place
    cases = 0
    new = digests[1]
    for home, _ in each_step(root, before, lambda h: updated(options(root, h.name)), Cut):
        cases += 1
        allowed = {new, digests[old] if old is not None else ""}
        assert served(home) in allowed
        if Home(home).state.exists():
            assert status(home)["problem"] == ""
        assert updated(options(root, home.name))["outcome"] in ("updated", "current")
        assert served(home) == new
        tidy(home)
    assert cases > 50


def test_power_goes_at_each_step_of_a_way_back_by_the_channel(place, repo):
    """The release to take is the one that is there as previous; it stays whole throughout."""
    root, one, two = place
    (first,) = (offer for offer in repo.made if offer.digest == one)
    repo.publish(first)
    for home, _ in each_step(root, "at-two", lambda h: updated(options(root, h.name)), Cut):
        assert served(home) in (one, two)
        assert updated(options(root, home.name))["outcome"] in ("updated", "current")
        assert served(home) == one
        tidy(home)


def test_power_goes_twice(place):
    """A kill while the kill before is mended is no other case: the same is done again."""
    root, one, two = place
    for first in range(1, MOST_STEPS, 7):
        for second in (1, 2, 3, 5, 8):
            home = again(root, "at-one")
            for at in (first, second):
                with watching(Cut(at)):
                    try:
                        updated(options(root, "home"))
                    except PowerCut:
                        assert served(home) in (one, two)
            assert updated(options(root, "home"))["outcome"] in ("updated", "current")
            assert served(home) == two
            tidy(home)
        if first > 120:
            break


def test_power_goes_at_each_step_of_a_rollback(place):
    root, one, two = place
    cases = 0
    for home, _ in each_step(root, "at-two", rollback, Cut):
        cases += 1
        assert served(home) in (one, two)
        state = status(home)
        assert state["problem"] == ""
        if served(home) == one:
            assert two in state["refused"]
        assert updated(options(root, home.name))["outcome"] in ("refused", "current")
        # Once the state says so, going back is finished by whoever comes next.
        assert served(home) == (one if two in status(home)["refused"] else two)
        tidy(home)
    assert cases > 10


@pytest.mark.parametrize("once", [True, False], ids=["for a moment", "for long"])
@pytest.mark.parametrize("before", [None, "at-one"], ids=["first install", "update"])
def test_disk_is_full_at_each_step(place, before, once):
    root, one, two = place
    cases = 0
    work = lambda home: updated(options(root, home.name))  # noqa: E731
    for home, error in each_step(root, before, work, lambda at: Full(at, once)):
        cases += 1
        assert (error.code, int(error.exit_code)) == ("disk-full", 4)
        assert served(home) in ({"", two} if before is None else {one, two})
        assert updated(options(root, home.name))["outcome"] in ("updated", "current")
        assert served(home) == two
        tidy(home)
    assert cases > 30


KILLER = """
import os, signal, sys
from pathlib import Path
from edgeops.runtime.agent import files
from tests.unit._agent_faults import updated
from tests.unit.test_agent_kill import options
steps, at = [0], int(sys.argv[2])
def watch(name, path):
    steps[0] += 1
    if steps[0] == at:
        os.kill(os.getpid(), signal.SIGKILL)
files.watch = watch
updated(options(Path(sys.argv[1]), "home"))
"""


@pytest.mark.parametrize("at", [3, 25, 48, 61, 70, 78])
def test_process_is_killed(place, at):
    root, one, two = place
    home = again(root, "at-one")
    command = [sys.executable, "-c", KILLER, str(root), str(at)]
    done = subprocess.run(command, cwd=CHECKOUT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert served(home) in (one, two)
    assert updated(options(root, "home"))["outcome"] in ("updated", "current")
    assert served(home) == two
    tidy(home)
