"""What disks, owners, servers and other programs do while an update is under way."""

from __future__ import annotations

import errno
import io
import json
import shutil
import threading
import zipfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from edgeops.core.channel import Channel
from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import canonical_json
from edgeops.errors import EdgeopsError, InputError, RefusedError, TransportError
from edgeops.package.deltas import make
from edgeops.runtime.agent import blobs as storage
from edgeops.runtime.agent import clock, files, probation
from edgeops.runtime.agent.changes import clean
from edgeops.runtime.agent.fetching import Fetching
from edgeops.runtime.agent.heal import heal
from edgeops.runtime.agent.home import Home
from edgeops.runtime.agent.http import Limits
from edgeops.runtime.agent.rollback import rollback
from edgeops.runtime.agent.status import status
from tests.unit._agent_faults import Full, Yes, served, tidy, updater, watching
from tests.unit._agent_repo import anchored, plain_files

SIZE = 40_000
MODEL = "variants/gateway/model.bin"


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


@pytest.fixture
def two(repo, go):
    """Two releases are installed, one after the other; a third is offered."""
    for number in range(3):
        repo.publish(release(repo, f"{number}.0.0", number))
        if number < 2:
            go()


def release(repo, version="0.0.0", seed=0, **more):
    data = np.random.default_rng(seed).bytes(SIZE)
    return repo.bundle(
        version, {**plain_files(version), MODEL: (data, "variant", "gateway"), **more}
    )


