"""Keys: made once, never overwritten, rotated without losing those who trust them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime

import pytest

from edgeops.errors import EdgeopsError
from edgeops.publish import keys as module
from edgeops.publish.keys import LIFETIME, ROLES, init_keys, load_keys, parse_root, rotate_keys

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
        "root.json",
        "root.pem",
        "snapshot.pem",
        "targets.pem",
        "timestamp.pem",
    ]
    assert result["root"] == str(tmp_path / "keys" / "root.json")
    assert result["public"] == str(tmp_path / "keys" / "release.pub")
    assert result["expires"] == "2028-01-01T00:00:00+00:00"
    for role in ROLES:
        assert (tmp_path / "keys" / f"{role}.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_init_never_overwrites(tmp_path):
    init_keys(tmp_path / "keys")
    before = (tmp_path / "keys" / "root.json").read_bytes()
    assert _code(init_keys, tmp_path / "keys") == ("keys-exist", 3)
    assert (tmp_path / "keys" / "root.json").read_bytes() == before


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
    (tmp_path / "keys" / "root.pem").unlink()
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
    assert len(after.signers[role]) == 2
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

    for name in ("_write_private", "_write_public", "write_atomic"):
        monkeypatch.setattr(module, name, stop_at(getattr(module, name)))
    monkeypatch.setattr(module.Path, "replace", stop_at(module.Path.replace), raising=True)
    with pytest.raises(KeyboardInterrupt):
        rotate_keys(tmp_path / "keys", "targets")
    monkeypatch.undo()
    keys = load_keys(tmp_path / "keys")
    assert keys.root.signed.version in (1, 2)
    assert keys.release_keyid in keys.root.signed.roles["targets"].keyids


def test_lifetimes_are_as_documented():
    assert {role: life.days for role, life in LIFETIME.items()} == {
        "root": 730,
        "targets": 365,
        "snapshot": 90,
        "timestamp": 30,
    }
