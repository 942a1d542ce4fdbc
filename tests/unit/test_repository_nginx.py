"""A repository behind nginx: what a publisher wrote is what a device reads, in ranges too."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime

import pytest

from edgeops.publish.keys import init_keys
from edgeops.runtime.agent.fetch import open_remote
from edgeops.runtime.agent.look import fetch_blob, offered
from tests import servers
from tests.unit._bundles import make_bundle, release

NOW = datetime.now(UTC)


@pytest.fixture
def served(tmp_path):
    init_keys(tmp_path / "keys", now=NOW)
    release(tmp_path, make_bundle(tmp_path / "one"), now=NOW)
    with servers.nginx(tmp_path / "repo", tmp_path / "nginx") as address:
        yield tmp_path, address


def test_a_repository_is_read_from_nginx(served):
    root, address = served
    with open_remote(address) as remote:
        offer = offered(remote, (root / "keys/root.json").read_bytes(), "stable", root / "state")
        data = b"".join(fetch_blob(remote, offer.manifest))
    assert offer.version == "1.0.0"
    assert data == (root / "repo/blobs/sha256" / offer.manifest.hex).read_bytes()


def test_nginx_gives_parts_of_blobs(served):
    root, address = served
    blob = max((root / "repo/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{address}/blobs/sha256/{blob.name}", headers={"Range": "bytes=10-19"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.status == 206
        assert answer.read() == blob.read_bytes()[10:20]