def refused(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    assert work is rollback or {"bytes_downloaded", "requests"} <= set(caught.value.result)
    return caught.value.code


def spoil(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# Other programs


def test_release_that_was_gone_back_to_is_not_evicted(go, home, two, monkeypatch):
    make_room = Fetching._make_room

    def meanwhile(*arguments):
        rollback(home, "a breaker")
        return make_room(*arguments)

    monkeypatch.setattr(Fetching, "_make_room", meanwhile)
    assert go(max_bytes=100_000, evict_previous=True)["outcome"] == "superseded"
    assert served(home)
    assert status(home)["current"]["version"] == "0.0.0"
    assert [each["why"] for each in status(home)["refused"].values()] == ["a breaker"]


@pytest.mark.parametrize("dies", [True, False])
def test_home_is_at_rest_after_its_only_release_was_given_up_meanwhile(repo, go, home, dies):
    repo.publish(release(repo))
    go()
    repo.publish(release(repo, "1.0.0", 1))

    def meanwhile(*_):
        spoil(home / "current" / MODEL)
        assert heal(home)
        if dies:
            raise TransportError("serve-unreachable", "the server died")
        return Yes()

    if dies:
        assert refused(go, activate=meanwhile) == "serve-unreachable"
    else:
        assert go(activate=meanwhile)["outcome"] == "superseded"
    assert status(home)["state"] == "idle"
    assert go()["current"]["version"] == "1.0.0"
    tidy(home)


def test_release_before_that_is_gone_is_not_gone_back_to(home, two):
    shutil.rmtree((home / "previous").resolve())
    assert refused(rollback, home) == "nothing-previous"
    assert status(home)["refused"] == {}


def test_release_without_its_model_is_fetched_again(repo, go, home):
    repo.publish(release(repo))
    go()
    shutil.rmtree(home / "current" / "variants")
    assert go()["outcome"] == "updated"
    assert (home / "current" / MODEL).is_file()
    tidy(home)


def test_what_the_server_is_writing_is_no_leftover_of_a_kill(home, two):
    cleaner = threading.Thread(target=clean, args=(Home(home), Home(home).read()))

    def meanwhile(name, path):
        if name == "replace" and path.name == "state.json" and not cleaner.ident:
            cleaner.start()
            cleaner.join(0.5)

    with watching(meanwhile):
        assert rollback(home)["current"]["version"] == "0.0.0"
        cleaner.join(30)
    assert cleaner.ident
    assert Home(home).read().problem == ""


class Unreadable(Yes):
    accepted, why, code = False, "digest-mismatch: it is not the file", "warmup-failed"


def test_release_that_was_damaged_on_the_disk_before_it_was_loaded_is_not_refused(repo, go, home):
    repo.publish(release(repo))

    def loaded(_home, folder, _state):
        spoil(folder / MODEL)
        return Unreadable()

    for _ in range(4):
        assert refused(go, activate=loaded) == "digest-mismatch"
    assert status(home)["refused"] == {}
    assert go()["outcome"] == "updated"
    assert served(home)
    tidy(home)


class New(Yes):
    probation_s = 60.0


def test_server_may_confirm_while_the_agent_looks_whether_probation_is_over(
    repo, go, home, monkeypatch
):
    repo.publish(release(repo))
    home.mkdir()
    (home / "serve.sock").touch()
    go(activate=lambda *_: New())

    def over(*_):
        probation.confirm(home)
        return True

    monkeypatch.setattr(probation, "over", over)
    assert go()["outcome"] == "current"


def test_probation_begins_when_the_release_is_switched_to(repo, go, home, monkeypatch):
    repo.publish(release(repo))
    home.mkdir()
    (home / "serve.sock").touch()
    later = clock.utc_now() + timedelta(hours=2)

    def slow(*_):
        monkeypatch.setattr(clock, "utc_now", lambda: later)
        return New()

    go(activate=slow)
    assert go()["outcome"] == "probation"


@pytest.mark.parametrize("code", ["serve-options", "serve-preparing"])
def test_warm_up_that_could_not_begin_is_not_counted(repo, go, home, code):
    repo.publish(release(repo))

    def cannot(*_):
        raise RefusedError(code, "the server has other things to do")

    for _ in range(4):
        assert refused(go, activate=cannot) == code
    assert go()["outcome"] == "updated"


def test_release_before_that_is_damaged_is_given_up_alone(go, home, two):
    go()
    spoil(home / "previous" / MODEL)
    result = go(verify=True)
    assert (result["outcome"], result["previous"]) == ("current", None)
    assert result["current"]["version"] == "2.0.0"
    tidy(home)


@pytest.mark.parametrize("odd", ['"device_id": "\\ud800', '"clock": {"x": NaN}, "y": "'])
def test_state_that_can_be_read_and_not_written_is_damaged(repo, go, home, odd):
    repo.publish(release(repo))
    go()
    state = home / "state.json"
    state.write_text(state.read_text().replace('"device_id": "', odd))
    assert status(home)["problem"].startswith("state.json is damaged")
    assert go()["outcome"] == "current"
    tidy(home)


def test_second_agent_is_told_with_the_counts(go, home):
    place = Home(home)
    place.prepare()
    with place.lock():
        assert refused(go) == "agent-busy"


# Disks


def test_download_that_fits_goes_on_where_the_whole_would_not_fit(repo, go, home, monkeypatch):
    repo.publish(release(repo))
    place = Home(home)
    place.prepare()
    data = np.random.default_rng(0).bytes(SIZE)
    (place.partial / sha256_bytes(data)).write_bytes(data[:30_000])
    monkeypatch.setattr(storage, "free_bytes", lambda _: (1 << 20) + 20_000)
    result = go()
    assert result["outcome"] == "updated"
    assert result["bytes_downloaded"] < SIZE


def test_what_nobody_needs_makes_room(repo, go, home, monkeypatch):
    repo.publish(release(repo))
    place = Home(home)
    place.prepare()
    rest = place.partial / ("a" * 64)
    rest.write_bytes(b"of another release")
    monkeypatch.setattr(storage, "free_bytes", lambda _: 0 if rest.exists() else 1 << 30)
    assert go()["outcome"] == "updated"


def test_disk_that_a_kill_left_full_is_got_over(repo, go, home):
    repo.publish(release(repo))
    go()
    place = Home(home)
    place.write(replace(place.read(), state="fetching"))
    rest = place.partial / ("a" * 64)
    rest.write_bytes(b"it fills the disk")

    def full(name, path):
        if name == "write" and rest.exists():
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with watching(full):
        assert go()["outcome"] == "current"
    tidy(home)


@pytest.mark.parametrize("at", range(1, 12))
def test_full_disk_is_told_with_the_counts(go, two, at):
    with watching(Full(at)):
        assert refused(go) == "disk-full"


def told(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, caught.value.what, caught.value.why


def test_full_disk_is_told_with_what_is_needed_and_what_is_free(repo, go, monkeypatch):
    repo.publish(release(repo, **{"labels.txt": (bytes(5_000_000), "labels", None)}))
    monkeypatch.setattr(storage, "free_bytes", lambda _: 2_100_000)
    code, what, why = told(go)
    assert (code, what.partition(": ")[2]) == ("disk-full", "6.1 MB are needed, 2.1 MB are free")
    assert "5040" in why


def test_disk_that_becomes_full_is_told_with_what_is_still_needed(repo, go, monkeypatch):
    repo.publish(release(repo, **{"labels.txt": (bytes(5_000_000), "labels", None)}))

    def full(name, path):
        if name == "write" and path.parent.name == "partial" and path.stat().st_size > 3_000_000:
            monkeypatch.setattr(storage, "free_bytes", lambda _: 4096)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with watching(full):
        _, what, why = told(go)
    assert what.endswith("3.1 MB are needed, 0.0 MB are free")  # the rest, and the margin
    assert "No space left on device" in why


def test_disk_with_room_that_takes_no_more_files_is_told_so(two, go):
    with watching(Full(1)):
        assert "the number of files" in told(go)[2]


def with_library(repo, size):
    """Return a release with a wheel of so many bytes, which packs well."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("engine/library.so", np.arange(size // 8).tobytes())
    name = "runtime/gateway/engine-1.0-py3-none-any.whl"
    return release(repo, "9.0.0", 9, **{name: (out.getvalue(), "runtime", "gateway")})


def test_library_that_has_no_room_when_it_is_unpacked_is_not_fetched_again(
    repo, go, home, two, monkeypatch
):
    repo.publish(with_library(repo, 8_000_000))
    monkeypatch.setattr(storage, "free_bytes", lambda _: 6_000_000)
    before = sum(path.stat().st_size for path in (home / "slots").rglob("*") if path.is_file())
    code, what, _ = told(go)
    assert (code, "9.0 MB are needed, 6.0 MB are free" in what) == ("disk-full", True)
    # Neither is any of it left unpacked, nor is what was fetched thrown away.
    after = sum(path.stat().st_size for path in (home / "slots").rglob("*") if path.is_file())
    assert after == before
    again = told(go)
    assert again[1] == what
    monkeypatch.undo()
    result = go()
    assert (result["outcome"], result["bytes_downloaded"] < 10_000) == ("updated", True)
    assert (home / "current/site/engine/library.so").stat().st_size == 8_000_000
    tidy(home)


def test_disk_that_is_full_when_a_library_is_unpacked_has_what_it_took_back(
    repo, go, home, two, monkeypatch
):
    repo.publish(with_library(repo, 8_000_000))

    def full(name, path):
        if name == "write" and path.name == "library.so":
            monkeypatch.setattr(storage, "free_bytes", lambda _: 0)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with watching(full):
        assert refused(go) == "disk-full"
    assert list((home / "slots").glob(".new-*")) == []
    tidy(home)


def test_rollback_on_a_full_disk_is_told_so_and_works_afterwards(home, two):
    with watching(Full(1)):
        assert refused(rollback, home) == "disk-full"
    assert rollback(home)["current"]["version"] == "0.0.0"


def test_disk_that_was_mounted_read_only_is_not_called_another_users(go, two, monkeypatch):
    def fail(_, path):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(files, "watch", fail)
    with pytest.raises(EdgeopsError) as caught:
        go()
    assert caught.value.code == "not-writable"
    assert "mount" in caught.value.fix


@pytest.fixture
def break_blocks(monkeypatch):
    """Have a file answer as on bad blocks, under whichever name it is read."""
    opened, bad, held = Path.open, set(), []

    def read(path, mode="r", *given, **more):
        if mode == "rb" and path.exists() and path.stat().st_ino in bad:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, mode, *given, **more)

    def spoil(path):
        bad.add(path.stat().st_ino)
        held.append(opened(path))  # no other file gets its number

    monkeypatch.setattr(Path, "open", read)
    yield spoil
    for file in held:
        file.close()


def test_release_on_bad_blocks_is_given_up_and_fetched_again(go, home, two, break_blocks):
    go()
    break_blocks(home / "current" / MODEL)
    assert heal(home)
    assert status(home)["current"]["version"] == "1.0.0"
    assert go()["current"]["version"] == "2.0.0"
    tidy(home)


@pytest.mark.parametrize("folder", ["blobs", "partial"])
def test_file_on_bad_blocks_is_fetched_again(repo, go, home, break_blocks, folder):
    repo.publish(release(repo))
    place = Home(home)
    place.prepare()
    data = np.random.default_rng(0).bytes(SIZE)
    path = getattr(place, folder) / sha256_bytes(data)
    path.write_bytes(data if folder == "blobs" else data[:100])
    break_blocks(path)
    assert go()["outcome"] == "updated"
    tidy(home)


def test_disk_that_is_broken_is_no_bug(go, two):
    def fail(_, path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    with watching(fail):
        assert refused(go) == "disk-broken"
    assert go()["outcome"] == "updated"


def test_file_at_the_place_of_a_home_is_no_bug(go, home):
    home.write_text("")
    assert refused(go) == "folder-is-file"


def test_repository_that_may_not_be_read_is_not_taken_for_the_home(repo, go, tmp_path, monkeypatch):
    repo.publish(release(repo))
    opened = Path.open

    def read(path, *given, **more):
        if path.is_relative_to(tmp_path / "repo" / "metadata"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *given, **more)

    monkeypatch.setattr(Path, "open", read)
    assert refused(go, limits=Limits(backoff_s=0.0)) == "repository-unreachable"


# Publishers


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_wheel_that_is_packed_as_no_wheel_is_refused_for_good(repo, go, packing):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        archive.writestr("a.py", b"x" * 5000)
    wheel = out.getvalue()[:37] + b"broken" + out.getvalue()[43:]
    name = "runtime/gateway/thing-1.0.0-py3-none-any.whl"
    repo.publish(release(repo, **{name: (wheel, "runtime", "gateway")}))
    assert refused(go) == "wheel-unsafe"
    assert go()["outcome"] == "refused"


def test_channel_whose_name_leads_outside_is_none(repo, go, home, tmp_path):
    offer = release(repo)
    repo.publish(offer, channel="../../../evil")
    data = Channel("../../../evil", "tiny", (offer,)).encode()
    (tmp_path / f"{sha256_bytes(data)}.evil.json").write_bytes(data)
    assert refused(go) == "channel-unknown"
    assert not (tmp_path / "evil.json").exists()


@pytest.mark.parametrize(
    "entry",
    [
        {"method": []},
        {"from": "sha256:" + "a" * 5000},
        {"from": "sha256:\0"},
        {"from": "sha256:../../root.json"},
        {"digest": "sha256:../root.json"},
        {"size": True},
    ],
    ids=["method", "long", "zero", "base outside", "delta outside", "size"],
)
def test_entry_for_a_delta_that_is_nonsense_is_passed_over(repo, go, home, entry):
    old, new = (np.random.default_rng(seed).bytes(SIZE) for seed in (0, 1))
    repo.publish(release(repo))
    go()
    listed = {
        "from": digest(sha256_bytes(old)),
        "to": digest(sha256_bytes(new)),
        "method": "zstd",
        "digest": repo.blob(b"no delta").digest,
        "size": 8,
    }
    index = {"format": "edgeops.deltas/1", "deltas": [{**listed, **entry}]}
    offer = replace(release(repo, "1.0.0", 1), deltas=repo.blob(canonical_json(index)))
    repo.publish(offer)
    assert go()["outcome"] == "updated"
    assert served(home) == offer.digest


def test_file_is_fetched_whole_where_a_delta_has_no_room_beside_it(repo, go, home, tmp_path):
    numbers = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
    (tmp_path / "old").write_bytes(numbers.tobytes())
    (tmp_path / "new").write_bytes((numbers + np.float32(0.01)).tobytes())
    made = make(tmp_path / "old", tmp_path / "new", name="model.bin")
    old, new = ((tmp_path / name).read_bytes() for name in ("old", "new"))
    delta = repo.blob(made.data)
    listed = {
        "from": digest(sha256_bytes(old)),
        "to": digest(sha256_bytes(new)),
        "method": made.header.method,
        "digest": delta.digest,
        "size": delta.size,
    }
    index = {"format": "edgeops.deltas/1", "deltas": [listed]}
    repo.publish(release(repo, **{MODEL: (old, "variant", "gateway")}))
    go()
    offer = release(repo, "1.0.0", **{MODEL: (new, "variant", "gateway")})
    repo.publish(replace(offer, deltas=repo.blob(canonical_json(index))))

    def full(name, path):
        if name == "write" and path.name == delta.hex:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with watching(full):
        assert go()["outcome"] == "updated"
    assert served(home) == offer.digest
    tidy(home)


# Owners


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1" + "0" * 400], ids=["nan", "inf", "huge"])
def test_attribute_that_no_number_holds_is_said(repo, go, home, value):
    repo.publish(release(repo))
    home.mkdir()
    (home / "attributes.json").write_text(f'{{"line": {value}}}')
    with pytest.raises(InputError, match="does not say what this device is"):
        go()
    (home / "attributes.json").write_text(json.dumps({"line": 4}))
    assert go()["outcome"] == "updated"
