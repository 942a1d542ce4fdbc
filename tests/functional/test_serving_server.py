"""The server as a program in any language sees it: formats, bounds, back-pressure, a gentle end."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgeops.errors import EdgeopsError
from edgeops.runtime.serving.doors import bound_tcp
from edgeops.runtime.serving.place import connected
from tests import serving
from tests.serving import Running, X, slot, switch

BODY = json.dumps({"inputs": {"x": X}}).encode()
DOC = Path(__file__).parents[2] / "docs" / "formats" / "serve.md"


@pytest.fixture
def home(tmp_path, monkeypatch):
    serving.install(tmp_path / "engine", monkeypatch)
    home = tmp_path / "home"
    switch(home, slot(home, "old", 1.5))
    return home


def asked(server, path="/v1/predict", body=BODY, method="POST", **headers):
    """Return status, headers and body of one HTTP request."""
    host, _, port = server.url().rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def code(answer):
    return json.loads(answer[2])["error"]["code"]


def saved(write, *arguments, **arrays):
    buffer = io.BytesIO()
    write(buffer, *arguments, **arrays)
    return buffer.getvalue()


def test_inputs_and_outputs_come_in_every_kind(home):
    x = np.array(X, np.float32)
    packed = {"base64": base64.b64encode(x.tobytes()).decode(), "dtype": "float32", "shape": [1, 4]}
    bodies = {
        "application/json": BODY,
        "application/json; charset=utf-8": json.dumps({"inputs": {"x": packed}}).encode(),
        "application/x-npy": saved(np.save, x),
        "application/x-npz": saved(np.savez, x=x),
    }
    with Running(home, "--port", "0") as server:
        for kind, body in bodies.items():
            status, headers, data = asked(server, body=body, Content_Type=kind)
            assert (status, json.loads(data)["outputs"]) == (200, {"y": [[1.5, 1.5]]}), kind
            assert headers["X-Edgeops-Digest"] == json.loads(data)["digest"]
        _, _, data = asked(server, Accept="application/x-npz")
        assert np.load(io.BytesIO(data))["y"].tolist() == [[1.5, 1.5]]
        _, headers, data = asked(server, Accept="application/x-npy")
        assert np.load(io.BytesIO(data)).dtype == np.float32
        assert headers["Content-Type"] == "application/x-npy"
        _, _, data = asked(server, Accept="application/json; arrays=base64")
        told = json.loads(data)["outputs"]["y"]
        assert np.frombuffer(base64.b64decode(told["base64"]), told["dtype"]).tolist() == [1.5, 1.5]
        many = np.zeros((1000, 4), np.float32)
        status, _, data = asked(server, body=saved(np.save, many), Content_Type="application/x-npy")
        assert (status, len(json.loads(data)["outputs"]["y"])) == (200, 1000)


@pytest.mark.parametrize(
    ("request_of", "status", "expected"),
    [
        ({"path": "/v2/predict"}, 404, "serve-path"),
        ({"method": "GET", "body": None}, 405, "serve-method"),
        ({"body": b"{"}, 400, "serve-malformed"),
        ({"body": b"[]"}, 400, "serve-malformed"),
        ({"body": b'{"inputs": {"z": [[1]]}}'}, 400, "input-name-unknown"),
        ({"body": b'{"inputs": {"x": [[1, 2]]}}'}, 400, "input-shape"),
        ({"Content_Type": "text/html"}, 415, "serve-media"),
        (
            {
                "Content_Type": "application/x-npz",
                "body": saved(np.savez_compressed, x=np.zeros(9)),
            },
            400,
            "serve-malformed",
        ),
        (
            {"Content_Type": "application/x-npy", "body": saved(np.save, np.array([{}]))},
            400,
            "serve-malformed",
        ),
        ({"Content_Type": "image/png"}, 400, "input-dtype"),
        ({"body": b"x" * 5000}, 413, "serve-too-large"),
        ({"Transfer_Encoding": "chunked"}, 411, "serve-length"),
        ({"path": "/v1/commit", "body": b"{}"}, 403, "serve-control"),
        ({"path": "/v1/prepare", "body": b"{}"}, 403, "serve-control"),
        ({"path": "/v1/rollback", "body": b"{}"}, 403, "serve-control"),
        ({"Origin": "https://evil.example"}, 403, "serve-host"),
        ({"Host": "rebound.example:80"}, 403, "serve-host"),
    ],
)
def test_what_is_wrong_is_refused_by_name(one_server, request_of, status, expected):
    answer = asked(one_server, **request_of)
    assert (answer[0], code(answer)) == (status, expected)
    assert one_server.predict() == (200, 1.5)


@contextmanager
def alone(folder, **options):
    """Serve one model, which answers 1.5."""
    with pytest.MonkeyPatch.context() as patch:
        serving.install(folder / "engine", patch)
        switch(folder / "home", slot(folder / "home", "old", 1.5))
        with Running(folder / "home", "--port", "0", **options) as server:
            yield server


@pytest.fixture(scope="module")
def one_server(tmp_path_factory):
    with alone(tmp_path_factory.mktemp("one"), most_body=4096) as server:
        yield server


@pytest.fixture(scope="module")
def hasty_server(tmp_path_factory):
    """One that waits for a request for a second: others are not to be held to that."""
    with alone(tmp_path_factory.mktemp("hasty"), read_s=1.0) as server:
        yield server


def test_health_answers_head_too(one_server):
    status, headers, data = asked(one_server, "/v1/health", None, "HEAD")
    assert (status, data, int(headers["Content-Length"]) > 0) == (200, b"", True)


def test_requests_may_come_in_pieces_and_several_at_once(one_server):
    host, _, port = one_server.url().rpartition(":")
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n"
    data = head.encode() + BODY
    with socket.create_connection((host, int(port)), timeout=10) as link:
        for place in range(0, len(data), 50):
            link.sendall(data[place : place + 50])
            time.sleep(0.001)
        assert link.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
        link.sendall(data + data)
        found = b""
        while found.count(b'"outputs"') < 2:
            found += link.recv(4096)
        assert found.count(b"200 OK") == 2


def test_big_body_is_asked_for_before_it_is_sent(one_server):
    host, _, port = one_server.url().rpartition(":")
    head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(head.format(len(BODY)).encode())
        assert link.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        link.sendall(BODY)
        assert b"200 OK" in link.recv(4096)
        link.sendall(head.format(10**12).encode())
        assert link.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/pre", b"POST /v1/predict HTTP/1.1\r\nHost: x"])
def test_peer_that_sends_too_slowly_is_cut_off(hasty_server, sent):
    host, _, port = hasty_server.url().rpartition(":")
    data = sent or b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(data)
        begun = time.monotonic()
        # A byte now and then does not help: it is the whole request that has its time.
        while time.monotonic() - begun < 20:
            try:
                link.sendall(b"a")
                link.settimeout(0.2)
                if not link.recv(100):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("the connection is still there")


def test_socket_is_its_owners_alone(one_server):
    assert (one_server.home / "serve.sock").stat().st_mode & 0o777 == 0o600


def test_second_server_is_refused(one_server):
    done = subprocess.run(
        [sys.executable, "-m", serving.PROGRAM, "serve", "--home", str(one_server.home), "--json"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (4, "serve-running")
    assert one_server.predict() == (200, 1.5)


@pytest.mark.parametrize(
    "address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "127.0.0.1", "127.0.0.1:x"]
)
def test_addresses_that_others_reach_need_a_word(address):
    with pytest.raises(EdgeopsError) as caught:
        bound_tcp(address, expose=False)
    assert (caught.value.code, int(caught.value.exit_code)) == ("serve-address", 3)


def test_address_may_be_exposed():
    with bound_tcp("0.0.0.0:0", expose=True) as link:
        assert link.getsockname()[0] == "0.0.0.0"  # noqa: S104 - what was asked for


def test_too_much_is_turned_away_and_said(tmp_path, monkeypatch):
    serving.install(tmp_path / "engine", monkeypatch)
    home = tmp_path / "home"
    switch(home, slot(home, "busy", 1.0, pause_s=1.0))
    with Running(home, concurrency=1, wait_s=0.05, connections=4) as server:
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(server.predict())) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert min(found) == (200, 1.0)
        assert (503, "serve-busy") in found
        # One answer is looked at once: connections of before may still be ending, and make room.
        links = []
        while (told := server.ask("/v1/health"))[0] == 200:
            links.append(connected(home, 5))
        assert told[1]["error"]["code"] == "serve-busy"
        for link in links:
            link.close()
        while server.ask("/v1/health")[0] != 200:
            time.sleep(0.01)


def test_end_is_gentle(tmp_path, monkeypatch):
    serving.install(tmp_path / "engine", monkeypatch)
    home = tmp_path / "home"
    switch(home, slot(home, "busy", 1.0, pause_s=2.0))
    with Running(home) as server:
        found = []
        thread = threading.Thread(target=lambda: found.append(server.predict()))
        idle = connected(home, 5)
        thread.start()
        server.until(lambda status: status["current"]["in_flight"] == 1)
        assert server.stop(signal.SIGTERM) == 0
        thread.join()
        assert found == [(200, 1.0)]
        assert idle.recv(10) == b""
        idle.close()
        assert not (home / "serve.sock").exists()
        assert json.loads(server.process.stdout.read())["drained"] is True


@pytest.mark.parametrize("isolate", [False, True])
def test_loading_keeps_others_out_and_may_be_ended(tmp_path, monkeypatch, isolate):
    serving.install(tmp_path / "engine", monkeypatch)
    home = tmp_path / "home"
    switch(home, slot(home, "slow", 1.0, load="hang"))
    arguments = ["serve", "--home", str(home), *(["--isolate"] if isolate else [])]
    command = [sys.executable, "-m", serving.PROGRAM, *arguments]
    process = subprocess.Popen(command)
    try:
        until = time.monotonic() + 30
        while not (home / "serving.json").exists() and time.monotonic() < until:
            time.sleep(0.01)
        # The home is taken from the start, not only once it is answered for.
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (second.returncode, "serve-running" in second.stderr) == (4, True)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert json.loads((home / "serving.json").read_bytes())["clean"] is True
    assert not (home / "serve.sock").exists()


def test_home_far_down_the_tree_has_its_socket(tmp_path, monkeypatch):
    serving.install(tmp_path / "engine", monkeypatch)
    home = tmp_path / ("a" * 60) / ("b" * 60) / "home"
    switch(home, slot(home, "old", 1.5))
    with Running(home) as server:
        assert server.predict() == (200, 1.5)


def test_home_without_a_model_says_so(tmp_path):
    (tmp_path / "home").mkdir()
    with Running(tmp_path / "home") as server:
        assert server.ask("/v1/health") == (503, {"status": "unavailable"})
        assert server.predict() == (503, "model-unavailable")


def block(language):
    """Return the first block of a language in the format's page."""
    return re.search(rf"```{language}\n(.*?)```", DOC.read_text(), re.DOTALL).group(1)


def test_example_with_curl_runs(one_server):
    bash = shutil.which("bash")
    if bash is None or shutil.which("curl") is None:
        pytest.skip("bash or curl is not installed")
    done = subprocess.run(
        [bash, "-euc", block("sh")],
        env={**os.environ, "HOME_OF_AGENT": str(one_server.home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert json.loads(done.stdout)["outputs"] == {"y": [[1.5, 1.5]]}


def test_example_in_c_compiles_and_runs(one_server, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source = tmp_path / "client.c"
    source.write_text(block("c"))
    program = tmp_path / "client"
    subprocess.run([compiler, "-Wall", "-Werror", "-o", program, source], check=True, timeout=60)
    done = subprocess.run(
        [program, one_server.home / "serve.sock"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert '"outputs": {"y": [[1.5, 1.5]]}' in done.stdout
