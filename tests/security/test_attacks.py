"""The ten attacks of the TUF specification, really made, and the client cases of its conformance suite.

In each the device refuses with the code of the attack, serves what it served, and takes the next good
release. Where an attack needs stolen keys, they are the world's own.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.security._device import Device, devices
from tests.security._world import (
    NOW,
    blob_path,
    channel_file,
    expired,
    forge,
    layer_of,
    load,
    metadata_path,
    new_signer,
    next_root,
)

FAR = 2**31 - 1


@pytest.fixture(scope="module")
def templates(world, fast_folder):
    return devices(world, fast_folder / "attacked")


@pytest.fixture
def device(templates, fast_folder):
    """A device that has the first release."""
    return templates["first"].copy_to(fast_folder / "attacked" / "one")


@pytest.fixture
def second(templates, fast_folder):
    """A device that has the second release."""
    return templates["second"].copy_to(fast_folder / "attacked" / "two")


@pytest.fixture
def refuses(world):
    def check(device, files, code):
        before = device.serving()
        assert device.update(files) == code
        assert device.serving() == before
        assert device.update(_renewed(world)) == "updated"
        assert device.serving() == "1.2.0"

    return check


def _renewed(world):
    """Return the third release as the publisher signs it later, after whatever a thief signed."""
    later = dict.fromkeys(("targets", "snapshot", "timestamp"), _ten_more)
    return forge(world.states[2], world.signers, later)


def _ten_more(signed):
    signed.version += 10


def _rotated(world, files, *roles, threshold=1):
    """Return the repository with the next root, in which the roles have new keys, and the signers."""
    new = {role: new_signer() for role in roles}

    def change(signed):
        for role, signer in new.items():
            for keyid in list(signed.roles[role].keyids):
                signed.revoke_key(keyid, role)
            signed.add_key(signer.public_key, role)
            signed.roles[role].threshold = threshold

    signers = [world.signers["root"], *([new["root"]] if "root" in new else [])]
    return next_root(world, files, change, *signers), {**world.signers, **new}


def _replaced(files, path, data):
    return {**files, path: data}


def _blob(files):
    """Return where the model of the channel's newest offer lies."""
    offer = json.loads(files[channel_file(files)])["offers"][0]
    manifest = json.loads(files[blob_path(offer["digest"])])
    return blob_path(layer_of(manifest, "model.onnx")["digest"])


def _whole(files):
    """Return the repository without its deltas: devices fetch models whole."""
    offer = json.loads(files[channel_file(files)])["offers"][0]
    return {
        path: data for path, data in files.items() if path != blob_path(offer["deltas"]["digest"])
    }


# --- arbitrary installation


def test_arbitrary_software_with_keys_of_their_own(world, device, refuses):
    channel = world.foreign[channel_file(world.foreign)]
    files = {**world.foreign, **world.states[1]}
    refuses(
        device,
        forge(files, world.wrong, {}, targets={"channels/stable.json": channel}),
        "metadata-unsigned",
    )


def test_arbitrary_model_under_the_name_of_a_good_one(world, device, refuses):
    files = _whole(world.states[1])
    path = _blob(files)
    refuses(device, _replaced(files, path, files[path][::-1]), "digest-mismatch")


# --- endless data


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_endless_metadata(world, device, refuses, role):
    path = metadata_path(world.states[1], role)
    files = _replaced(world.states[1], path, world.states[1][path] + b" " * 3_000_000)
    refuses(device, files, "download-endless")


def test_endless_root(world, device, refuses):
    refuses(
        device,
        {**world.states[1], "metadata/2.root.json": b"{" + b" " * 3_000_000},
        "download-endless",
    )


def test_endless_blob(world, device, refuses):
    files = _whole(world.states[1])
    path = _blob(files)
    refuses(device, _replaced(files, path, files[path] + bytes(1_000_000)), "download-endless")


# --- extraneous dependencies


def test_a_file_added_to_a_bundle(world, device, refuses):
    offer = json.loads(world.states[1][channel_file(world.states[1])])["offers"][0]
    path = f"blobs/sha256/{offer['digest'][7:]}"
    manifest = json.loads(world.states[1][path])
    extra = copy.deepcopy(manifest["layers"][0])
    extra["annotations"]["org.cncf.model.filepath"] = "runtime/gateway/evil-1.0-py3-none-any.whl"
    manifest["layers"].append(extra)
    data = json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"
    refuses(device, _replaced(world.states[1], path, data), "download-endless")


def test_files_that_nothing_signed_names_are_not_fetched(world, device):
    extra = {"blobs/sha256/" + "0" * 64: b"evil", "targets/evil.json": b"{}"}
    assert device.update({**world.states[1], **extra}) == "updated"
    names = {path.name for path in (device.home / "blobs" / "sha256").iterdir()}
    assert "0" * 64 not in names


