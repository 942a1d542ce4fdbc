"""Deltas that are made on publish: from which releases, for which files, and what is listed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from edgeops.core.channel import DELTAS_TYPE
from edgeops.core.events import Silence
from edgeops.core.manifest import Seal, parse_manifest
from edgeops.package.bundle import open_bundle
from edgeops.publish import deltas
from edgeops.publish.deltas import earlier_releases, make_deltas
from edgeops.publish.keys import init_keys, load_keys
from edgeops.publish.metadata import read_served
from edgeops.publish.releases import read_channel
from edgeops.publish.stores import FolderStore
from edgeops.stages.publish_moves import PromoteRequest, promote_verb, withdraw_verb
from tests.unit._bundles import make_bundle, release

NOW = datetime.now(UTC)


@pytest.fixture
def root(tmp_path):
    init_keys(tmp_path / "keys", now=NOW)
    return tmp_path


@pytest.fixture
def large(monkeypatch):
    """Let the tiny model carry weights that are alike from version to version."""
    import numpy as np

    from tests.unit import _bundles

    tiny = _bundles.write_tiny_model

    def write(path, *, seed=0):
        import onnx

        tiny(path, seed=0)
        model = onnx.load(path)
        weights = np.random.default_rng(0).normal(size=60_000).astype("float32")
        weights[:50] += seed
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "unused"))
        onnx.save(model, path)
        return path

    monkeypatch.setattr(_bundles, "write_tiny_model", write)


def _publish(root, version, seed, **options):
    bundle = make_bundle(root / version, version=version, seed=seed)
    return release(root, bundle, **{"now": NOW, **options})


def _blob(root, descriptor):
    data = (root / "repo/blobs/sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
    assert len(data) == descriptor["size"]
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return data


def test_a_release_lists_deltas_that_lead_to_its_files(root, large, tmp_path):
    from edgeops.runtime.delta import apply

    assert _publish(root, "1.0.0", 1)["deltas"] == []
    result = _publish(root, "1.1.0", 2)
    [listed] = result["deltas"]
    assert (listed["path"], listed["from_version"]) == ("variants/gateway/model.onnx", "1.0.0")
    assert listed["bytes"] < 0.1 * listed["whole_bytes"]
    assert listed["percent"] == round(100 * listed["bytes"] / listed["whole_bytes"], 2)
    assert result["offer"]["deltas"]["mediaType"] == DELTAS_TYPE
    index = json.loads(_blob(root, result["offer"]["deltas"]))
    assert index["format"] == "edgeops.deltas/1"
    [entry] = index["deltas"]
    assert set(entry) == {"from", "to", "method", "digest", "size"}
    old = (root / "1.0.0/gateway/model.onnx").read_bytes()
    new = (root / "1.1.0/gateway/model.onnx").read_bytes()
    assert entry["from"] == f"sha256:{hashlib.sha256(old).hexdigest()}"
    assert entry["to"] == f"sha256:{hashlib.sha256(new).hexdigest()}"
    _blob(root, entry)
    apply(
        root / "1.0.0/gateway/model.onnx",
        _blob(root, entry),
        tmp_path / "made",
        expect=entry["to"],
        size=len(new),
    )
    assert (tmp_path / "made").read_bytes() == new


def test_deltas_are_made_from_the_last_releases_and_once(root, large):
    for number in range(4):
        _publish(root, f"1.{number}.0", number)
    result = _publish(root, "1.4.0", 9, deltas=2)
    assert [item["from_version"] for item in result["deltas"]] in (
        ["1.3.0", "1.2.0"],
        ["1.2.0", "1.3.0"],
    )
    digests = [(item["to"], item["from"]) for item in result["deltas"]]
    assert digests == sorted(digests)
    again = _publish(root, "1.4.0", 9, deltas=2)
    assert (again["deltas"], again["bytes_uploaded"]) == ([], 0)
    assert again["offer"]["deltas"] == result["offer"]["deltas"]
    assert _publish(root, "1.5.0", 10, deltas=0)["offer"]["deltas"] is None


def test_a_promoted_release_keeps_its_deltas(root, large):
    _publish(root, "1.0.0", 1)
    result = _publish(root, "1.1.0", 2)
    copied = promote_verb(
        PromoteRequest(root, "repo", source="stable", into="beta", key="keys"), now=NOW
    )
    assert copied["offer"]["deltas"] == result["offer"]["deltas"]


def test_a_release_that_was_withdrawn_is_still_come_from(root, large):
    _publish(root, "1.0.0", 1)
    withdraw_verb(root, "1.0.0", "repo", "bad", key="keys", now=NOW)
    [listed] = _publish(root, "1.1.0", 2)["deltas"]
    assert listed["from_version"] == "1.0.0"


def test_what_the_store_holds_damaged_is_no_base_for_a_delta(root, large):
    _publish(root, "1.0.0", 1)
    old = (root / "1.0.0/gateway/model.onnx").read_bytes()
    path = root / "repo/blobs/sha256" / hashlib.sha256(old).hexdigest()
    path.write_bytes(old[:-1] + b"!")
    assert _publish(root, "1.1.0", 2)["deltas"] == []


def test_what_the_store_lost_is_no_base_for_a_delta(root, large):
    _publish(root, "1.0.0", 1)
    old = (root / "1.0.0/gateway/model.onnx").read_bytes()
    (root / "repo/blobs/sha256" / hashlib.sha256(old).hexdigest()).unlink()
    made = _publish(root, "1.1.0", 2)
    assert made["deltas"] == []
    (root / "repo/blobs/sha256" / made["digest"].removeprefix("sha256:")).unlink()
    assert _publish(root, "1.2.0", 3)["deltas"] == []


def test_a_build_that_is_replaced_is_come_from(root, large):
    _publish(root, "1.0.0", 1)
    bundle = make_bundle(root / "again", version="1.0.0", seed=2)
    [listed] = release(root, bundle, now=NOW, rebuild=True)["deltas"]
    assert listed["from_version"] == "1.0.0"
    assert listed["from"] != listed["to"]


def test_no_delta_is_tried_of_sealed_files(root):
    def manifest(version):
        folder = root / version
        bundle = make_bundle(folder, version=version, seed=int(version[2]))
        with open_bundle(bundle) as opened:
            found = parse_manifest(opened.manifest_bytes, "here")
        seal = Seal("sha256:" + 64 * "a", 1, 32 * "0")
        layers = [
            replace(layer, seal=seal) if layer.path.endswith("model.onnx") else layer
            for layer in found.layers
        ]
        return found, replace(found, layers=tuple(layers))

    (old, old_sealed), (new, new_sealed) = manifest("1.0.0"), manifest("1.1.0")

    def paths(before, after):
        return [layer.path.rpartition("/")[2] for _, layer in deltas._pairs(before, after)]

    assert "model.onnx" in paths(old, new)
    for before, after in ((old, new_sealed), (old_sealed, new), (old_sealed, new_sealed)):
        assert "model.onnx" not in paths(before, after)


def test_files_that_belong_together_lie_together_when_a_delta_is_made(root):
    _publish(root, "1.0.0", 1)
    bundle = make_bundle(root / "next", version="1.1.0", seed=2)
    store = FolderStore(root / "repo")
    served = read_served(store, load_keys(root / "keys"))
    earlier = earlier_releases(
        store, served, read_channel(store, served, "stable"), "tiny", "1.1.0", 3
    )
    seen = []

    def make(old, new):
        seen.append((old.name, new.name, sorted(path.name for path in old.parent.iterdir())))
        return "full", b"delta of " + new.name.encode()

    with open_bundle(bundle) as opened:
        manifest = parse_manifest(opened.manifest_bytes, "here")
        made = make_deltas(store, manifest, opened.pieces, earlier, make, Silence())
    assert ("model.onnx", "model.onnx", ["model.onnx", "variant.json"]) in seen
    assert {item.method for item in made.made} == {"full"}
    assert made.index.media_type == DELTAS_TYPE
