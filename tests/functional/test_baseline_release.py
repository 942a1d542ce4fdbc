"""A release that does not answer as its baseline says, from recording to the device that refuses it."""

from __future__ import annotations

import json
import shutil

import pytest

from edgeops.cli import main
from tests.helpers import write_tiny_data
from tests.serving import Running, X
from tests.unit._bundles import make_evidence, make_variant


@pytest.fixture
def run(capsys, tmp_path):
    """Return a function that runs a verb below ``tmp_path`` and returns code and result."""

    def runner(*arguments):
        capsys.readouterr()
        code = main(["-C", str(tmp_path), *map(str, arguments), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return runner


@pytest.fixture
def release(run, tmp_path):
    """Return what packs and publishes a version: its weights, and those its baseline is of."""
    assert run("keys", "init", "keys")[0] == 0
    assert run("keys", "recipient", "device")[0] == 0

    def publish(version, seed, recorded, *more):
        for number in {seed, recorded}:
            folder = tmp_path / f"{number}" / "gateway"
            make_evidence(tmp_path / f"{number}.json", make_variant(folder, seed=number))
        data = tmp_path / "data.npz"
        write_tiny_data(data, tmp_path / f"{recorded}" / "gateway" / "model.onnx")
        told = ("--evaluation", "data.npz", "--samples", 8, "--record", "blessed.zip")
        assert run("validate", f"{recorded}/gateway", *told)[0] == 0
        about = ("--name", "tiny", "--version", version, "--evidence", f"{seed}.json")
        named = ("--baseline", "gateway=blessed.zip", "-o", "t.edgeops", *more)
        code, packed = run("pack", f"{seed}/gateway", *about, *named)
        assert code == 0, packed
        found = [item["path"] for item in packed["layers"] if item["kind"] == "baseline"]
        assert found == ["baseline/gateway.zip"]
        target = ("--to", "repo", "--key", "keys", "--channel", "stable")
        assert run("publish", "t.edgeops", *target)[0] == 0

    return publish


@pytest.mark.parametrize("served", ["here", "child", None])
def test_release_that_answers_otherwise_than_its_baseline_is_refused(
    run, release, tmp_path, served
):
    device = ("agent", "update", "--repo", "repo", "--root", "keys/root.json", "--home", "home")
    release("1.0.0", 0, 0)
    assert run(*device)[1]["outcome"] == "updated"
    home = tmp_path / "home"
    assert (home / "current" / "baseline" / "gateway.zip").is_file()

    def refused():
        release("1.1.0", 1, 0)
        code, result = run(*device)
        assert (code, result["error"]["code"]) == (5, "candidate-refused")
        assert "does not answer as its baseline says: 'probabilities'" in result["error"]["why"]
        again = run(*device)[1]
        assert (again["outcome"], again["current"]["version"]) == ("refused", "1.0.0")

    if served is None:
        refused()
    else:
        with Running(home, isolate=served == "child", probation_s=0, warm_bound_ms=1e4) as server:
            refused()
            answer = server.ask("/v1/predict", {"inputs": {"x": X}})[1]
            assert answer["version"] == "1.0.0"
    release("1.2.0", 1, 1)
    assert run(*device)[1]["current"]["version"] == "1.2.0"


def test_sealed_baseline_is_opened_with_the_key_of_the_device(run, release, tmp_path):
    device = ("agent", "update", "--repo", "repo", "--root", "keys/root.json", "--home", "home")
    seal = ("--encrypt", "baseline", "--recipient", "device/device.pub")
    (tmp_path / "home").mkdir()
    shutil.copy(tmp_path / "device" / "device.key", tmp_path / "home")
    release("1.0.0", 0, 0, *seal)
    assert run(*device)[1]["outcome"] == "updated"
    release("1.1.0", 1, 0, *seal)
    assert run(*device)[1]["error"]["code"] == "candidate-refused"


@pytest.mark.parametrize(
    ("named", "code", "exit_code"),
    [
        (("blessed.zip",), "pack-baseline", 2),
        (("gateway=blessed.zip", "gateway=other.zip"), "pack-baseline", 2),
        (("camera=blessed.zip",), "baseline-foreign", 3),
        (("gateway=other.zip",), "baseline-malformed", 3),
        (("gateway=foreign.zip",), "baseline-foreign", 3),
    ],
    ids=repr,
)
def test_baseline_that_no_device_could_use_is_not_packed(run, tmp_path, named, code, exit_code):
    make_variant(tmp_path / "gateway")
    write_baselines(tmp_path)
    options = [text for each in named for text in ("--baseline", each)]
    got, result = run("pack", "gateway", "--name", "tiny", "--version", "1.0.0", *options)
    assert (result["error"]["code"], got) == (code, exit_code)


def write_baselines(folder):
    import numpy as np

    from edgeops.runtime.baseline import Baseline, write_baseline

    names = ("variant", "model", "engine", "engine_version", "precision")
    about = dict.fromkeys(names, "") | {"data": {}}
    rows = np.zeros((1, 3), np.float32)
    for name, given in (("blessed.zip", "x"), ("foreign.zip", "pixels")):
        told = about, 1, {given: np.zeros((1, 4), np.float32)}, {"probabilities": rows}
        write_baseline(folder / name, Baseline(*told, (0,), {}, 1e-3))
    (folder / "other.zip").write_bytes(b"PK")
