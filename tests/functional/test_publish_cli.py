"""publish, keys rotate and unpack from a repository through the command line."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.runtime import Predictor
from tests.unit._agent_server import serving
from tests.unit._bundles import make_bundle


def _masked(text):
    """Return an error without what differs with the versions of the libraries that wrote a file."""
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "<hex>", text)
    return re.sub(r"\b\d{4,6}\b", "<count>", text)


@pytest.fixture
def run(capsys):
    def runner(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return runner


@pytest.fixture
def run_json(run):
    def runner(*arguments):
        code, out, _ = run(*arguments, "--json")
        return code, json.loads(out)

    return runner


@pytest.fixture
def place(tmp_path, run):
    assert run("-C", tmp_path, "keys", "init", "keys")[0] == 0
    make_bundle(tmp_path, key=tmp_path / "keys").rename(tmp_path / "t.edgeops")
    return tmp_path


_PUBLISH = ("publish", "t.edgeops", "--to", "repo", "--channel", "beta", "--key", "keys")
_DEVICE = ("unpack", "repo", "--channel", "beta", "--root", "keys/root.json", "-o", "device")


def test_from_bundle_to_a_prediction_on_a_device(place, run_json):
    code, published = run_json("-C", place, *_PUBLISH)
    assert code == 0
    assert published["release"] == "releases/tiny/1.0.0.json"
    assert published["channel"] == "beta"
    assert published["bytes_uploaded"] > 0
    assert published["deltas"] == []
    code, result = run_json("-C", place, *_DEVICE, "--target", "gateway")
    assert code == 0
    assert result["digest"] == published["digest"]
    answer = Predictor(place / "device").predict({"x": np.zeros((1, 4), np.float32)})
    assert answer["probabilities"].shape == (1, 3)


def test_publish_shows_what_it_did(place, run):
    code, out, _ = run("-C", place, *_PUBLISH)
    assert code == 0
    assert out.startswith("tiny 1.0.0 is on the channel beta of repo\n")
    code, out, _ = run("-C", place, *_DEVICE)
    assert code == 0
    assert "from the channel beta, verified: 13 requests" in out


def test_publish_says_that_it_uploads_what_it_uploads(place, run):
    _, _, err = run("-C", place, *_PUBLISH)
    assert re.search(r"^uploading blobs \(\d+\)$", err, re.MULTILINE)
    assert "making deltas" not in err
    _, _, err = run("-C", place, *_PUBLISH)
    assert re.search(r"^comparing blobs with the repository \(\d+\)$", err, re.MULTILINE)
    assert "uploading" not in err


def test_unpack_names_the_channels_of_a_server(place, run_json):
    run_json("-C", place, *_PUBLISH)
    run_json("-C", place, *_PUBLISH[:5], "stable", *_PUBLISH[6:])
    with serving(place / "repo") as (url, _):
        code, result = run_json("-C", place, "unpack", url, "-o", "device")
    assert (code, result["error"]["code"]) == (2, "unpack-usage")
    assert result["error"]["why"].endswith("its channels are: beta, stable")
    assert result["error"]["fix"] == "add --channel CHANNEL --root ROOT.JSON"
    (place / "repo" / "metadata" / "timestamp.json").write_text("[" * 100_000)
    code, result = run_json("-C", place, "unpack", "repo", "-o", "device")
    assert (code, "its channels" in result["error"]["why"]) == (2, False)


def test_rotation_reaches_a_device(place, run_json):
    shutil.copy(place / "keys" / "root.json", place / "first.json")
    run_json("-C", place, *_PUBLISH)
    code, result = run_json("-C", place, "keys", "rotate", "keys", "--role", "root", "--to", "repo")
    assert code == 0
    assert result["version"] == 2
    device = [item.replace("keys/root.json", "first.json") for item in _DEVICE]
    assert run_json("-C", place, *device)[0] == 0


def _failing(place):
    make_bundle(place / "f", value=0.5).replace(place / "t.edgeops")


def _no_gates(place):
    make_bundle(place / "f", measured=False).replace(place / "t.edgeops")


def _published_other(place):
    main(["-C", str(place), *_PUBLISH])
    make_bundle(place / "o", seed=4).replace(place / "t.edgeops")


def _published_newer(place):
    bundle = (place / "t.edgeops").read_bytes()
    make_bundle(place / "o", version="2.0.0").replace(place / "t.edgeops")
    main(["-C", str(place), *_PUBLISH])
    (place / "t.edgeops").write_bytes(bundle)


def _published(place):
    main(["-C", str(place), *_PUBLISH])


def _rolled_back(place):
    _published(place)
    shutil.copytree(place / "repo", place / "old")
    make_bundle(place / "o", version="2.0.0").replace(place / "t.edgeops")
    _published(place)
    main(["-C", str(place), *_DEVICE])
    shutil.rmtree(place / "repo")
    (place / "old").rename(place / "repo")


def _tampered(place):
    _published(place)
    for path in (place / "repo" / "targets" / "channels").iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.0.0", b"6.6.6"))


_ERRORS = {
    "publish-gate-failed": (11, _failing, _PUBLISH),
    "publish-no-gates": (12, _no_gates, _PUBLISH),
    "publish-no-keys": (4, None, (*_PUBLISH[:-1], "nowhere")),
    "publish-exists": (3, _published_other, _PUBLISH),
    "publish-backwards": (3, _published_newer, _PUBLISH),
    "publish-store": (4, None, ("publish", "t.edgeops", "--to", "gs://b", *_PUBLISH[4:])),
    "publish-no-bundle": (3, None, ("publish", "nowhere.edgeops", *_PUBLISH[2:])),
    "unpack-no-root": (2, _published, ("unpack", "repo", "-o", "device")),
    "unpack-no-root-alone": (2, _published, _DEVICE[:4] + _DEVICE[6:]),
    "unpack-nearly": (3, _published, ("unpack", "repos", "-o", "device")),
    "unpack-nearly-channel": (3, _published, ("unpack", "repos", *_DEVICE[2:])),
    "unpack-nowhere": (3, _published, ("unpack", "nothere", "-o", "device")),
    "unpack-folder": (3, _published, ("unpack", "keys", "-o", "device")),
    "unpack-no-channel": (3, _published, [*_DEVICE[:3], "stable", *_DEVICE[4:]]),
    "unpack-rolled-back": (20, _rolled_back, _DEVICE),
    "unpack-tampered": (20, _tampered, _DEVICE),
}


@pytest.mark.parametrize("case", _ERRORS)
def test_error_text(place, run, golden, case):
    expected, prepare, arguments = _ERRORS[case]
    if prepare:
        prepare(place)
    code, _, err = run("-C", place, *arguments)
    assert code == expected
    error = err[err.index("error:") :]
    golden(f"errors/{case}.txt", _masked(error))


def test_accept_publishes_what_did_not_pass(place, run_json):
    _failing(place)
    code, result = run_json("-C", place, *_PUBLISH)
    assert code == 11
    assert result["gates"][0]["verdict"] == "fail"
    code, result = run_json("-C", place, *_PUBLISH, "--accept", "agreed by phone")
    assert (code, result["accepted"]) == (0, "agreed by phone")


def test_rollback_is_said(place, run_json):
    _published_newer(place)
    assert run_json("-C", place, *_PUBLISH, "--rollback")[0] == 0
    assert run_json("-C", place, *_DEVICE)[1]["version"] == "1.0.0"


def test_a_refused_device_keeps_what_it_had(place, run_json):
    _rolled_back(place)
    assert Predictor(place / "device").version == "2.0.0"
    assert run_json("-C", place, *_DEVICE)[0] == 20
    assert Predictor(place / "device").version == "2.0.0"


def _tried(place):
    """Publish 1.0.0 to all and 2.0.0 to some devices of the channel beta."""
    _published(place)
    make_bundle(place / "o", version="2.0.0", seed=2, key=place / "keys").replace(
        place / "t.edgeops"
    )
    main(["-C", str(place), *_PUBLISH, "--share", "0.1", "--cohort", "region=eu"])


_KEYED = ("--to", "repo", "--key", "keys")


def test_a_release_is_tried_promoted_and_withdrawn(place, run, run_json):
    _tried(place)
    code, result = run_json("-C", place, "promote", *_KEYED, "--channel", "beta", "--share", "0.5")
    assert code == 0
    assert result["version"] == "2.0.0"
    assert result["offer"]["share"] == 0.5
    assert result["offer"]["cohort"] == {"region": ["eu"]}
    assert run_json("-C", place, *_DEVICE)[1]["version"] == "1.0.0"
    promote = ("promote", *_KEYED, "--channel", "beta", "--share", "1", "--cohort", "any")
    assert run_json("-C", place, *promote)[1]["changed"] is True
    assert run_json("-C", place, *promote)[1]["changed"] is False
    assert run_json("-C", place, *_DEVICE)[1]["version"] == "2.0.0"
    code, result = run_json(
        "-C", place, "promote", *_KEYED, "--from", "beta", "--into", "stable", "--expires", "30d"
    )
    assert (code, result["channel"], result["from"]) == (0, "stable", "beta")
    code, out, _ = run("-C", place, "withdraw", "2.0.0", *_KEYED, "--reason", "wrong labels")
    assert code == 0
    assert out.splitlines() == [
        "tiny 2.0.0 is withdrawn from repo: wrong labels",
        "  beta offers 1.0.0",
        "  stable offers nothing: devices keep what they have",
    ]
    assert run_json("-C", place, *_DEVICE)[1]["version"] == "1.0.0"
    code, result = run_json("-C", place, *_PUBLISH)
    assert (code, result["error"]["code"]) == (3, "release-withdrawn")
    assert run_json("-C", place, *_PUBLISH, "--reinstate")[0] == 0


def test_promote_and_publish_say_for_whom_a_release_is(place, run):
    _tried(place)
    _, out, _ = run("-C", place, "promote", *_KEYED, "--channel", "beta", "--share", "0.25")
    assert "offered to 0.25 of the devices with region = eu" in out
    code, out, _ = run(
        "-C", place, *_PUBLISH, "--minimum-runtime", "0.3", "--cohort", "memory_mb>=512"
    )
    assert code == 0
    assert "memory_mb >= 512, with edgeops 0.3 or newer" in out


def test_renew_needs_the_key_of_the_timestamp_alone(place, run_json):
    _published(place)
    for name in ("targets.pem", "snapshot.pem"):
        (place / "keys" / name).unlink()
    shutil.rmtree(place / "keys" / "offline")
    code, result = run_json("-C", place, "renew", *_KEYED)
    assert (code, result["renewed"], result["bytes_uploaded"]) == (0, [], 0)
    assert run_json("-C", place, "renew", "--to", "nowhere", "--key", "keys")[0] == 3


def test_a_misspelt_repository_is_found_before_a_key_is_replaced(place, run, run_json):
    before = (place / "keys" / "root.json").read_bytes()
    rotate = ("keys", "rotate", "keys", "--role", "timestamp", "--to", "nowhere")
    code, result = run_json("-C", place, *rotate)
    assert (code, result["error"]["code"]) == (3, "repository-empty")
    assert not (place / "nowhere").exists()
    assert (place / "keys" / "root.json").read_bytes() == before


def test_keys_init_shows_how_many_root_keys_must_sign(place, run):
    code, out, _ = run("-C", place, "keys", "init", "k", "--root-keys", "3", "--threshold", "2")
    assert code == 0
    assert "threshold 2 of 3" in out


def test_holders_of_root_keys_sign_one_after_another(place, run, run_json):
    keys = ("keys", "init", "three", "--root-keys", "3", "--threshold", "2")
    code, result = run_json("-C", place, *keys)
    assert (code, len(result["offline"]), result["threshold"]) == (0, 3, 2)
    (place / "three" / "offline").rename(place / "safe")
    first, second = place / "safe" / "root-1.pem", place / "safe" / "root-2.pem"
    rotate = ("keys", "rotate", "three", "--role", "timestamp", "--with", first)
    code, out, _ = run("-C", place, *rotate)
    assert code == 0
    assert "1 of 2 signatures of the old root keys" in out
    code, result = run_json("-C", place, "keys", "sign", "three", "--with", second)
    assert (code, result["complete"], result["version"]) == (0, True, 2)
    assert (result["threshold"], result["root_keys"]) == (2, 3)