# --- fast-forward


def _forwarded(signed):
    signed.version = FAR


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_fast_forward_without_the_keys(world, device, refuses, role):
    files = forge(world.states[1], world.wrong, {role: _forwarded})
    refuses(device, files, "metadata-unsigned")


@pytest.mark.parametrize(
    ("stolen", "renewed"),
    [
        (["timestamp"], ["timestamp"]),
        (["snapshot"], ["snapshot", "timestamp"]),
        (["targets"], ["targets", "snapshot", "timestamp"]),
    ],
)
def test_fast_forward_with_stolen_keys_ends_when_they_are_replaced(world, device, stolen, renewed):
    changes = dict.fromkeys(stolen, _forwarded)
    device.update(forge(world.states[1], world.signers, changes))
    assert device.serving() == "1.1.0"  # what the publisher offers: no more than that can be forged
    assert device.update(_renewed(world)) == "metadata-rollback"
    files, signers = _rotated(world, world.states[2], *renewed)
    assert device.update(forge(files, signers, {"targets": lambda signed: None})) == "updated"
    assert device.serving() == "1.2.0"


# --- indefinite freeze


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_freeze(world, device, refuses, role):
    # The publisher's own state, which nobody renewed: it is as if no newer one were let through.
    files = forge(world.states[0], world.signers, {role: expired})
    refuses_code = device.update(files)
    assert refuses_code == "metadata-expired"
    assert device.serving() == "1.0.0"
    newest = forge(world.states[2], world.signers, {"targets": lambda signed: None})
    assert device.update(newest) == "updated"


def test_a_frozen_root(world, device):
    files = next_root(world, world.states[1], expired, world.signers["root"])
    assert device.update(files) == "metadata-expired"
    assert device.serving() == "1.0.0"
    again = next_root(
        world, files, lambda signed: setattr(signed, "expires", _later()), world.signers["root"]
    )
    assert device.update(again) == "updated"


# --- malicious mirror


def test_mirror_of_another_publisher(world, device, refuses):
    refuses(device, world.foreign, "metadata-unsigned")


@pytest.mark.parametrize("answer", [b"", b"<html>Sign in to this network</html>", b"\x00" * 5000])
def test_mirror_that_serves_something_else(world, device, refuses, answer):
    files = {**dict.fromkeys(world.states[1], answer), "metadata/2.root.json": answer}
    refuses(device, files, "metadata-tampered")


def test_mirror_that_has_nothing(world, device, refuses):
    refuses(device, {"index.html": b"it works"}, "repository-unreachable")


def test_mirror_that_leaves_blobs_out(world, device, refuses):
    files = {path: data for path, data in world.states[1].items() if not path.startswith("blobs/")}
    refuses(device, files, "store-missing")


# --- mix and match


def test_old_targets_with_a_new_snapshot_and_stolen_keys(world, second, refuses):
    old = load(world.states[0], "targets").signed.version

    def point_back(signed):
        signed.meta["targets.json"].version = old
        signed.meta["targets.json"].hashes = None
        signed.meta["targets.json"].length = None

    files = forge(world.states[1], world.signers, {"snapshot": point_back})
    refuses(second, files, "metadata-rollback")


def test_old_snapshot_with_a_new_timestamp_and_a_stolen_key(world, second, refuses):
    old = load(world.states[0], "snapshot").signed.version

    def point_back(signed):
        signed.snapshot_meta.version = old
        signed.snapshot_meta.hashes = None
        signed.snapshot_meta.length = None

    files = forge(world.states[1], world.signers, {"timestamp": point_back})
    refuses(second, {**world.states[0], **files}, "metadata-rollback")


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_old_metadata_under_the_name_of_the_new(world, device, refuses, role):
    old, new = (metadata_path(state, role) for state in world.states[:2])
    files = _replaced(world.states[1], new, world.states[0][old])
    assert device.update(files) in {
        "metadata-tampered",
        "metadata-rollback",
        "repository-unreachable",
    }
    refuses(device, files, device.update(files))


def test_an_old_channel_under_the_name_of_the_new(world, device, refuses):
    old, new = (channel_file(state) for state in world.states[:2])
    data = world.states[0][old]
    refuses(device, _replaced(world.states[1], new, data), "metadata-tampered")


# --- rollback


def test_rollback_of_everything(world, second, refuses):
    refuses(second, world.states[0], "metadata-rollback")


def test_rollback_of_the_timestamp_alone(world, second, refuses):
    path = "metadata/timestamp.json"
    files = _replaced(world.states[1], path, world.states[0][path])
    refuses(second, files, "metadata-rollback")


# --- key compromise


