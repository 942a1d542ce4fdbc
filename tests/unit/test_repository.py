"""The repository: releases for ever, channels that move, clients that are never misled."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgeops.core.events import Silence
from edgeops.core.versions import older
from edgeops.errors import EdgeopsError, TransportError
from edgeops.publish.keys import init_keys, load_keys, rotate_keys
from edgeops.publish.repository import renew
from edgeops.publish.stores import FolderStore, is_repository, open_store
from edgeops.runtime.agent.look import fetch_blob, offered
from edgeops.stages.publish import RotateRequest, rotate_and_renew
from edgeops.stages.unpack import UnpackRequest, unpack_verb
from tests.unit._bundles import make_bundle, release

NOW = datetime.now(UTC)


@pytest.fixture
def root(tmp_path):
    init_keys(tmp_path / "keys", now=NOW)
    return tmp_path


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, int(caught.value.exit_code)


def _bundle(root, folder="one", **options):
    return make_bundle(root / folder, **options)


def _publish(root, bundle, **options):
    return release(root, bundle, **{"now": NOW, **options})


def _offer(root, state="state", repo="repo", anchor="keys/root.json", channel="stable"):
    store = FolderStore(root / repo)
    return offered(store, (root / anchor).read_bytes(), channel, root / state)


def _unpack(root, out="device", **options):
    request = UnpackRequest(
        **{
            "root": root,
            "source": "repo",
            "out": out,
            "channel": "stable",
            "trusted": "keys/root.json",
            **options,
        }
    )
    return unpack_verb(request, events=Silence())


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _metadata(root, name):
    return root / "repo" / "metadata" / name


def test_publish_lays_out_metadata_targets_and_blobs(root):
    result = _publish(root, _bundle(root))
    names = _files(root / "repo")
    assert result["release"] == "releases/tiny/1.0.0.json"
    assert result["channel"] == "stable"
    assert result["deltas"] == []
    assert result["bytes_uploaded"] == sum(map(len, names.values()))
    assert {name.split("/")[0] for name in names} == {"metadata", "targets", "blobs"}
    assert sorted(name for name in names if name.startswith("metadata/")) == [
        "metadata/1.releases-tiny.json",
        "metadata/1.root.json",
        "metadata/1.snapshot.json",
        "metadata/1.targets.json",
        "metadata/timestamp.json",
    ]


def test_device_gets_what_was_published(root):
    _publish(root, _bundle(root))
    result = _unpack(root, target="gateway")
    assert result["version"] == "1.0.0"
    weights = (root / "device" / "variants" / "gateway" / "model.onnx").read_bytes()
    assert weights == (root / "one" / "gateway" / "model.onnx").read_bytes()
    assert (root / "device" / "bundle.json").is_file()


def test_device_fetches_only_the_blobs_it_needs(root):
    _publish(root, _bundle(root))
    for blob in (root / "repo" / "blobs" / "sha256").iterdir():
        if blob.read_bytes() == (root / "one" / "gateway" / "model.onnx").read_bytes():
            blob.unlink()
    assert [item["path"] for item in _unpack(root, only="labels")["files"]] == ["labels.txt"]
    assert _code(_unpack, root, out="whole") == ("store-missing", 30)


def test_publishing_again_changes_nothing(root):
    bundle = _bundle(root)
    _publish(root, bundle)
    before = _files(root / "repo")
    assert _publish(root, bundle)["bytes_uploaded"] == 0
    assert _files(root / "repo") == before


def test_publishing_again_renews_what_is_past_half_its_life(root):
    bundle = _bundle(root)
    _publish(root, bundle)
    _publish(root, bundle, now=NOW + timedelta(days=16))
    timestamp = json.loads(_metadata(root, "timestamp.json").read_bytes())["signed"]
    assert timestamp["version"] == 2
    assert not _metadata(root, "2.snapshot.json").exists()
    _publish(root, bundle, now=NOW + timedelta(days=50))
    assert _metadata(root, "2.snapshot.json").exists()
    assert not _metadata(root, "2.targets.json").exists()


def test_publishing_again_to_another_channel_only_adds_the_channel(root):
    bundle = _bundle(root)
    assert _publish(root, bundle)["notes"] == []
    blobs = sorted((root / "repo" / "blobs" / "sha256").iterdir())
    notes = _publish(root, bundle, channel="beta")["notes"]
    assert notes == ["beta is a new channel; there were: stable"]
    assert sorted((root / "repo" / "blobs" / "sha256").iterdir()) == blobs
    assert _offer(root, channel="beta").version == _offer(root).version == "1.0.0"


def test_publishing_again_mends_a_damaged_blob(root):
    bundle = _bundle(root)
    _publish(root, bundle)
    blob = max((root / "repo" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-1] + b"!")
    assert _code(_unpack, root) == ("digest-mismatch", 20)
    assert _publish(root, bundle)["bytes_uploaded"] == len(whole)
    assert _unpack(root)["version"] == "1.0.0"


def test_a_new_version_moves_the_channel(root):
    _publish(root, _bundle(root))
    assert _offer(root).version == "1.0.0"
    _publish(root, _bundle(root, "two", version="1.1.0", seed=2))
    assert _offer(root).version == "1.1.0"


def test_the_same_version_with_other_files_is_refused(root):
    _publish(root, _bundle(root))
    before = _files(root / "repo")
    other = _bundle(root, "two", seed=2)
    assert _code(_publish, root, other) == ("release-exists", 3)
    assert _files(root / "repo") == before


def test_a_rebuild_takes_the_place_of_the_version_and_devices_see_it(root):
    first = _publish(root, _bundle(root))
    second = _publish(root, _bundle(root, "two", seed=2), rebuild=True)
    assert second["digest"] != first["digest"]
    assert second["notes"] == [
        "1.0.0 was published before with other files: these took their place"
    ]
    assert _offer(root).version == "1.0.0"
    assert _offer(root).manifest.digest == second["digest"]


def test_the_same_files_measured_again_stay_the_release_they_were(root):
    first = _publish(root, _bundle(root))
    again = _publish(root, _bundle(root, "two", value=0.98))
    assert again["digest"] == first["digest"]
    assert again["bytes_uploaded"] == 0
    assert again["notes"] == [
        "these files are published already: the release stays as first measured"
    ]


def test_a_channel_goes_back_only_when_told_to(root):
    old = _bundle(root)
    _publish(root, old)
    _publish(root, _bundle(root, "two", version="1.1.0", seed=2))
    assert _code(_publish, root, old) == ("channel-backwards", 3)
    _publish(root, old, rollback=True)
    assert _offer(root).version == "1.0.0"


def test_a_channel_belongs_to_one_project(root):
    _publish(root, _bundle(root))
    other = _bundle(root, "two", name="other")
    assert _code(_publish, root, other) == ("channel-taken", 3)
    assert _publish(root, other, channel="other-stable")["project"] == "other"


@pytest.mark.parametrize("channel", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_channel_name_is_part_of_a_path(root, channel):
    bundle = _bundle(root)
    assert _code(_publish, root, bundle, channel=channel) == ("name-invalid", 3)
    assert not (root / "repo").exists()


def test_gates_that_did_not_pass_stop_a_release(root):
    bundle = _bundle(root, value=0.5)
    with pytest.raises(EdgeopsError) as caught:
        _publish(root, bundle)
    assert caught.value.exit_code == 11
    assert caught.value.code == "publish-gate-failed"
    assert "accuracy >= 0.95, measured 0.5" in caught.value.why
    assert caught.value.result["gates"][0]["verdict"] == "fail"
    assert not (root / "repo").exists()


def test_a_bundle_without_gates_is_published_only_with_a_reason(root):
    bundle = _bundle(root, measured=False)
    assert _code(_publish, root, bundle) == ("publish-gates-absent", 12)
    assert _code(_publish, root, bundle, accept="  ") == ("publish-gates-absent", 12)
    assert _publish(root, bundle, accept="first try")["accepted"] == "first try"


def test_the_reason_is_in_the_signed_release(root):
    _publish(root, _bundle(root, value=0.5), accept="the customer agreed on 3 May")
    [manifest] = (root / "repo" / "targets" / "releases" / "tiny").iterdir()
    document = json.loads(manifest.read_bytes())
    assert document["accepted"] == "the customer agreed on 3 May"
    assert document["verdict"] == "fail"


def test_a_reason_that_was_not_needed_is_not_kept(root):
    assert _publish(root, _bundle(root), accept="just in case")["accepted"] is None


def test_an_inconclusive_gate_stops_a_release_with_its_own_exit(root):
    from edgeops.core.gates import Figure, judge
    from edgeops.core.variant import read_variant
    from edgeops.package.pack import Contents, pack_files
    from tests.unit._bundles import make_evidence, make_variant

    make_variant(root / "v")
    slow = Figure(5.0, (4.0, 6.0), "ms", "timed", 100, noisy=True)
    make_evidence(
        root / "e.json",
        read_variant(root / "v"),
        figures={"latency_p50_ms": slow},
        gates=(judge("latency_p50_ms", "<= 5", slow),),
    )
    contents = Contents("x", "1", {"gateway": root / "v"}, {"gateway": root / "e.json"}, {})
    bundle = pack_files(contents, root / "x.edgeops", sign=None, events=Silence()).path
    assert _code(_publish, root, bundle) == ("publish-gate-inconclusive", 12)


def test_a_bundle_signed_by_somebody_else_is_refused(root):
    init_keys(root / "others")
    bundle = _bundle(root, key=root / "others")
    with pytest.raises(EdgeopsError) as caught:
        _publish(root, bundle)
    assert (caught.value.code, int(caught.value.exit_code)) == ("signature-unknown-key", 20)
    assert caught.value.fix.startswith("pack it again")


def test_publishing_with_other_keys_is_refused(root):
    bundle = _bundle(root)
    _publish(root, bundle)
    init_keys(root / "others")
    assert _code(_publish, root, bundle, key="others") == ("repository-foreign", 20)


def test_publishing_onto_a_changed_repository_is_refused(root):
    bundle = _bundle(root)
    _publish(root, bundle)
    path = _metadata(root, "1.targets.json")
    path.write_bytes(path.read_bytes().replace(b"stable", b"stabel"))
    assert _code(_publish, root, bundle) == ("repository-tampered", 20)


def test_missing_keys_exit_4(root):
    bundle = _bundle(root)
    assert _code(_publish, root, bundle, key="nowhere") == ("keys-missing", 4)


# What a device sees of an attack.


def test_device_refuses_a_whole_repository_put_back(root):
    _publish(root, _bundle(root))
    shutil.copytree(root / "repo", root / "old")
    _publish(root, _bundle(root, "two", version="1.1.0", seed=2))
    assert _unpack(root)["version"] == "1.1.0"
    before = _files(root / "device")
    shutil.rmtree(root / "repo")
    shutil.copytree(root / "old", root / "repo")
    assert _code(_unpack, root) == ("metadata-rollback", 20)
    assert _files(root / "device") == before


def test_device_refuses_a_repository_that_nobody_renews(root):
    _publish(root, _bundle(root), now=NOW - timedelta(days=31))
    assert _code(_unpack, root) == ("metadata-expired", 20)
    assert not (root / "device").exists()


def test_device_refuses_another_publisher(root):
    init_keys(root / "others")
    _publish(root, _bundle(root))
    assert _code(_offer, root, anchor="others/root.json") == ("metadata-unsigned", 20)


def test_device_refuses_what_is_no_root(root):
    _publish(root, _bundle(root))
    (root / "bad.json").write_text("{}")
    assert _code(_offer, root, anchor="bad.json") == ("root-malformed", 20)
    assert _code(_unpack, root, trusted="no.json") == ("root-missing", 3)


@pytest.mark.parametrize(
    ("pattern", "codes"),
    [
        ("metadata/timestamp.json", {"metadata-tampered", "metadata-unsigned"}),
        ("metadata/1.snapshot.json", {"metadata-tampered", "metadata-unsigned"}),
        ("metadata/1.targets.json", {"metadata-tampered", "metadata-unsigned"}),
        ("targets/channels/*", {"metadata-tampered"}),
        ("blobs/sha256/*", {"digest-mismatch"}),
    ],
)
def test_device_refuses_a_changed_file(root, pattern, codes):
    _publish(root, _bundle(root))
    for path in (root / "repo").glob(pattern):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    code, exit_code = _code(_unpack, root)
    assert code in codes
    assert exit_code == 20
    assert not (root / "device").exists()


@pytest.mark.parametrize(
    "pattern", ["metadata/timestamp.json", "targets/channels/*", "blobs/sha256/*"]
)
def test_device_refuses_a_file_that_was_made_longer(root, pattern):
    _publish(root, _bundle(root))
    for path in (root / "repo").glob(pattern):
        path.write_bytes(path.read_bytes() + b" " * 20000)
    assert _code(_unpack, root) == ("download-endless", 20)


def test_device_without_a_repository_may_try_again(root):
    (root / "repo" / "metadata").mkdir(parents=True)
    assert _code(_unpack, root) == ("repository-unreachable", 30)


def test_device_is_told_which_channels_there_are(root):
    _publish(root, _bundle(root))
    with pytest.raises(EdgeopsError) as caught:
        _offer(root, channel="stabel")
    assert caught.value.code == "channel-unknown"
    assert caught.value.why == "its channels are: stable"


def test_blob_that_ends_early_is_refused(root):
    _publish(root, _bundle(root))
    offer = _offer(root)
    path = root / "repo" / "blobs" / "sha256" / offer.manifest.hex
    path.write_bytes(path.read_bytes()[:-10])
    assert _code(lambda: list(fetch_blob(FolderStore(root / "repo"), offer.manifest))) == (
        "digest-mismatch",
        20,
    )


# Rotation.


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_device_follows_a_rotation_from_its_first_root(root, role):
    shutil.copy(root / "keys" / "root.json", root / "first.json")
    bundle = _bundle(root)
    _publish(root, bundle)
    _offer(root, anchor="first.json")
    rotate_and_renew(RotateRequest(root, Path("keys"), role, "repo"))
    assert _offer(root, anchor="first.json").version == "1.0.0"
    assert _offer(root, state="fresh", anchor="keys/root.json").version == "1.0.0"


def test_a_root_is_followed_by_another_before_it_expires(root):
    bundle = _bundle(root)
    soon, late = NOW + timedelta(days=650), NOW + timedelta(days=731)
    assert _publish(root, bundle)["notes"] == []
    (note,) = _publish(root, bundle, now=soon)["notes"]
    assert f"root.json is good until {NOW + timedelta(days=730):%Y-%m-%d}" in note
    store, keys = FolderStore(root / "repo"), load_keys(root / "keys")
    assert renew(store, keys, now=soon)["notes"] == [note]
    before = _files(root / "repo")
    assert _code(renew, store, keys, now=late) == ("root-expired", 20)
    assert _code(_publish, root, bundle, now=late) == ("root-expired", 20)
    assert _files(root / "repo") == before
    rotate_keys(root / "keys", "timestamp", now=late)
    assert renew(store, load_keys(root / "keys"), now=late)["notes"] == []


def test_publish_brings_the_new_root_when_rotation_did_not(root):
    shutil.copy(root / "keys" / "root.json", root / "first.json")
    _publish(root, _bundle(root))
    rotate_keys(root / "keys", "timestamp")
    rotate_keys(root / "keys", "targets")
    _publish(root, _bundle(root, "two", version="1.1.0"))
    assert _offer(root, anchor="first.json").version == "1.1.0"
    assert _metadata(root, "3.root.json").exists()


def test_a_lost_key_stops_signing_after_rotation(root):
    _publish(root, _bundle(root))
    stolen = load_keys(root / "keys")
    rotate_and_renew(RotateRequest(root, Path("keys"), "timestamp", "repo"))
    rotate_and_renew(RotateRequest(root, Path("keys"), "snapshot", "repo"))
    rotate_and_renew(RotateRequest(root, Path("keys"), "targets", "repo"))
    bundle = _bundle(root, "two", version="1.1.0")
    assert stolen.root.signed.version == 1
    shutil.copytree(root / "keys", root / "thief")
    (root / "thief" / "root.json").write_bytes(stolen.roots[1])
    shutil.rmtree(root / "thief" / "roots")
    for role in ("timestamp", "snapshot", "targets"):
        (root / "thief" / f"{role}.previous.pem").replace(root / "thief" / f"{role}.pem")
    assert _code(_publish, root, bundle, key="thief") == ("keys-outdated", 20)


class _Stopping(FolderStore):
    """A folder store whose process dies at the given write, before or after the move."""

    def __init__(self, root, stop):
        super().__init__(root)
        self.left = stop

    def put(self, path, data):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().put(path, data)


@pytest.mark.parametrize("first", [True, False])
def test_a_publish_stopped_at_any_write_leaves_what_was_served(root, first, monkeypatch):
    if not first:
        _publish(root, _bundle(root))
    shutil.copytree(root / "repo", root / "before") if not first else None
    bundle = _bundle(root, "two", version="1.1.0", seed=2)
    seen = set()
    for stop in range(40):
        shutil.rmtree(root / "repo", ignore_errors=True)
        shutil.rmtree(root / "state", ignore_errors=True)
        if not first:
            shutil.copytree(root / "before", root / "repo")
        monkeypatch.setattr(
            "edgeops.publish.stores.open_store",
            lambda location, base, stop=stop: _Stopping(base / location, stop),
        )
        try:
            _publish(root, bundle)
            finished = True
        except KeyboardInterrupt:
            finished = False
        monkeypatch.undo()
        if first and not finished:
            assert _code(_offer, root) == ("repository-unreachable", 30)
        else:
            seen.add(_offer(root).version)
            assert _unpack(root, out=f"device{stop}")["digest"]
        if finished:
            break
        _publish(root, bundle)
        assert _offer(root).version == "1.1.0"
    assert finished
    assert seen == ({"1.1.0"} if first else {"1.0.0", "1.1.0"})


@pytest.mark.parametrize("role", ["timestamp", "targets"])
def test_a_rotation_stopped_at_any_write_leaves_what_was_served(root, role):
    shutil.copy(root / "keys" / "root.json", root / "first.json")
    _publish(root, _bundle(root))
    shutil.copytree(root / "repo", root / "before")
    rotate_keys(root / "keys", role)
    keys = load_keys(root / "keys")
    for stop in range(10):
        shutil.rmtree(root / "repo")
        shutil.copytree(root / "before", root / "repo")
        shutil.rmtree(root / "state", ignore_errors=True)
        try:
            renew(_Stopping(root / "repo", stop), keys)
            finished = True
        except KeyboardInterrupt:
            finished = False
        assert _offer(root, anchor="first.json").version == "1.0.0"
        if finished:
            break
    assert finished
    # Three roles and the root; with a new key for targets its releases are signed again too.
    assert stop == (5 if role == "targets" else 4)


# Stores and versions.


def test_store_of_another_kind_is_a_plugin(tmp_path):
    with pytest.raises(EdgeopsError) as caught:
        open_store("gs://bucket/models", tmp_path)
    assert caught.value.code == "store-unknown"
    assert caught.value.exit_code == 4
    assert "folder" in caught.value.why


def test_store_of_a_file_url_is_the_folder(tmp_path):
    open_store(f"file://{tmp_path}/repo", Path("/nowhere")).put("a/b", b"data")
    assert (tmp_path / "repo" / "a" / "b").read_bytes() == b"data"


def test_repository_is_told_from_a_bundle(root):
    bundle = _bundle(root)
    assert not is_repository(str(bundle), root)
    assert not is_repository("repo", root)
    _publish(root, bundle)
    assert is_repository("repo", root)


def test_store_reports_a_missing_file_as_transport(tmp_path):
    with pytest.raises(TransportError) as caught:
        FolderStore(tmp_path).get("nowhere")
    assert caught.value.code == "store-missing"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1.0.0", "1.0.1"),
        ("1.9.0", "1.10.0"),
        ("1", "1.0.1"),
        ("1.0.0-alpha", "1.0.0"),
        ("1.0.0-alpha", "1.0.0-alpha.1"),
        ("1.0.0-alpha.1", "1.0.0-alpha.beta"),
        ("1.0.0-2", "1.0.0-11"),
    ],
)
def test_versions_are_ordered_as_semver_says(first, second):
    assert older(first, second)
    assert not older(second, first)


@pytest.mark.parametrize(
    ("first", "second"), [("1.0", "1.0.0"), ("1.0.0+a", "1.0.0+b"), ("may", "june"), ("1", "x")]
)
def test_versions_that_have_no_order_are_not_older(first, second):
    assert not older(first, second)
    assert not older(second, first)
