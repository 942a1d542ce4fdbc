"""Changed repositories: none is accepted, none leaves a device unable to take the next good release."""

from __future__ import annotations

from collections import Counter

import pytest

from edgeops.runtime.agent import blobs
from tests.security._mutants import _KINDS, mutant
from tests.security._trial import Bench


@pytest.fixture(scope="module")
def bench(world, fast_folder):
    return Bench(world, fast_folder / "bench")


def _faults(outcomes):
    return [outcome for outcome in outcomes if outcome.fault]


def test_some_mutants(bench):
    assert _faults(map(bench.try_one, range(10**6, 10**6 + 60))) == []


@pytest.mark.slow
def test_many_mutants(bench):
    outcomes = [bench.try_one(number) for number in range(800)]
    assert _faults(outcomes) == []
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert set(kinds) == set(_KINDS)
    codes = {outcome.code for outcome in outcomes}
    assert {
        "metadata-tampered",
        "metadata-rollback",
        "metadata-unsigned",
        "digest-mismatch",
    } <= codes
    assert {"download-endless", "repository-unreachable", "updated", "current"} <= codes


def test_a_mutant_can_be_made_again(world):
    for number in range(60):
        one, two = mutant(world, number), mutant(world, number)
        assert (one.what, one.start, dict(one.files)) == (two.what, two.start, dict(two.files))


def _seen(bench, numbers):
    """Return whether a mutant is accepted by an agent that was broken on purpose."""
    return any(bench.try_one(number).fault.startswith("accepted") for number in numbers)


def test_an_agent_that_checks_no_digest_would_be_seen(bench, monkeypatch):
    real = blobs._download
    monkeypatch.setattr(blobs, "_download", lambda *about: real(*about) or True)
    assert _seen(bench, range(300))


def test_an_agent_that_believes_anybody_would_be_seen(bench, monkeypatch):
    from tuf.api.metadata import Root

    monkeypatch.setattr(Root, "verify_delegate", lambda *about: None)
    assert _seen(bench, range(300))