def test_stolen_online_keys_work_until_they_are_replaced(world, device):
    """What no device can see: all online keys are stolen. Replacing them ends it."""
    channel = json.loads(world.states[1][channel_file(world.states[1])])
    channel["offers"] = json.loads(world.states[0][channel_file(world.states[0])])["offers"]
    data = json.dumps(channel, indent=2, sort_keys=True).encode() + b"\n"
    stolen = forge(world.states[1], world.signers, {}, targets={"channels/stable.json": data})
    assert device.update(stolen) == "current"  # held on the first release, as the thief wants
    files, signers = _rotated(world, world.states[2], "targets", "snapshot", "timestamp")
    good = forge(files, signers, {"targets": lambda signed: None})
    good = forge(good, signers, {"targets": lambda signed: None})
    assert device.update(good) == "updated"
    assert device.serving() == "1.2.0"
    newest = forge(good, world.signers, {}, targets={"channels/stable.json": data})
    assert device.update(newest) == "metadata-unsigned"
    assert device.serving() == "1.2.0"


def test_a_root_key_that_was_replaced_signs_nothing_any_more(world, device):
    files, _ = _rotated(world, world.states[1], "root")
    assert device.update(files) == "updated"
    again = next_root(world, files, lambda signed: None, world.signers["root"])
    assert device.update(again) == "metadata-unsigned"
    assert device.serving() == "1.1.0"


# --- wrong software


def test_the_channel_of_another_project_in_place_of_ones_own(world, device, refuses):
    files = world.states[1]
    other = files[channel_file(files, "others")]
    code = (
        "download-endless" if len(other) > len(files[channel_file(files)]) else "metadata-tampered"
    )
    refuses(device, _replaced(files, channel_file(files), other), code)


def test_a_model_of_another_release(world, device, refuses):
    files = _whole(world.states[1])
    old = world.states[0][_blob(world.states[0])]
    new = _blob(files)
    assert len(old) == len(files[new])
    refuses(device, _replaced(files, new, old), "digest-mismatch")


def test_a_target_that_the_release_does_not_have(world, templates, fast_folder):
    device = templates["nothing"].copy_to(fast_folder / "attacked" / "three")
    assert replace(device, target="phone").update(world.states[1]) == "target-unknown"
    assert device.serving() is None
    assert device.update(world.states[1]) == "updated"


# --- what the conformance suite asks of clients, besides


def _unsigned(files, role):
    path = metadata_path(files, role)
    document = json.loads(files[path])
    document["signatures"] = []
    return _replaced(files, path, json.dumps(document).encode())


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_without_signatures(world, device, refuses, role):
    code = device.update(_unsigned(world.states[1], role))
    assert code in {"metadata-unsigned", "metadata-tampered"}
    refuses(device, _unsigned(world.states[1], role), code)


def test_a_root_that_is_not_signed(world, device, refuses):
    files = next_root(world, world.states[1], lambda signed: None)
    refuses(device, files, "metadata-unsigned")


def test_a_first_root_that_is_not_signed(world, fast_folder):
    document = json.loads(world.root)
    document["signatures"][0]["sig"] = "00" * 64
    device = Device(fast_folder / "attacked" / "unsigned", json.dumps(document).encode())
    assert device.update(world.states[0]) == "root-malformed"
    assert device.serving() is None


@pytest.mark.parametrize("step", [0, 2])
def test_a_root_with_another_version_than_its_name(world, device, refuses, step):
    def change(signed):
        signed.version += step - 1

    name = load(world.states[1], "root").signed.version + 1
    made = next_root(world, world.states[1], change, world.signers["root"])
    data = made[f"metadata/{name - 1 + step}.root.json"]
    refuses(device, {**world.states[1], f"metadata/{name}.root.json": data}, "metadata-rollback")


def test_a_root_that_the_old_key_did_not_sign(world, device, refuses):
    new = new_signer()
    files = next_root(
        world, world.states[1], lambda signed: signed.add_key(new.public_key, "root"), new
    )
    refuses(device, files, "metadata-unsigned")


def test_a_root_that_the_new_keys_did_not_sign(world, device, refuses):
    new = new_signer()

    def change(signed):
        signed.add_key(new.public_key, "root")
        signed.roles["root"].threshold = 2

    files = next_root(world, world.states[1], change, world.signers["root"])
    refuses(device, files, "metadata-unsigned")


def test_a_chain_of_roots_is_followed(world, device):
    files, signers = dict(world.states[1]), world.signers
    root = world.signers["root"]
    for _ in range(5):
        new = new_signer()

        def change(signed, new=new):
            for keyid in list(signed.roles["root"].keyids):
                signed.revoke_key(keyid, "root")
            signed.add_key(new.public_key, "root")

        files = next_root(world, files, change, root, new)
        root = new
    assert device.update(forge(files, signers, {"timestamp": lambda signed: None})) == "updated"
    kept = (device.home / "trust" / "root_history").iterdir()
    assert "6.root.json" in {path.name for path in kept}


