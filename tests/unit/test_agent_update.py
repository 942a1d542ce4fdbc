"""One update after another: what is taken, what is refused, what is remembered."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import threading
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import canonical_json
from edgeops.core.targets import TargetNeeds, encode_targets
from edgeops.errors import EdgeopsError
from edgeops.package.deltas import make
from edgeops.runtime import Predictor
from edgeops.runtime.agent import blobs as storage
from edgeops.runtime.agent import files
from edgeops.runtime.agent.heal import heal
from edgeops.runtime.agent.probation import confirm
from edgeops.runtime.agent.rollback import rollback
from edgeops.runtime.agent.status import status
from edgeops.runtime.agent.update import Options, update
from tests.unit._agent_faults import Yes, served, tidy, updated, updater
from tests.unit._agent_repo import BYTES, Repo, anchored, plain_files, variant_files

SIZE = 40_000


@pytest.fixture
def repo(tmp_path):
    return anchored(tmp_path)


@pytest.fixture
def go(tmp_path, repo):
    """Update the home; the warm-up accepts everything."""
    return updater(tmp_path)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, int(caught.value.exit_code)


def release(repo, version="1.0.0", *, model=None, extra=(), **offer):
    files = plain_files(version)
    if model is not None:
        files["variants/gateway/model.bin"] = (model, "variant", "gateway")
    made = repo.bundle(version, {**files, **dict(extra)})
    return replace(made, **offer)


def random_bytes(seed, size=SIZE):
    return np.random.default_rng(seed).bytes(size)


# What is taken


def test_from_nothing_to_a_prediction_and_back(tmp_path, repo, home):
    one = repo.publish(repo.bundle("1.0.0", variant_files(tmp_path / "one")))
    options = Options(home, str(tmp_path / "repo"), tmp_path / "root.json")
    result = update(options)
    assert result["outcome"] == "updated"
    assert result["current"]["digest"] == one.digest
    asked = {"x": np.zeros((1, 4), np.float32)}
    first = Predictor(home / "current").predict(asked)["probabilities"]
    repo.publish(repo.bundle("1.1.0", variant_files(tmp_path / "two", seed=1)))
    assert update(options)["previous"]["digest"] == one.digest
    second = Predictor(home / "current").predict(asked)["probabilities"]
    assert not np.allclose(first, second)
    assert rollback(home)["current"]["digest"] == one.digest
    assert np.array_equal(Predictor(home / "current").predict(asked)["probabilities"], first)
    assert update(options)["outcome"] == "refused"


def test_nothing_new_takes_two_requests(repo, go):
    repo.publish(release(repo))
    assert go()["requests"] > 2
    result = go()
    assert (result["outcome"], result["requests"]) == ("current", 2)
    assert result["bytes_downloaded"] < 1000


def test_only_what_is_missing_is_fetched(repo, go):
    model = random_bytes(0)
    repo.publish(release(repo, model=model))
    go()
    repo.publish(release(repo, "1.1.0", model=model))
    assert go()["bytes_downloaded"] < len(model)


def test_evidence_and_other_targets_are_not_fetched(repo, go, home):
    extra = {
        "evidence/gateway.json": (b"{}", "evidence", "gateway"),
        "features.yaml": (b"a", "features", None),
        "features.json": (b"b", "features", None),
        "variants/phone/model.bin": (b"phone", "variant", "phone"),
        "code/gateway/main.py": (b"code", "code", "gateway"),
    }
    repo.publish(release(repo, extra=extra.items()))
    go(target="gateway")
    names = {path.name for path in (home / "current").resolve().rglob("*") if path.is_file()}
    assert names == {"bundle.json", "features.json", "labels.txt", "model.bin", "variant.json"}


def test_device_takes_the_offer_that_is_for_it(repo, go, home):
    small, rest = release(repo, "2.0.0", cohort={"region": ("eu",)}), release(repo, "1.0.0")
    repo.publish(small, rest)
    assert go()["current"]["version"] == "1.0.0"
    (home / "attributes.json").write_text('{"region": "eu"}')
    assert go()["current"]["version"] == "2.0.0"


def test_nothing_for_this_device_keeps_what_it_has(repo, go, home):
    repo.publish(release(repo))
    go()
    repo.publish(release(repo, "9.0.0", minimum_runtime="99.0.0"))
    result = go()
    assert result["outcome"] == "nothing-offered"
    assert "it needs edgeops 99.0.0" in result["why"]
    assert result["current"]["version"] == "1.0.0"


def test_channel_is_the_only_one_or_stable(repo, go):
    repo.publish(release(repo, "1.0.0"), channel="beta")
    assert go()["current"]["version"] == "1.0.0"
    repo.publish(release(repo, "2.0.0"), channel="stable")
    assert go()["current"]["version"] == "2.0.0"
    assert go(channel="beta")["current"]["version"] == "1.0.0"
    assert code(go, channel="nightly") == ("channel-unknown", 3)


# Which target, and whether it fits


def needs(engine="onnxruntime", size=10, **more):
    return TargetNeeds(engine, "1.0.0", "fp32", size, digest("0" * 64), **more)


def several(repo, targets, version="1.0.0"):
    files = {}
    for name in targets:
        files |= plain_files(f"{version} {name}", target=name)
    files["targets.json"] = (encode_targets(targets), "index", None)
    return repo.publish(repo.bundle(version, files))


def test_target_is_the_smallest_that_fits_and_stays(repo, go, home):
    several(repo, {"a": needs(size=9), "b": needs(size=3), "c": needs("nothing", size=1)})
    assert go()["current"]["target"] == "b"
    several(repo, {"a": needs(size=1), "b": needs(size=3)}, "1.1.0")
    assert go()["current"]["target"] == "b"
    several(repo, {"a": needs(size=1)}, "1.2.0")
    assert go()["current"]["target"] == "a"
    assert code(go, target="zzz") == ("target-unknown", 3)


def test_another_target_of_the_same_release_is_a_slot_of_its_own(repo, go, home):
    made = several(repo, {"a": needs(), "b": needs()})
    go(target="a")
    result = go(target="b")
    assert [result[name]["target"] for name in ("current", "previous")] == ["b", "a"]
    assert result["current"]["digest"] == result["previous"]["digest"] == made.digest
    assert [path.name for path in (home / "current" / "variants").iterdir()] == ["b"]
    tidy(home)


def test_channel_that_goes_back_takes_the_slot_that_is_there(repo, go, home):
    one, two = release(repo), release(repo, "2.0.0")
    for offer in (one, two):
        repo.publish(offer)
        go()
    before = (home / "previous").resolve().stat().st_ino
    repo.publish(one)
    result = go()
    assert [result[name]["version"] for name in ("current", "previous")] == ["1.0.0", "2.0.0"]
    assert (home / "current").resolve().stat().st_ino == before
    tidy(home)


def test_targets_that_rules_ask_come_too(repo, go, home):
    several(repo, {"a": needs(uses=("b",)), "b": needs(), "c": needs()})
    go(target="a")
    folders = {path.name for path in (home / "current" / "variants").iterdir()}
    assert folders == {"a", "b"}


def test_device_that_lacks_something_is_told_all_of_it(repo, go, home):
    repo.publish(release(repo))
    go()
    wanted = needs("onnxruntime", architectures=("sparc",), memory_mb=1e9)
    wanted = replace(wanted, engine_version="99.0.0")
    several(repo, {"gateway": wanted}, "2.0.0")
    with pytest.raises(EdgeopsError) as caught:
        go()
    assert caught.value.code == "device-unfit"
    assert int(caught.value.exit_code) == 5
    told = [finding.code for finding in caught.value.findings[1:]]
    assert told == ["device-architecture", "device-memory", "device-engine-version"]
    assert status(home)["current"]["version"] == "1.0.0"
    result = go()
    assert (result["outcome"], result["requests"]) == ("refused", 2)
    tidy(home)


def test_device_that_changed_is_judged_again(repo, go, home):
    several(repo, {"gateway": replace(needs(), architectures=("sparc",))})
    assert code(go) == ("device-unfit", 5)
    assert go()["outcome"] == "refused"
    (home / "attributes.json").write_text('{"arch": "sparc"}')
    assert go()["outcome"] == "updated"


def test_engine_may_come_with_the_release(repo, go):
    wheel = wheel_of({"onnxruntime/__init__.py": b"version = 99\n"})
    files = plain_files("x")
    files["targets.json"] = (
        encode_targets({"gateway": replace(needs(), engine_version="99.1.0")}),
        "index",
        None,
    )
    name = "runtime/gateway/onnxruntime-99.2.0-py3-none-any.whl"
    repo.publish(repo.bundle("1.0.0", {**files, name: (wheel, "runtime", "gateway")}))
    assert go()["outcome"] == "updated"


# Warm-up, probation, rollback


class No(Yes):
    accepted, why, code = False, "it answers nonsense", "warmup-insane"


class Slow(Yes):
    accepted, why, code = False, "it is slower than the old one", "warmup-too-slow"


class Tried(Yes):
    probation_s = 60.0

    def __init__(self):
        self.calls = []

    def commit(self):
        self.calls.append("commit")

    def abort(self):
        self.calls.append("abort")


def test_release_that_fails_its_warm_up_is_not_tried_again(repo, go, home):
    repo.publish(release(repo))
    go()
    repo.publish(release(repo, "2.0.0"))
    assert code(go, activate=lambda *_: No()) == ("candidate-refused", 5)
    assert status(home)["current"]["version"] == "1.0.0"
    tidy(home)
    result = go()
    assert (result["outcome"], result["requests"]) == ("refused", 2)
    assert "it answers nonsense" in result["why"]
    assert go(retry=True)["outcome"] == "updated"


class Short(Yes):
    accepted, why, code = False, "MemoryError: ", "warmup-short"


@pytest.mark.parametrize("step", [Slow, Short])
def test_warm_up_that_was_slow_or_short_of_memory_is_tried_three_times(repo, go, step):
    repo.publish(release(repo))
    assert code(go, activate=lambda *_: step()) == ("candidate-slow", 5)
    assert code(go, activate=lambda *_: step()) == ("candidate-slow", 5)
    assert code(go, activate=lambda *_: step()) == ("candidate-refused", 5)
    assert go()["outcome"] == "refused"


def test_release_that_ends_the_agent_while_it_is_warmed_up_is_given_up(repo, go):
    class Dead(BaseException):
        pass

    def die(*_):
        raise Dead

    repo.publish(release(repo))
    for _ in range(3):
        with pytest.raises(Dead):
            go(activate=die)
    assert code(go) == ("candidate-refused", 5)


def test_probation_holds_the_next_release_back(repo, go, home):
    repo.publish(release(repo))
    go()
    (home / "serve.sock").touch()
    repo.publish(release(repo, "2.0.0"))
    step, now = Tried(), datetime.now(UTC)
    assert go(activate=lambda *_: step, now=now)["state"] == "probation"
    assert step.calls == ["commit"]
    repo.publish(release(repo, "3.0.0"))
    result = go(now=now + timedelta(seconds=30))
    assert (result["outcome"], result["requests"]) == ("probation", 0)
    assert go(now=now + timedelta(seconds=61))["current"]["version"] == "3.0.0"


def test_probation_ends_when_it_is_confirmed_or_nothing_serves(repo, go, home):
    repo.publish(release(repo))
    (home).mkdir()
    (home / "serve.sock").touch()
    go(activate=lambda *_: Tried())
    confirm(home)
    assert status(home)["state"] == "idle"
    repo.publish(release(repo, "2.0.0"))
    go(activate=lambda *_: Tried())
    assert status(home)["state"] == "probation"
    (home / "serve.sock").unlink()
    assert go()["state"] == "idle"


def test_rollback_in_probation_remembers_why(repo, go, home):
    repo.publish(release(repo))
    go()
    (home / "serve.sock").touch()
    two = repo.publish(release(repo, "2.0.0"))
    go(activate=lambda *_: Tried())
    rollback(home, "its breaker opened 3 times")
    assert status(home)["refused"][two.digest]["why"] == "its breaker opened 3 times"
    assert go()["outcome"] == "refused"
    assert code(rollback, home) == ("nothing-previous", 3)


def test_rollback_ends_an_update_that_is_under_way(repo, go, home):
    repo.publish(release(repo))
    go()
    two = repo.publish(release(repo, "2.0.0"))
    go()
    repo.publish(release(repo, "3.0.0"))

    def meanwhile(*_):
        rollback(home, "a breaker")
        return Yes()

    assert go(activate=meanwhile)["outcome"] == "superseded"
    assert status(home)["current"]["version"] == "1.0.0"
    assert two.digest in status(home)["refused"]
    assert go()["current"]["version"] == "3.0.0"
    tidy(home)


# Storage


def test_release_that_has_no_room_is_refused_before_it_is_fetched(repo, go, home):
    repo.publish(release(repo, model=random_bytes(0)))
    go(max_bytes=60_000)
    repo.publish(release(repo, "2.0.0", model=random_bytes(1)))
    with pytest.raises(EdgeopsError) as caught:
        go(max_bytes=60_000)
    assert (caught.value.code, int(caught.value.exit_code)) == ("storage-full", 4)
    assert caught.value.result["bytes_downloaded"] < 10_000
    assert status(home)["current"]["version"] == "1.0.0"
    assert go(max_bytes=90_000)["outcome"] == "updated"


def test_previous_release_is_given_up_for_room_where_that_is_allowed(repo, go, home):
    for number in range(2):
        repo.publish(release(repo, f"{number}.0.0", model=random_bytes(number)))
        go()
    repo.publish(release(repo, "2.0.0", model=random_bytes(2)))
    assert code(go, max_bytes=100_000) == ("storage-full", 4)
    assert status(home)["previous"]["version"] == "0.0.0"
    result = go(max_bytes=100_000, evict_previous=True)
    assert (result["current"]["version"], result["previous"]["version"]) == ("2.0.0", "1.0.0")
    tidy(home)


def test_disk_without_room_is_seen_before_anything_is_fetched(repo, go, monkeypatch):
    repo.publish(release(repo, model=random_bytes(0)))
    monkeypatch.setattr(storage, "free_bytes", lambda _: 1 << 20)
    assert code(go) == ("disk-full", 4)
    monkeypatch.undo()
    assert go()["outcome"] == "updated"


def flip(path):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["variants/gateway/model.bin", "bundle.json"])
def test_damaged_release_is_thrown_away_and_fetched_again(repo, go, home, name):
    one = repo.publish(release(repo, model=random_bytes(0)))
    go()
    two = repo.publish(release(repo, "2.0.0", model=random_bytes(1)))
    go()
    flip(home / "current" / name)
    assert heal(home)
    assert served(home) == one.digest
    assert two.digest not in status(home)["refused"]
    assert go()["current"]["digest"] == two.digest
    assert served(home) == two.digest
    tidy(home)


def test_server_that_cannot_load_what_is_damaged_goes_back_and_gets_it_again(tmp_path, repo, home):
    from edgeops.runtime.serving.options import Options as Serving
    from edgeops.runtime.serving.server import started

    options = Options(home, str(tmp_path / "repo"), tmp_path / "root.json")
    one = repo.publish(repo.bundle("1.0.0", variant_files(tmp_path / "one")))
    updated(options)
    two = repo.publish(repo.bundle("2.0.0", variant_files(tmp_path / "two", seed=1)))
    updated(options)
    flip(home / "current" / "variants" / "gateway" / "model.onnx")
    started(home, Serving()).close()
    assert served(home) == one.digest
    assert status(home)["refused"] == {}
    assert updated(options)["current"]["digest"] == two.digest
    tidy(home)


def test_damaged_first_release_is_fetched_again(repo, go, home):
    one = repo.publish(release(repo, model=random_bytes(0)))
    go()
    flip(home / "current" / "variants" / "gateway" / "model.bin")
    assert go()["outcome"] == "current"
    assert go(verify=True)["outcome"] == "updated"
    assert served(home) == one.digest
    assert not heal(home)
    tidy(home)


def test_file_that_was_cut_or_removed_is_seen_by_the_next_update(repo, go, home):
    one = repo.publish(release(repo, model=random_bytes(0)))
    go()
    os.truncate(home / "current" / "variants" / "gateway" / "model.bin", 100)
    assert go()["outcome"] == "updated"
    (home / "current" / "labels.txt").unlink()
    (home / "current" / "bundle.json").unlink()
    assert go()["outcome"] == "updated"
    assert served(home) == one.digest
    tidy(home)


def test_damaged_blob_is_not_built_on(repo, go, home):
    model = random_bytes(0)
    repo.publish(release(repo, model=model))
    go()
    flip(home / "blobs" / "sha256" / sha256_bytes(model))
    two = repo.publish(release(repo, "2.0.0", model=model))
    go()
    assert served(home) == two.digest


# Deltas


def with_delta(repo, tmp_path, *, method=None, spoil=None):
    """Publish a release and then one that differs a little, with a delta between them."""
    old = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
    new = old.copy()
    new[: SIZE // 50] += 0.01
    (tmp_path / "old").write_bytes(old.tobytes())
    (tmp_path / "new").write_bytes(new.tobytes())
    made = make(tmp_path / "old", tmp_path / "new", name="model.bin")
    data = made.data if spoil is None else spoil(made.data)
    entry = {
        "from": digest(sha256_bytes(old.tobytes())),
        "to": digest(sha256_bytes(new.tobytes())),
        "method": method or made.header.method,
        "digest": digest(sha256_bytes(data)),
        "size": len(data),
    }
    repo.blob(data)
    listed = repo.blob(canonical_json({"format": "edgeops.deltas/1", "deltas": [entry]}), BYTES)
    one = release(repo, model=old.tobytes())
    two = release(repo, "1.1.0", model=new.tobytes(), deltas=listed)
    return one, two, len(new.tobytes())


def test_delta_is_used_where_its_base_is_there(repo, go, home, tmp_path):
    one, two, size = with_delta(repo, tmp_path)
    repo.publish(one)
    go()
    repo.publish(two)
    assert go()["bytes_downloaded"] < size / 4
    assert served(home) == two.digest
    tidy(home)


def test_device_without_the_base_fetches_the_whole_file(repo, go, home, tmp_path):
    _, two, size = with_delta(repo, tmp_path)
    repo.publish(two)
    assert go()["bytes_downloaded"] > size
    assert served(home) == two.digest


@pytest.mark.parametrize(
    "trouble",
    [
        {"method": "from-the-future"},
        {"spoil": lambda data: data[: len(data) // 2]},
        {"spoil": lambda data: data[:-3] + b"abc"},
        {"spoil": lambda data: b"nonsense"},
    ],
    ids=["method unknown", "cut", "changed", "nonsense"],
)
def test_delta_that_cannot_be_used_costs_bytes_and_nothing_else(repo, go, home, tmp_path, trouble):
    one, two, size = with_delta(repo, tmp_path, **trouble)
    repo.publish(one)
    go()
    repo.publish(two)
    assert go()["bytes_downloaded"] > size
    assert served(home) == two.digest
    tidy(home)


def test_list_of_deltas_that_is_nonsense_is_as_none(repo, go, home):
    for number, data in enumerate([b"[]", b"{", b'{"format": "edgeops.deltas/1", "deltas": 3}']):
        repo.publish(release(repo, f"1.{number}.0", deltas=repo.blob(data)))
        assert go()["outcome"] == "updated"


# Runtime in the release


def wheel_of(files, **entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for entry, data in entries.values():
            archive.writestr(entry, data)
    return out.getvalue()


def with_wheel(repo, wheel, version="1.0.0"):
    name = f"runtime/gateway/thing-{version}-py3-none-any.whl"
    return repo.publish(release(repo, version, extra={name: (wheel, "runtime", "gateway")}.items()))


def test_wheel_is_unpacked_into_the_slot(repo, go, home):
    with_wheel(repo, wheel_of({"thing/__init__.py": b"x = 1\n", "thing/sub/y.py": b""}))
    go()
    assert (home / "current" / "site" / "thing" / "__init__.py").read_bytes() == b"x = 1\n"


def linked():
    entry = zipfile.ZipInfo("thing/link")
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize(
    "wheel",
    [
        wheel_of({"../outside.py": b""}),
        wheel_of({"/etc/outside.py": b""}),
        wheel_of({"a/../../outside.py": b""}),
        wheel_of({"a\\..\\outside.py": b""}),
        wheel_of({}, link=(linked(), b"/etc/passwd")),
        wheel_of({"a.py": b"", "A.py": b""}),
        wheel_of({"zeros": bytes(40 << 20)}),
        wheel_of({"a": b"", "a/b": b""}),
        b"no archive at all",
    ],
    ids=["dots", "absolute", "inner dots", "backslash", "link", "case", "bomb", "below", "no zip"],
)
def test_wheel_that_would_do_harm_is_refused(repo, go, home, wheel, tmp_path):
    repo.publish(release(repo, "0.9.0"))
    go()
    with_wheel(repo, wheel)
    assert code(go) == ("wheel-unsafe", 20)
    assert not list(tmp_path.rglob("outside.py"))
    assert status(home)["current"]["version"] == "0.9.0"
    assert go()["outcome"] == "refused"
    repo.publish(release(repo, "1.1.0"))
    assert go()["outcome"] == "updated"
    tidy(home)


def test_agent_of_the_release_takes_the_place_of_the_old_one(repo, go, home):
    agent = "runtime/edgeops-agent.pyz"
    repo.publish(release(repo, "1.0.0", extra={agent: (b"one", "runtime", None)}.items()))
    go()
    assert (home / "agent.pyz").read_bytes() == b"one"
    repo.publish(release(repo, "2.0.0", extra={agent: (b"two", "runtime", None)}.items()))
    go()
    assert (home / "agent.pyz").read_bytes() == b"two"
    rollback(home)
    assert (home / "agent.pyz").read_bytes() == b"one"
    repo.publish(release(repo, "3.0.0"))
    go()
    repo.publish(release(repo, "4.0.0"))
    go()
    assert (home / "agent.pyz").read_bytes() == b"one"


# Trust, clocks, two agents, damaged state


def test_root_of_the_first_update_is_trusted_for_ever(repo, go, tmp_path, home):
    repo.publish(release(repo))
    go()
    other = Repo(tmp_path / "other")
    other.publish(release(other, "6.6.6"))
    (tmp_path / "root.json").write_bytes(other.root)
    assert code(go, repo=str(tmp_path / "other")) == ("metadata-unsigned", 20)
    assert go(root=None)["outcome"] == "current"


def test_root_that_proved_nothing_yet_gives_way_to_the_right_one(repo, go, tmp_path, home):
    repo.publish(release(repo))
    (tmp_path / "root.json").write_bytes(Repo(tmp_path / "other").root)
    assert code(go) == ("metadata-unsigned", 20)
    (tmp_path / "root.json").write_bytes(repo.root)
    assert go()["outcome"] == "updated"
    assert (home / "root.json").read_bytes() == repo.root


@pytest.mark.parametrize(
    ("data", "expected"), [(None, ("root-missing", 3)), (b"{}", ("root-malformed", 20))]
)
def test_first_update_needs_a_root(repo, go, tmp_path, home, data, expected):
    repo.publish(release(repo))
    (tmp_path / "root.json").unlink()
    if data is not None:
        (tmp_path / "root.json").write_bytes(data)
    assert code(go) == expected
    (tmp_path / "root.json").write_bytes(repo.root)
    assert go()["outcome"] == "updated"


def test_expired_repository_stops_updates_and_nothing_else(repo, go, home):
    one = repo.publish(release(repo))
    go()
    repo.publish(release(repo, "2.0.0"), expires=timedelta(seconds=-5))
    assert code(go) == ("metadata-expired", 20)
    assert served(home) == one.digest
    repo.publish(release(repo, "3.0.0"))
    assert go()["current"]["version"] == "3.0.0"


def test_clock_that_is_behind_stops_updates_and_nothing_else(repo, go, home):
    one = repo.publish(release(repo))
    go()
    assert code(go, now=datetime(2001, 1, 1, tzinfo=UTC)) == ("clock-wrong", 20)
    assert served(home) == one.digest
    assert go()["outcome"] == "current"


def test_second_agent_on_a_home_is_told_so(repo, go, home):
    repo.publish(release(repo))
    go()
    inside, leave = threading.Event(), threading.Event()

    def wait(*_):
        inside.set()
        leave.wait(60)
        return Yes()

    repo.publish(release(repo, "2.0.0"))
    first = threading.Thread(target=go, kwargs={"activate": wait})
    first.start()
    try:
        assert inside.wait(60)
        assert code(go) == ("agent-busy", 4)
        assert status(home)["state"] == "warming"
        assert status(home)["current"]["version"] == "1.0.0"
    finally:
        leave.set()
        first.join()
    assert status(home)["current"]["version"] == "2.0.0"


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 40, b"{}", b'{"format": "edgeops.agent/9"}', None], ids=repr
)
def test_damaged_state_is_read_from_the_links(repo, go, home, data):
    repo.publish(release(repo))
    go()
    two = repo.publish(release(repo, "2.0.0"))
    go()
    if data is None:
        (home / "state.json").unlink()
    else:
        (home / "state.json").write_bytes(data)
    told = status(home)
    assert told["problem"].startswith("state.json is")
    assert told["current"]["digest"] == two.digest
    assert told["previous"]["version"] == "1.0.0"
    assert go()["outcome"] == "current"
    assert status(home)["problem"] == ""
    (home / "state.json").write_bytes(b"?")
    assert rollback(home)["current"]["version"] == "1.0.0"
    assert status(home)["problem"] == ""
    go()
    tidy(home)


def test_home_that_may_not_be_written_is_told_so(repo, go, home, monkeypatch):
    repo.publish(release(repo))
    go()

    def refuse(name, path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(files, "watch", refuse)
    assert code(go) == ("not-writable", 4)


def test_policy_that_cannot_be_read_is_told_by_status(repo, go, home):
    repo.publish(release(repo))
    go()
    (home / "agent.json").write_text("{")
    told = status(home)
    assert told["current"]["version"] == "1.0.0"
    assert "policy" in told["problem"]


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "spoil", [flip, cut, lambda path: path.unlink()], ids=["flip", "cut", "gone"]
)
def test_any_file_of_a_home_may_be_damaged(repo, go, home, tmp_path, spoil):
    """One update later all is well again; until then what is served is whole or refused."""
    repo.publish(release(repo))
    go()
    two = repo.publish(release(repo, "2.0.0"))
    go()
    rollback(home)
    go(retry=True)
    saved = tmp_path / "saved"
    shutil.copytree(home, saved, symlinks=True)
    names = sorted(
        p.relative_to(home) for p in home.rglob("*") if p.is_file() and not p.is_symlink()
    )
    seen = 0
    for name in (name for name in names if not str(name).endswith("lock")):
        shutil.rmtree(home)
        shutil.copytree(saved, home, symlinks=True)
        spoil(home / name)
        status(home)
        assert go(verify=True, retry=True)["outcome"] in ("updated", "current"), name
        assert served(home) == two.digest, name
        tidy(home)
        seen += 1
    assert seen > 15


def test_home_that_is_none_is_told_so(tmp_path):
    assert code(status, tmp_path) == ("home-missing", 3)
    assert code(rollback, tmp_path) == ("home-missing", 3)


def test_bundle_that_is_not_what_was_offered_is_refused(repo, go, home):
    made = release(repo, "1.0.0")
    repo.publish(replace(made, version="1.0.1", release="releases/tiny/1.0.1.json"))
    assert code(go) == ("bundle-malformed", 20)
    assert go()["outcome"] == "refused"


@pytest.mark.parametrize(
    "path", ["../../evil", "/etc/evil", "a/../../evil", "variants/gateway/../../x"]
)
def test_path_that_leads_outside_is_refused(repo, go, tmp_path, path):
    good = repo.publish(release(repo))
    go()
    name = good.digest.partition(":")[2]
    text = (tmp_path / "repo" / "blobs" / "sha256" / name).read_text()
    evil = text.replace('"labels.txt"', json.dumps(path)).encode()
    assert evil != text.encode()
    blob = repo.blob(evil, good.bundle.media_type)
    repo.publish(replace(good, bundle=blob))
    assert code(go)[1] == 20
    assert not list(tmp_path.parent.rglob("evil"))


def test_stop_ends_an_update_between_steps(repo, go, home, tmp_path):
    repo.publish(release(repo))
    options = Options(home, str(tmp_path / "repo"), tmp_path / "root.json")
    assert updated(options, stop=lambda: True)["outcome"] == "stopped"
    assert go()["outcome"] == "updated"
