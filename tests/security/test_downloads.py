"""Servers that wear a device out, a disk that is full, a home with two agents, bytes that went bad."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from edgeops.errors import EdgeopsError
from edgeops.runtime import Predictor
from edgeops.runtime.agent.fetch import Limits
from edgeops.runtime.agent.heal import heal
from edgeops.runtime.agent.home import Home
from tests.security._device import devices
from tests.security._world import write

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE = Limits(idle_s=30.0, grace_s=20.0, rate=50_000.0, tries=2, backoff_s=0.0)
# For a server that is too slow: one that is not may be so for a moment, on a machine that is busy.
HASTE = replace(PATIENCE, idle_s=5.0, grace_s=1.0)
_MOST = 64 << 20  # no answer of these servers is longer, whatever goes wrong


@pytest.fixture(scope="module")
def templates(world, fast_folder):
    return devices(world, fast_folder / "downloads")


@pytest.fixture
def device(templates, fast_folder):
    return templates["first"].copy_to(fast_folder / "downloads" / "one")


def _dribble(handler, data):
    """Send a byte now and then: no single read takes long."""
    handler.answer(200, len(data))
    for byte in data[:200]:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def _endless(handler, data):
    """Send for ever, and do not say how much."""
    handler.answer(200, None)
    handler.wfile.write(data)
    for _ in range(_MOST >> 16):
        handler.wfile.write(bytes(1 << 16))


def _enormous(handler, data):
    handler.answer(200, 1 << 40)
    for _ in range(_MOST >> 16):
        handler.wfile.write(bytes(1 << 16))


def _silent(handler, data):
    time.sleep(2.0)


def _cut(handler, data):
    handler.answer(200, len(data))
    handler.wfile.write(data[: len(data) // 2])
    handler.close_connection = True


def _broken(handler, data):
    handler.answer(503, 0)


def _round(handler, data):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@contextmanager
def _served(files, wanted, how):
    """Serve a repository in which files whose path holds a word are answered in some way."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            """Say nothing."""

        def answer(self, status, length):
            self.send_response(status)
            if length is not None:
                self.send_header("Content-Length", str(length))
            else:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()

        def do_GET(self):
            path = self.path.lstrip("/")
            asked.append(path)
            with suppress(ConnectionError):
                if path not in files:
                    self.answer(404, 0)
                elif wanted in path:
                    how(self, files[path])
                else:
                    self.answer(200, len(files[path]))
                    self.wfile.write(files[path])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_WHERE = {"the timestamp": "timestamp.json", "a channel": "targets/channels/", "a blob": "blobs/"}
_HOW = {
    "dribbles": (_dribble, "download-slow"),
    "is endless": (_endless, "download-endless"),
    "is enormous": (_enormous, "download-endless"),
    "is silent": (_silent, "download-slow"),
    "is cut": (_cut, "repository-unreachable"),
    "is broken": (_broken, "repository-unreachable"),
    "goes round": (_round, "repository-unreachable"),
}


@pytest.mark.parametrize("how", _HOW)
@pytest.mark.parametrize("where", _WHERE)
def test_a_server_that_wears_out(world, device, where, how):
    answer, code = _HOW[how]
    limits = HASTE if code == "download-slow" else PATIENCE
    begun = time.monotonic()
    with _served(world.states[1], _WHERE[where], answer) as (address, asked):
        assert replace(device, limits=limits).update(repo=address) == code
        assert len(asked) < 30
    assert time.monotonic() - begun < 60
    assert device.serving() == "1.0.0"
    stored = sum(path.stat().st_size for path in device.home.rglob("*") if path.is_file())
    assert stored < 1_000_000
    assert device.update(world.states[2]) == "updated"


def test_two_agents_in_one_home(world, device):
    with Home(device.home).lock():
        assert device.update(world.states[1]) == "agent-busy"
    assert device.serving() == "1.0.0"
    assert device.update(world.states[1]) == "updated"


# --- bytes that went bad in storage


def _model(device):
    return device.home / "current" / "variants" / "gateway" / "model.onnx"


def _spoil(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_model_that_went_bad_is_not_loaded(world, device):
    _spoil(_model(device))
    with pytest.raises(EdgeopsError) as caught:
        Predictor(device.home / "current", "gateway")
    assert int(caught.value.exit_code) == 20
    assert device.update(world.states[1]) == "updated"
    answer = Predictor(device.home / "current", "gateway").predict({"x": np.zeros((1, 4), "f4")})
    assert answer["probabilities"].shape == (1, 3)


def test_a_model_that_went_bad_is_mended_by_an_update_to_the_same_release(world, device):
    _spoil(_model(device))
    assert heal(device.home)
    assert device.update(world.states[0]) == "updated"
    assert not heal(device.home)
    assert Predictor(device.home / "current", "gateway").version == "1.0.0"


def test_metadata_that_went_bad_at_home_is_fetched_again(world, device):
    for path in (device.home / "trust").rglob("*.json"):
        _spoil(path)
    assert device.update(world.states[1]) == "updated"


def test_a_state_that_went_bad_is_read_from_what_is_there(world, device):
    (device.home / "state.json").write_bytes(b'{"format": "edgeops.ag')
    assert device.update(world.states[1]) == "updated"
    assert device.serving() == "1.1.0"


# --- a disk that is full

_ON_A_SMALL_DISK = """
import os, shutil, subprocess, sys
small, source = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], check=True)
from pathlib import Path
from tests.security._device import Device
device = Device(Path(small), (Path(source) / "root.json").read_bytes())
shutil.copytree(Path(source) / "home", device.home, symlinks=True)
shutil.copy(Path(source) / "root.json", small)
filler = Path(small) / "filler"
with open(filler, "wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass
repo = str(Path(source) / "repo")
print(device.update(repo=repo), device.serving())
filler.unlink()
print(device.update(repo=repo), device.serving())
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not here")
def test_a_disk_that_is_really_full(world, device):
    assert device.update(world.states[0]) == "current"
    write(world.states[1], device.folder / "repo")
    small = device.folder / "small"
    small.mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c"]
    done = subprocess.run(
        [*command, _ON_A_SMALL_DISK, str(small), str(device.folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
    )
    if "unshare: " in done.stderr or "mount: " in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr[-200:]}")
    assert done.stdout.splitlines() == ["disk-full 1.0.0", "updated 1.1.0"], done.stderr
