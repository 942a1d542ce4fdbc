"""Keys: made once, never overwritten, rotated without losing those who trust them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime

import pytest

from edgeops.errors import EdgeopsError
from edgeops.publish import keys as module
from edgeops.publish.keys import (
    LIFETIME,
    ROLES,
    init_keys,
    load_keys,
    parse_root,
    rotate_keys,
    sign_root,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, int(caught.value.exit_code)


def test_init_writes_four_private_keys_a_root_and_the_release_key(tmp_path):
    result = init_keys(tmp_path / "keys", now=NOW)
    names = sorted(path.name for path in (tmp_path / "keys").rglob("*") if path.is_file())
    assert names == [
        "1.root.json",
        "release.pub",
        "root-1.pem",
        "root.json",
        "snapshot.pem",
        "targets.pem",
        "timestamp.pem",
    ]
    assert result["root"] == str(tmp_path / "keys" / "root.json")
    assert result["public"] == str(tmp_path / "keys" / "release.pub")
    assert result["expires"] == "2028-01-01T00:00:00+00:00"
    for path in (tmp_path / "keys").rglob("*.pem"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert result["offline"] == [str(tmp_path / "keys" / "offline" / "root-1.pem")]
    assert (tmp_path / "keys" / "offline").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_init_never_overwrites(tmp_path):
    init_keys(tmp_path / "keys")
    before = (tmp_path / "keys" / "root.json").read_bytes()
    assert _code(init_keys, tmp_path / "keys") == ("keys-exist", 3)
    assert (tmp_path / "keys" / "root.json").read_bytes() == before


def test_init_never_takes_the_place_of_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    assert _code(init_keys, tmp_path / "file") == ("keys-exist", 3)
    assert _code(init_keys, tmp_path / "file" / "keys") == ("folder-is-file", 3)
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_init_takes_an_empty_folder(tmp_path):
    (tmp_path / "keys").mkdir()
    init_keys(tmp_path / "keys")
    assert load_keys(tmp_path / "keys").root.signed.version == 1


def test_every_key_is_another_one(tmp_path):
    init_keys(tmp_path / "keys")
    roles = json.loads((tmp_path / "keys" / "root.json").read_bytes())["signed"]["roles"]
    assert len({role["keyids"][0] for role in roles.values()}) == 4


def test_a_passphrase_encrypts_the_keys(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEOPS_KEY_PASSPHRASE", "correct horse")
    assert init_keys(tmp_path / "keys")["encrypted"] is True
    assert b"ENCRYPTED" in (tmp_path / "keys" / "targets.pem").read_bytes()
    assert load_keys(tmp_path / "keys").release_keyid
    monkeypatch.setenv("EDGEOPS_KEY_PASSPHRASE", "wrong")
    assert _code(load_keys, tmp_path / "keys") == ("key-passphrase", 3)
    monkeypatch.delenv("EDGEOPS_KEY_PASSPHRASE")
    assert _code(load_keys, tmp_path / "keys") == ("key-locked", 4)


def test_missing_keys_say_how_to_make_them(tmp_path):
    with pytest.raises(EdgeopsError) as caught:
        load_keys(tmp_path / "nowhere")
    assert caught.value.code == "keys-missing"
    assert caught.value.exit_code == 4
    assert "edgeops keys init" in caught.value.fix


def test_publishing_does_not_need_the_root_key(tmp_path):
    init_keys(tmp_path / "keys")
    shutil.rmtree(tmp_path / "keys" / "offline")
    assert set(load_keys(tmp_path / "keys").signers) == {"targets", "snapshot", "timestamp"}
    assert _code(rotate_keys, tmp_path / "keys", "timestamp") == ("keys-missing", 4)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_is_refused(tmp_path, content):
    init_keys(tmp_path / "keys")
    (tmp_path / "keys" / "snapshot.pem").write_bytes(content)
    assert _code(load_keys, tmp_path / "keys") == ("key-malformed", 3)


def test_the_key_of_another_folder_is_refused(tmp_path):
    init_keys(tmp_path / "keys")
    init_keys(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "targets.pem", tmp_path / "keys" / "targets.pem")
    assert _code(load_keys, tmp_path / "keys") == ("key-foreign", 20)


@pytest.mark.parametrize("change", ["cut", "edit", "empty", "list"])
def test_a_damaged_root_is_refused(tmp_path, change):
    init_keys(tmp_path / "keys")
    data = (tmp_path / "keys" / "root.json").read_bytes()
    changed = {
        "cut": data[:200],
        "edit": data.replace(b'"version":1', b'"version":2').replace(
            b'"version": 1', b'"version": 2'
        ),
        "empty": b"",
        "list": b"[]",
    }[change]
    assert changed != data
    assert _code(parse_root, changed, "root.json") == ("root-malformed", 20)


@pytest.mark.parametrize("role", ROLES)
def test_rotation_makes_the_next_root_signed_by_the_old_one(tmp_path, role):
    init_keys(tmp_path / "keys", now=NOW)
    before = load_keys(tmp_path / "keys", roles=ROLES)
    public = (tmp_path / "keys" / "release.pub").read_bytes()
    result = rotate_keys(tmp_path / "keys", role, now=NOW)
    after = load_keys(tmp_path / "keys", roles=ROLES)
    assert result["version"] == 2
    assert sorted(after.roots) == [1, 2]
    before.root.verify_delegate("root", after.root)
    changed = [
        name
        for name in ROLES
        if before.signers[name][0].public_key.keyid != after.signers[name][0].public_key.keyid
    ]
    assert changed == [role]
    # The replaced root key signs nothing more; that of another role signs along for a while.
    assert len(after.signers[role]) == (1 if role == "root" else 2)
    assert result["complete"] is True
    assert result["pending"] is None
    assert ((tmp_path / "keys" / "release.pub").read_bytes() != public) == (role == "targets")


def test_rotation_of_an_unknown_role_is_refused(tmp_path):
    init_keys(tmp_path / "keys")
    assert _code(rotate_keys, tmp_path / "keys", "release") == ("role-unknown", 3)


@pytest.mark.parametrize("steps", range(6))
def test_rotation_stopped_anywhere_leaves_usable_keys(tmp_path, monkeypatch, steps):
    init_keys(tmp_path / "keys")
    done = []

    def stop_at(function):
        def stopping(*arguments):
            if len(done) == steps:
                raise KeyboardInterrupt
            done.append(function.__name__)
            return function(*arguments)

        return stopping

    for name in ("write_private", "write_public", "write_root", "write_atomic"):
        monkeypatch.setattr(module, name, stop_at(getattr(module, name)))
    monkeypatch.setattr(module.Path, "replace", stop_at(module.Path.replace), raising=True)
    with pytest.raises(KeyboardInterrupt):
        rotate_keys(tmp_path / "keys", "targets")
    monkeypatch.undo()
    keys = load_keys(tmp_path / "keys")
    assert keys.root.signed.version in (1, 2)
    assert keys.release_keyid in keys.root.signed.roles["targets"].keyids
    # What was begun can be finished, or another rotation made.
    if (tmp_path / "keys" / "pending.root.json").exists():
        assert sign_root(tmp_path / "keys")["complete"] is True
    else:
        rotate_keys(tmp_path / "keys", "targets")
    keys = load_keys(tmp_path / "keys", roles=ROLES)
    assert keys.release_keyid in keys.root.signed.roles["targets"].keyids


def test_lifetimes_are_as_documented():
    assert {role: life.days for role, life in LIFETIME.items()} == {
        "root": 730,
        "targets": 365,
        "releases": 365,
        "snapshot": 90,
        "timestamp": 30,
    }


# Several root keys, several holders.


@pytest.fixture
def three(tmp_path):
    """Keys with a threshold of two of three, each root key with a holder of its own."""
    init_keys(tmp_path / "keys", root_keys=3, threshold=2, now=NOW)
    for number in (1, 2, 3):
        (tmp_path / f"holder{number}").mkdir()
        (tmp_path / "keys" / "offline" / f"root-{number}.pem").rename(
            tmp_path / f"holder{number}" / f"root-{number}.pem"
        )
    return tmp_path


def test_init_makes_as_many_root_keys_as_are_asked_for(tmp_path):
    result = init_keys(tmp_path / "keys", root_keys=3, threshold=2)
    assert len(result["offline"]) == 3
    root = parse_root((tmp_path / "keys" / "root.json").read_bytes(), "root.json")
    assert len(root.signatures) == 3
    assert root.signed.roles["root"].threshold == 2


@pytest.mark.parametrize(("keys", "threshold"), [(1, 2), (0, 0), (3, 0), (17, 1)])
def test_a_threshold_that_cannot_be_met_is_refused(tmp_path, keys, threshold):
    found = _code(init_keys, tmp_path / "keys", root_keys=keys, threshold=threshold)
    assert found == ("threshold-invalid", 3)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("role", ROLES)
def test_holders_of_root_keys_sign_one_after_another(three, role):
    keys = three / "keys"
    before = (keys / "root.json").read_bytes()
    old = load_keys(keys, roles=()).root
    replaced = old.signed.roles["root"].keyids[2] if role == "root" else None
    begun = rotate_keys(keys, role, replaced=replaced, others=[three / "holder1"], now=NOW)
    assert begun["complete"] is False
    assert begun["signatures"]["old"] == {"have": 1, "need": 2}
    assert (keys / "root.json").read_bytes() == before
    assert _code(rotate_keys, keys, "snapshot", others=[three / "holder1"]) == (
        "rotation-pending",
        3,
    )
    load_keys(keys)  # publishing goes on with the old keys meanwhile
    # The second holder is sent the file, signs it where the key is, and sends it back.
    shutil.copy(keys / "pending.root.json", three / "sent.json")
    told = sign_root(three / "sent.json", [three / "holder2" / "root-2.pem"])
    assert told["keys"][role] != old.signed.roles[role].keyids
    assert (told["threshold"], told["signatures"]) == (2, 3 if role == "root" else 2)
    shutil.copy(three / "sent.json", keys / "pending.root.json")
    done = sign_root(keys)
    assert done["complete"] is True
    assert not (keys / "pending.root.json").exists()
    new = load_keys(keys, roles=("targets", "snapshot", "timestamp")).root
    assert new.signed.version == 2
    old.verify_delegate("root", new)
    new.verify_delegate("root", new)
    assert (old.signed.roles[role].keyids == new.signed.roles[role].keyids) is False


def test_a_stranger_s_signature_does_not_count_and_is_dropped(three):
    init_keys(three / "stranger")
    keys = three / "keys"
    rotate_keys(keys, "timestamp", others=[three / "holder1"])
    strange = three / "stranger" / "offline"
    shutil.copy(keys / "pending.root.json", three / "sent.json")
    sign_root(three / "sent.json", [strange])
    shutil.copy(three / "sent.json", keys / "pending.root.json")
    result = sign_root(keys)
    assert result["complete"] is False
    assert result["signatures"]["old"] == {"have": 1, "need": 2}
    assert sign_root(keys, [strange, three / "holder3"])["complete"] is True
    assert len(load_keys(keys).root.signatures) == 2


def test_a_key_that_was_replaced_is_refused_when_it_alone_is_to_sign(three):
    keys = three / "keys"
    for number in (1, 2, 3):
        shutil.copytree(three / f"holder{number}", keys / "offline", dirs_exist_ok=True)
    rotate_keys(keys, "root", replaced="root-2")
    for number in (2, 3, 4):
        (keys / "offline" / f"root-{number}.pem").rename(three / f"root-{number}.pem")
    assert rotate_keys(keys, "snapshot")["complete"] is False
    before = (keys / "pending.root.json").read_bytes()
    with pytest.raises(EdgeopsError) as caught:
        sign_root(keys, [three / "root-2.pem"])
    assert (caught.value.code, int(caught.value.exit_code)) == ("key-foreign", 20)
    assert caught.value.what == "root-2.pem cannot sign this root"
    assert (keys / "pending.root.json").read_bytes() == before
    assert sign_root(keys, [three / "root-2.pem", three / "root-4.pem"])["complete"] is True


def test_a_rotation_ends_where_a_stranger_signed_too(three):
    init_keys(three / "stranger")
    keys = three / "keys"
    others = [three / "stranger" / "offline", three / "holder1", three / "holder2"]
    assert rotate_keys(keys, "timestamp", others=others)["complete"] is True
    assert not (keys / "pending.root.json").exists()
    assert rotate_keys(keys, "timestamp", others=others[1:])["version"] == 3


def test_a_root_that_is_not_the_next_one_is_no_pending_one(three):
    keys = three / "keys"
    holders = [three / "holder1", three / "holder2"]
    rotate_keys(keys, "timestamp", others=holders[:1])
    shutil.copy(keys / "pending.root.json", three / "sent.json")
    sign_root(keys, holders[1:])
    shutil.copy(three / "sent.json", keys / "pending.root.json")  # comes back too late
    assert _code(sign_root, keys, holders) == ("rotation-none", 3)
    assert rotate_keys(keys, "snapshot", others=holders)["complete"] is True
    rotate_keys(keys, "snapshot", others=holders[:1])
    shutil.copy(keys / "roots" / "1.root.json", keys / "root.json")  # out of an old backup
    assert _code(sign_root, keys, holders) == ("rotation-none", 3)


def test_the_threshold_changes_with_a_rotation(three):
    holders = [three / f"holder{number}" for number in (1, 2, 3)]
    result = rotate_keys(three / "keys", "timestamp", threshold=3, others=holders)
    assert result["complete"] is True
    rotated = rotate_keys(three / "keys", "snapshot", others=holders[:2])
    assert rotated["signatures"] == {
        "old": {"have": 2, "need": 3},
        "new": {"have": 2, "need": 3},
    }


def test_of_several_root_keys_the_replaced_one_must_be_named(three):
    holders = [three / f"holder{number}" for number in (1, 2, 3)]
    keyids = load_keys(three / "keys").root.signed.roles["root"].keyids
    with pytest.raises(EdgeopsError) as caught:
        rotate_keys(three / "keys", "root", others=[holders[0], holders[2]])
    assert (caught.value.code, int(caught.value.exit_code)) == ("root-key-unsaid", 3)
    why = f"{keyids[0][:8]} (root-1), {keyids[1][:8]}, {keyids[2][:8]} (root-3)"
    assert caught.value.why == f"their ids begin with {why}"
    assert caught.value.fix.endswith(f"--replace {keyids[1][:8]}")  # the one that is not here
    for holder in holders:
        for path in holder.iterdir():
            shutil.copy(path, three / "keys" / "offline" / path.name)
    with pytest.raises(EdgeopsError) as caught:
        rotate_keys(three / "keys", "root", replaced="root-9")
    assert caught.value.what == "no key of root can be meant by 'root-9'"
    gone = load_keys(three / "keys", roles=("root",)).signers["root"][1].public_key.keyid
    rotate_keys(three / "keys", "root", replaced="root-2")
    assert gone not in load_keys(three / "keys").root.signed.roles["root"].keyids
    assert (three / "keys" / "offline" / "root-4.pem").is_file()


def test_signing_what_does_not_wait_is_refused(tmp_path):
    init_keys(tmp_path / "keys")
    assert _code(sign_root, tmp_path / "keys") == ("rotation-none", 3)
    (tmp_path / "no.json").write_text("{}")
    assert _code(sign_root, tmp_path / "no.json") == ("rotation-none", 3)
    assert _code(rotate_keys, tmp_path / "keys", "root", others=[tmp_path / "gone.pem"]) == (
        "keys-missing",
        4,
    )


def test_keys_of_an_older_edgeops_have_their_root_key_at_the_top(tmp_path):
    init_keys(tmp_path / "keys")
    (tmp_path / "keys" / "offline" / "root-1.pem").rename(tmp_path / "keys" / "root.pem")
    (tmp_path / "keys" / "offline").rmdir()
    assert rotate_keys(tmp_path / "keys", "timestamp")["complete"] is True
    assert rotate_keys(tmp_path / "keys", "root")["complete"] is True
    assert rotate_keys(tmp_path / "keys", "snapshot")["version"] == 4
