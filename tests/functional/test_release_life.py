"""The life of a release as a device sees it: tried, given to all as a delta, withdrawn."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from edgeops.cli import main
from tests.unit import _bundles

SIZE = 200_000


@pytest.fixture
def run(capsys, tmp_path):
    def runner(*arguments):
        capsys.readouterr()
        code = main(["-C", str(tmp_path), *map(str, arguments), "--json"])
        assert code == 0, capsys.readouterr()
        return json.loads(capsys.readouterr().out)

    return runner


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """Return what packs a version whose weights differ little from those of another."""
    tiny = _bundles.write_tiny_model

    def write(path, *, seed=0):
        tiny(path, seed=0)
        model = onnx.load(path)
        weights = np.random.default_rng(0).normal(size=SIZE).astype("float32")
        weights[:500] += seed
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "unused"))
        onnx.save(model, path)
        return path

    monkeypatch.setattr(_bundles, "write_tiny_model", write)
    return lambda version, seed: _bundles.make_bundle(
        tmp_path / version, version=version, seed=seed, key=tmp_path / "keys"
    )


@pytest.mark.slow
def test_a_release_is_tried_given_to_all_as_a_delta_and_withdrawn(run, bundle):
    keyed = ("--to", "repo", "--key", "keys")
    device = ("--repo", "repo", "--root", "keys/root.json", "--home", "home")
    device += ("--target", "gateway", "--channel", "stable", "--device-id", "device-2")
    run("keys", "init", "keys")
    run("publish", bundle("1.0.0", 1), *keyed, "--channel", "stable")
    first = run("agent", "update", *device)
    assert first["current"]["version"] == "1.0.0"
    assert first["bytes_downloaded"] > 4 * SIZE
    share = "0.0001"
    result = run("publish", bundle("1.1.0", 2), *keyed, "--channel", "stable", "--share", share)
    assert [item["from_version"] for item in result["deltas"]] == ["1.0.0"]
    assert run("agent", "update", *device)["current"]["version"] == "1.0.0"
    run("promote", *keyed, "--channel", "stable", "--share", "1")
    second = run("agent", "update", *device)
    assert second["current"]["version"] == "1.1.0"
    assert second["bytes_downloaded"] < 0.05 * first["bytes_downloaded"]
    run("withdraw", "1.1.0", *keyed, "--reason", "wrong labels")
    assert run("agent", "update", *device)["current"]["version"] == "1.0.0"