def test_a_threshold_that_is_not_met(world, device, refuses):
    files, signers = _rotated(world, world.states[1], "timestamp")

    def two(signed):
        signed.add_key(new_signer().public_key, "timestamp")
        signed.roles["timestamp"].threshold = 2

    files = next_root(world, files, two, world.signers["root"])
    made = forge(files, signers, {"timestamp": lambda signed: None})
    assert device.update(made) == "metadata-unsigned"
    assert device.serving() == "1.0.0"


def test_one_signature_is_not_counted_twice(world, device):
    def two(signed):
        signed.add_key(new_signer().public_key, "timestamp")
        signed.roles["timestamp"].threshold = 2

    files = next_root(world, world.states[1], two, world.signers["root"])
    path = "metadata/timestamp.json"
    document = json.loads(files[path])
    document["signatures"] *= 2
    code = device.update(_replaced(files, path, json.dumps(document).encode()))
    assert code in {"metadata-unsigned", "metadata-tampered"}
    assert device.serving() == "1.0.0"


def test_a_second_signature_that_is_wrong_harms_nothing(world, device):
    path = "metadata/timestamp.json"
    document = json.loads(world.states[1][path])
    document["signatures"].append({"keyid": "ab" * 32, "sig": "00" * 64})
    files = _replaced(world.states[1], path, json.dumps(document).encode())
    assert device.update(files) == "updated"


def test_fields_that_nobody_knows_are_signed_along(world, device):
    def more(signed):
        signed.unrecognized_fields["x-note"] = {"kept": True}

    files = forge(world.states[1], world.signers, {"targets": more, "timestamp": more})
    assert device.update(files) == "updated"


def test_a_timestamp_that_changes_without_a_new_version_is_passed_over(world, device):
    def same(signed):
        signed.version -= 1
        signed.expires = _later()

    files = forge(world.states[0], world.signers, {"timestamp": same})
    assert device.update(files) == "current"


def test_a_snapshot_that_forgets_the_targets(world, device, refuses):
    def forget(signed):
        signed.meta = {"other.json": signed.meta["targets.json"]}

    files = forge(world.states[1], world.signers, {"snapshot": forget})
    code = device.update(files)
    assert code in {"metadata-tampered", "metadata-rollback"}
    assert device.serving() == "1.0.0"


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_metadata_whose_digest_is_another(world, device, refuses, role):
    above = {"snapshot": "timestamp", "targets": "snapshot"}[role]

    def other(signed):
        meta = signed.snapshot_meta if role == "snapshot" else signed.meta["targets.json"]
        meta.hashes = {"sha256": "ab" * 32}

    files = forge(world.states[1], world.signers, {above: other})
    code = device.update(files)
    assert code == "metadata-tampered"
    assert device.serving() == "1.0.0"


def test_a_channel_whose_digest_nobody_can_compute(world, device):
    def odd(signed):
        signed.targets["channels/stable.json"].hashes = {"md99": "ab" * 32}

    files = forge(world.states[1], world.signers, {"targets": odd})
    assert device.update(files) == "metadata-tampered"
    assert device.serving() == "1.0.0"


def test_an_expired_root_and_timestamp_at_home_are_left_behind(world, fast_folder):
    metadata = copy.deepcopy(load(world.states[0], "root"))
    expired(metadata.signed)
    metadata.signatures.clear()
    metadata.sign(world.signers["root"])
    device = Device(fast_folder / "attacked" / "old", metadata.to_bytes())
    files = next_root(
        world,
        world.states[0],
        lambda signed: setattr(signed, "expires", _later()),
        world.signers["root"],
    )
    assert device.update(files) == "updated"
    stale = forge(files, world.signers, {"timestamp": expired})
    assert device.update(stale) == "metadata-expired"
    fresh = forge(stale, world.signers, {"timestamp": lambda signed: None})
    fresh = forge(fresh, world.signers, {"timestamp": lambda s: setattr(s, "expires", _later())})
    assert device.update(fresh) == "current"


def test_a_channel_in_a_delegated_role_is_none(world, device, refuses):
    """Devices read the channels of the top role alone, whatever it delegates."""
    from tuf.api.metadata import DelegatedRole, Delegations

    def delegate(signed):
        signed.targets.pop("channels/stable.json")
        key = new_signer().public_key
        role = DelegatedRole("evil", [key.keyid], 1, terminating=False, paths=["channels/*"])
        signed.delegations = Delegations({key.keyid: key}, {"evil": role})

    files = forge(world.states[1], world.signers, {"targets": delegate})
    assert device.update(files) == "channel-unknown"
    assert device.serving() == "1.0.0"


def _later():
    return (NOW + timedelta(days=300)).replace(microsecond=0)
