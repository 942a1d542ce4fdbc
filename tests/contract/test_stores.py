"""What every registered store must do, edgeops's own and others'."""

from __future__ import annotations

import pytest

from edgeops.core import registry
from edgeops.errors import EdgeopsError
from tests import servers


@pytest.fixture(scope="session")
def s3_endpoint():
    with servers.s3() as endpoint:
        yield endpoint


@pytest.fixture(params=registry.names("stores"))
def store(request, tmp_path, monkeypatch):
    if request.param != "s3":
        return registry.get("stores", request.param).at("repo", tmp_path)
    for name, value in servers.S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EDGEOPS_S3_ENDPOINT", request.getfixturevalue("s3_endpoint"))
    return registry.get("stores", "s3").at(f"s3://models/{tmp_path.name}", tmp_path)


def test_store_gives_back_what_was_put(store):
    store.put("a/b.json", b"first")
    store.put("a/b.json", b"second, longer")
    assert store.get("a/b.json") == b"second, longer"


def test_store_takes_pieces(store):
    store.put("blob", iter([b"one ", b"", b"two"]))
    assert store.get("blob") == b"one two"


def test_store_reads_ranges(store):
    store.put("blob", b"0123456789")
    assert store.get("blob", 3) == b"3456789"
    assert store.get("blob", 3, 4) == b"3456"
    assert store.get("blob", 8, 10) == b"89"
    assert store.get("blob", 10) == b""


def test_store_says_what_is_there(store):
    store.put("blob", b"")
    assert store.exists("blob")
    assert not store.exists("other")
    assert not store.exists("blob/below")


def test_store_lists_below_a_prefix_sorted(store):
    for path in ("b/2", "b/1", "a/1", "bb"):
        store.put(path, b"x")
    assert store.list("b/") == ["b/1", "b/2"]
    assert store.list("") == ["a/1", "b/1", "b/2", "bb"]
    assert store.list("c") == []


def test_store_leaves_the_old_file_when_pieces_fail(store):
    def failing():
        yield b"half"
        raise RuntimeError("the source is gone")

    store.put("blob", b"whole")
    with pytest.raises(RuntimeError, match="the source is gone"):
        store.put("blob", failing())
    assert store.get("blob") == b"whole"
    assert store.list("") == ["blob"]


def test_store_refuses_a_missing_file_with_an_error_of_its_own(store):
    with pytest.raises(EdgeopsError) as caught:
        store.get("nowhere")
    assert caught.value.exit_code == 30


def test_store_puts_a_large_file_whole(store):
    pieces = [bytes([number]) * 7_000_000 for number in range(5)]
    store.put("large", iter(pieces))
    assert store.get("large", 13_999_999, 2) == b"\x01\x02"
    assert store.get("large", 34_999_999) == b"\x04"
    assert getattr(store, "size", lambda _: 35_000_000)("large") == 35_000_000

    def failing():
        yield from pieces[:4]
        raise RuntimeError("the source is gone")

    with pytest.raises(RuntimeError, match="the source is gone"):
        store.put("large", failing())
    assert store.get("large", 34_999_999) == b"\x04"


def test_store_lets_one_publisher_in_at_a_time(store):
    if not hasattr(store, "lock"):
        pytest.skip("the store keeps nobody out")
    with store.lock():
        store.put("a", b"x")
    with store.lock():
        assert store.list("") == ["a"]


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out"])
def test_store_stays_inside(store, tmp_path, path):
    with pytest.raises(EdgeopsError) as caught:
        store.put(path, b"evil")
    assert caught.value.code == "path-outside"
    assert not (tmp_path / "out").exists()
