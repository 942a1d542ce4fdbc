"""What only the S3 store does: errors that a person can act on, a lock, a repository over HTTP."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config

from edgeops.errors import EdgeopsError
from edgeops.publish import s3_lock as module
from edgeops.publish.keys import init_keys
from edgeops.publish.s3 import S3Store
from tests import servers
from tests.unit._bundles import make_bundle, release

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def endpoint():
    with servers.s3() as address:
        yield address


@pytest.fixture
def bucket(endpoint, monkeypatch):
    for name, value in servers.S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EDGEOPS_S3_ENDPOINT", endpoint)
    return endpoint


def _code(work, *arguments):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments)
    return caught.value.code, int(caught.value.exit_code)


def test_without_credentials_it_says_which(bucket, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert _code(S3Store("s3://models/x").exists, "a") == ("store-credentials", 4)


def test_a_bucket_that_is_not_there_is_told_from_a_file_that_is_not(bucket):
    assert _code(S3Store("s3://nowhere/x").exists, "a") == ("bucket-missing", 3)
    assert _code(S3Store("s3://nowhere/x").get, "a") == ("bucket-missing", 3)
    assert S3Store("s3://models/x").exists("a") is False
    assert _code(S3Store("s3://models/x").get, "a") == ("store-missing", 30)


def test_a_server_that_is_down_may_be_tried_again(bucket):
    with servers.closed_port() as port:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            config=Config(retries={"max_attempts": 1}),
            **servers.S3_KEYS,
        )
        found = _code(S3Store("s3://models/x", client).put, "a", b"x")
        client.close()
    assert found == ("repository-unreachable", 30)


def test_two_publishers_wait_for_each_other(bucket):
    order = []
    first, second = S3Store("s3://models/locked"), S3Store("s3://models/locked")

    def later():
        with second.lock():
            order.append("second")

    thread = threading.Thread(target=later)
    with first.lock():
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    assert first.list("") == []


def test_a_lock_that_is_held_for_too_long_is_an_error_of_its_own(bucket, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.2)
    with S3Store("s3://models/busy").lock():
        found = _code(S3Store("s3://models/busy").lock().__enter__)
    assert found == ("store-busy", 30)


def test_the_lock_of_a_publisher_that_died_is_taken_over(bucket, monkeypatch):
    died = S3Store("s3://models/dead").lock()
    died.__enter__()  # held on to: what nobody holds would be ended, and let go of the lock
    monkeypatch.setattr(module, "LOCK_S", -1.0)
    taken = S3Store("s3://models/dead")
    with taken.lock():
        taken.put("a", b"x")
    assert taken.list("") == ["a"]
    died.__exit__(None, None, None)


def test_a_publisher_that_takes_long_keeps_its_lock(bucket, monkeypatch):
    # The server tells times in whole seconds, and may answer a second late when it is busy.
    monkeypatch.setattr(module, "LOCK_S", 5.0)
    monkeypatch.setattr(module, "RENEW_S", 0.3)
    monkeypatch.setattr(module, "WAIT_S", 0.5)
    slow = S3Store("s3://models/slow")
    with slow.lock():
        time.sleep(7.0)
        assert _code(S3Store("s3://models/slow").lock().__enter__) == ("store-busy", 30)
        slow.put("a", b"x")
    assert slow.list("") == ["a"]


def test_a_publisher_whose_lock_was_taken_over_writes_nothing_more(bucket, monkeypatch):
    # The stand-in for S3 looks and writes in two steps: so the first does not renew its lock while the
    # second takes it over.
    monkeypatch.setattr(module, "RENEW_S", 2.0)
    first, second = S3Store("s3://models/lost"), S3Store("s3://models/lost")
    with first.lock():
        monkeypatch.setattr(module, "LOCK_S", -1.0)
        with second.lock():
            until = time.monotonic() + 60
            while not first._lease._lost and time.monotonic() < until:
                time.sleep(0.05)
            assert _code(first.put, "a", b"x") == ("store-busy", 30)
            second.put("b", b"x")
    assert first.list("") == ["b"]
    first.put("a", b"x")


def test_a_repository_is_published_to_s3_and_read_over_plain_http(bucket, tmp_path):
    from edgeops.runtime.agent.fetch import open_remote
    from edgeops.runtime.agent.trust import read_channel

    init_keys(tmp_path / "keys", now=NOW)
    bundle = make_bundle(tmp_path / "one")
    result = release(tmp_path, bundle, to="s3://models/fleet", now=NOW)
    assert result["bytes_uploaded"] > 0
    assert release(tmp_path, bundle, to="s3://models/fleet", now=NOW)["bytes_uploaded"] == 0
    client = boto3.client("s3", endpoint_url=bucket, **servers.S3_KEYS)
    for path in S3Store("s3://models/fleet").list(""):
        client.put_object_acl(Bucket="models", Key=f"fleet/{path}", ACL="public-read")
    client.close()
    root = (tmp_path / "keys" / "root.json").read_bytes()
    with open_remote(f"{bucket}/models/fleet") as remote:
        seen = read_channel(remote, root, "stable", tmp_path / "state")
    assert [offer.version for offer in seen.channel.offers] == ["1.0.0"]
