"""Reading from servers: resumed, bounded, patient for a while; each byte and request counted."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from edgeops.errors import EdgeopsError
from edgeops.runtime.agent.fetch import Limits, open_remote
from edgeops.runtime.agent.home import Home
from edgeops.runtime.agent.update import Options
from tests.servers import closed_port
from tests.unit._agent_faults import served, tidy, updated
from tests.unit._agent_repo import Repo, plain_files
from tests.unit._agent_server import Manners, serving

QUICK = Limits(idle_s=30.0, grace_s=20.0, rate=20_000, tries=3, backoff_s=0.0, progress=1 << 14)
# For a server that is too slow: one that is not may be so for a moment, on a machine that is busy.
HASTY = replace(QUICK, idle_s=1.0, grace_s=0.6)
LARGE = bytes(range(256)) * 800  # 204,800 bytes


@pytest.fixture
def place(tmp_path):
    """A repository with one release whose model is large enough to be cut."""
    repo = Repo(tmp_path / "repo")
    (tmp_path / "root.json").write_bytes(repo.root)
    files = plain_files("one")
    files["variants/gateway/model.bin"] = (LARGE, "variant", "gateway")
    offer = repo.publish(repo.bundle("1.0.0", files))
    return tmp_path, repo, offer


def go(place, address, home="home", **changes):
    root, _, _ = place
    chosen = Options(root / home, address, root / "root.json", limits=QUICK)
    return updated(Options(**{**vars(chosen), **changes}))


def code(place, address, **changes):
    with pytest.raises(EdgeopsError) as caught:
        go(place, address, **changes)
    return caught.value.code, int(caught.value.exit_code)


def big(manners):
    """Return the ranges that the large blob was asked for."""
    paths = [path for path, _ in manners.asked]
    most = max(set(paths), key=paths.count)
    return [given for path, given in manners.asked if path == most]


@pytest.mark.parametrize(
    "manners",
    [
        Manners(),
        Manners(at="/", close=True),
        Manners(at="/", chunked=True),
        Manners(at="/", fail=2),
        Manners(cut=50_000),
        Manners(ranges=False, fail=1),
        Manners(drip=50_000, pause=0.01),
    ],
    ids=["well", "no keep-alive", "chunked", "503 first", "cut", "no ranges", "in drops"],
)
def test_release_is_fetched_from_a_server_that_is(place, manners):
    with serving(place[0] / "repo", manners) as (address, _):
        result = go(place, address)
    assert result["outcome"] == "updated"
    assert result["requests"] == len(manners.asked)
    assert served(place[0] / "home") == place[2].digest
    tidy(place[0] / "home")


def test_one_connection_serves_all_requests(place):
    with serving(place[0] / "repo") as (address, manners):
        result = go(place, address)
    assert manners.connections == 1
    assert result["requests"] == len(manners.asked) == 9


def test_every_byte_is_counted(place):
    with serving(place[0] / "repo") as (address, manners):
        result = go(place, address)
    sizes = [
        (place[0] / "repo" / path.lstrip("/")).stat().st_size
        for path, _ in manners.asked
        if (place[0] / "repo" / path.lstrip("/")).is_file()
    ]
    assert result["bytes_downloaded"] == sum(sizes) + len(b"not here\n")


def test_cut_download_goes_on_where_it_was(place):
    with serving(place[0] / "repo", Manners(cut=50_000)) as (address, manners):
        go(place, address)
    assert big(manners) == ["", "bytes=50000-", "bytes=100000-", "bytes=150000-", "bytes=200000-"]


def test_next_update_goes_on_where_the_last_one_ended(place):
    with serving(place[0] / "repo", Manners(cut=5_000)) as (address, manners):
        assert code(place, address) == ("repository-unreachable", 30)
        first = big(manners)
        assert Home(place[0] / "home").read().state == "idle"
        manners.cut = 0
        manners.asked.clear()
        assert go(place, address)["outcome"] == "updated"
    assert first[0] == ""
    assert any(given == "bytes=15000-" for _, given in manners.asked)
    assert served(place[0] / "home") == place[2].digest


def test_server_without_ranges_begins_again(place):
    home = Home(place[0] / "home")
    with serving(place[0] / "repo", Manners(cut=5_000)) as (address, manners):
        code(place, address)
        manners.cut, manners.ranges = 0, False
        assert go(place, address)["outcome"] == "updated"
    assert served(home.path) == place[2].digest


def test_part_that_was_damaged_meanwhile_is_fetched_anew(place):
    home = Home(place[0] / "home")
    with serving(place[0] / "repo", Manners(cut=5_000)) as (address, manners):
        code(place, address)
        manners.cut = 0
        part = max(home.partial.iterdir(), key=lambda path: path.stat().st_size)
        part.write_bytes(b"\0" * part.stat().st_size)
        assert go(place, address)["outcome"] == "updated"
    assert served(home.path) == place[2].digest


def test_part_that_is_too_long_is_fetched_anew(place):
    home = Home(place[0] / "home")
    with serving(place[0] / "repo", Manners(cut=5_000)) as (address, manners):
        code(place, address)
        manners.cut = 0
        part = max(home.partial.iterdir(), key=lambda path: path.stat().st_size)
        part.write_bytes(LARGE + LARGE)
        assert go(place, address)["outcome"] == "updated"


@pytest.mark.parametrize(
    ("manners", "expected"),
    [
        (Manners(endless=True), ("download-endless", 20)),
        (Manners(at="/metadata/timestamp", endless=True), ("download-endless", 20)),
        (Manners(at="/targets/", endless=True), ("download-endless", 20)),
        (Manners(drip=500, pause=0.1), ("download-slow", 30)),
        (Manners(at="/metadata/timestamp", drip=20, pause=0.2), ("download-slow", 30)),
        (Manners(hang=1.3), ("download-slow", 30)),
        (Manners(fail=99), ("repository-unreachable", 30)),
        (Manners(cut=900), ("repository-unreachable", 30)),
        (Manners(wrong_range=True, cut=100), ("repository-unreachable", 30)),
        (Manners(flip=True), ("digest-mismatch", 20)),
    ],
    ids=[
        "endless blob",
        "endless timestamp",
        "endless channel",
        "slow blob",
        "slow timestamp",
        "silent",
        "503 always",
        "cut always",
        "another part",
        "changed",
    ],
)
def test_server_that_does_harm_is_refused_and_the_next_update_works(place, manners, expected):
    root, repo, old = place
    assert go(place, str(root / "repo"))["outcome"] == "updated"
    files = plain_files("two")
    files["variants/gateway/model.bin"] = (LARGE[::-1], "variant", "gateway")
    new = repo.publish(repo.bundle("2.0.0", files))
    limits = HASTY if expected[0] == "download-slow" else QUICK
    with serving(root / "repo", manners) as (address, _):
        assert code(place, address, limits=limits) == expected
    assert served(root / "home") == old.digest
    assert len(manners.asked) < 60
    with serving(root / "repo") as (address, _):
        assert go(place, address)["outcome"] == "updated"
    assert served(root / "home") == new.digest
    tidy(root / "home")


def test_redirect_is_followed_and_loops_are_not(place):
    root = place[0]
    with (
        serving(root / "repo") as (address, _),
        serving(root / "repo", Manners(moved=address)) as (first, _),
    ):
        assert go(place, first)["outcome"] == "updated"
    with serving(root / "repo", Manners(at="/metadata/")) as (address, manners):
        manners.moved = address
        assert code(place, address, home=root / "other") == ("repository-unreachable", 30)


def test_name_and_password_are_sent_to_that_server_alone(place):
    root = place[0]
    with (
        serving(root / "repo", Manners(at="-")) as (other, second),
        serving(root / "repo", Manners(moved=other)) as (address, first),
    ):
        login = address.replace("http://", "http://me:p%40ss@")
        assert go(place, login)["outcome"] == "updated"
    assert set(first.logins) == {"Basic bWU6cEBzcw=="}
    assert set(second.logins) == {""}
    with pytest.raises(EdgeopsError) as caught:
        go(place, login)
    assert "p%40ss" not in json.dumps(caught.value.to_json())


def test_nothing_there_is_said_so(place, tmp_path):
    with closed_port() as port:
        assert code(place, f"http://127.0.0.1:{port}") == ("repository-unreachable", 30)
    assert code(place, str(tmp_path / "nowhere")) == ("repository-unreachable", 30)
    assert code(place, "ftp://127.0.0.1/repo") == ("repository-address", 3)
    assert code(place, "http://[::1/repo") == ("repository-address", 3)


def test_missing_blob_is_said_so(place):
    for path in (place[0] / "repo" / "blobs" / "sha256").iterdir():
        if path.stat().st_size == len(LARGE):
            path.unlink()
    with serving(place[0] / "repo") as (address, _):
        assert code(place, address) == ("store-missing", 30)
    assert code(place, str(place[0] / "repo")) == ("store-missing", 30)


def test_address_may_have_a_path(place):
    root = place[0]
    shutil.copytree(root / "repo", root / "www" / "some where" / "repo")
    with serving(root / "www", Manners(at="-")) as (address, _):
        assert go(place, f"{address}/some where/repo/".replace(" ", "%20"))["outcome"] == "updated"


# What no web server of Python's library can be made to say


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def saying(*answers):
    """Give each connection the next of these answers, the last again and again; yield a Remote."""
    left, held = list(answers), []

    def answer():
        with suppress(OSError):
            while True:
                connection = door.accept()[0]
                held.append(connection)
                with suppress(OSError):
                    connection.recv(4096)
                    connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with open_remote(f"http://127.0.0.1:{door.getsockname()[1]}", QUICK) as remote:
            yield remote
        door.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in held:
        connection.close()


def test_try_after_an_answer_that_was_none_begins_a_connection_of_its_own():
    with saying(b"nonsense\r\n\r\n", GOOD) as remote:
        assert remote.small("x", 10) == b"ok"


def test_name_that_nobody_knows_is_said_after_the_last_try():
    remote = open_remote("http://nowhere.invalid", QUICK)
    with remote, pytest.raises(EdgeopsError) as caught:
        remote.small("x", 10)
    assert caught.value.code == "repository-unreachable"
    assert "Request-sent" not in caught.value.why


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0",
        b"HTTP/1.1 302 Found\r\nLocation: /\xe9\r\nContent-Length: 0",
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes \xb2-3/4\r\nContent-Length: 2",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000,
    ],
    ids=["broken address", "odd letter", "odd digit", "go on, without end"],
)
def test_answer_that_is_none_of_http_is_no_bug(head):
    with saying(head + b"\r\n\r\n") as remote, pytest.raises(EdgeopsError) as caught:
        remote.into("x", 10, 0, lambda _: None)
    assert caught.value.code == "repository-unreachable"
    assert len(caught.value.why) < 200


def test_answer_with_a_rest_too_long_to_read_costs_its_connection():
    moved = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 999999\r\n\r\n"
    with saying(moved + bytes(80_000), GOOD) as remote:
        assert remote.small("x", 10) == b"ok"
