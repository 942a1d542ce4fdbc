"""Thousands of releases: what a device reads stays as it is, and publishing stays quick."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from edgeops.core.manifest import Descriptor
from edgeops.publish.keys import init_keys, load_keys
from edgeops.publish.metadata import read_served, write_next
from edgeops.publish.releases import Release
from edgeops.publish.stores import FolderStore
from edgeops.runtime.agent.fetch import open_remote
from edgeops.runtime.agent.trust import read_channel
from tests.unit._bundles import make_bundle, release

NOW = datetime.now(UTC)
MANY = 2_000


def _read(root, state):
    with open_remote(str(root / "repo")) as remote:
        seen = read_channel(remote, (root / "keys/root.json").read_bytes(), "stable", root / state)
        return remote.bytes, remote.requests, seen.channel.offers[0].version


def _published(root, version):
    bundle = make_bundle(root / version, version=version, seed=sum(map(ord, version)))
    start = time.perf_counter()
    release(root, bundle, now=NOW)
    return time.perf_counter() - start


class _MetadataOnly(FolderStore):
    """Leaves out the release manifests, which take the disk longer than all else together."""

    def put(self, path, data):
        if path.startswith("metadata/"):
            super().put(path, data)


def _many(root):
    """Add many releases at once, as the metadata of so many publishes would hold them."""
    store, keys = _MetadataOnly(root / "repo"), load_keys(root / "keys")
    releases = (
        Release(
            "tiny",
            f"0.{number}.0",
            Descriptor("application/vnd.oci.image.manifest.v1+json", f"sha256:{number:064x}", 9),
            None,
            (),
            ("gateway",),
            "pass",
        )
        for number in range(MANY)
    )
    changed = {item.path: item.encode() for item in releases}
    write_next(store, keys, read_served(store, keys), changed, NOW)


def test_what_a_device_reads_does_not_grow_with_releases(tmp_path):
    init_keys(tmp_path / "keys", now=NOW)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        few_s = _published(tmp_path, version)
    few = _read(tmp_path, "few")
    _many(tmp_path)
    many_s = _published(tmp_path, "1.3.0")
    many = _read(tmp_path, "many")
    print(  # noqa: T201 - the figures are what a person wants to see
        f"\na device that is new here reads {few[0]} bytes in {few[1]} requests with 3 releases, "
        f"{many[0]} in {many[1]} with {MANY + 4}; publishing took {few_s:.2f} s and {many_s:.2f} s"
    )
    assert (few[2], many[2]) == ("1.2.0", "1.3.0")
    assert few[1] == many[1]
    assert abs(many[0] - few[0]) <= 16
    # Nothing new: the next root, which is not there, and the timestamp.
    bytes_again, requests_again, _ = _read(tmp_path, "many")
    print(f"with nothing new it reads {bytes_again} bytes in {requests_again} requests")  # noqa: T201
    assert requests_again == 2
    assert bytes_again < 1000
