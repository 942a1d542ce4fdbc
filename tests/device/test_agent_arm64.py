"""The agent's program in the arm64 userland: it takes an update over HTTP and answers a prediction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeops.package import agent_pyz
from edgeops.runtime import Predictor
from edgeops.validate.devices.emulated import enter as emulated_enter
from edgeops.validate.devices.emulated.shell import UserlandShell
from tests.device._emulated import needs_qemu, userland, userland_place  # noqa: F401 - fixtures
from tests.security._device import Device
from tests.security._world import make_world, write

pytestmark = [needs_qemu, pytest.mark.slow]
_TIMEOUT_S = 400

# The userland has a network of its own, whose loopback is still to be switched on. All that this
# starts ends with it.
_DRIVER = """
import fcntl, functools, http.server, json, socket, struct, subprocess, sys, threading

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
    fcntl.ioctl(end, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up, running

class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_):
        pass

serve = functools.partial(Quiet, directory="repo")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
threading.Thread(target=server.serve_forever, daemon=True).start()
repo = f"http://127.0.0.1:{server.server_address[1]}"

def agent(*arguments):
    command = [sys.executable, "edgeops-agent.pyz", *arguments, "--home", "home", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    return {"exit": done.returncode, "said": done.stdout, "words": done.stderr[-800:]}

update = ("update", "--repo", repo, "--root", "root.json", "--target", "gateway",
          "--channel", "stable", "--device-id", "arm64-1")
predict = (
    "import sys, json; sys.path.insert(0, 'edgeops-agent.pyz')\\n"
    "import numpy as np\\n"
    "from edgeops.runtime import Predictor\\n"
    "answer = Predictor('home/current', 'gateway').predict({'x': np.ones((1, 4), np.float32)})\\n"
    "print(json.dumps({name: value.tolist() for name, value in answer.items()}))\\n"
)
first, again = agent(*update), agent(*update)
done = subprocess.run([sys.executable, "-c", predict], capture_output=True, text=True)
print(json.dumps({"first": first, "again": again,
                  "answer": done.stdout, "words": done.stderr[-800:]}))
"""


@pytest.fixture
def home(userland):  # noqa: F811 - pytest's way of naming what a test needs
    """Return a folder of the userland's home, seen from this machine, and remove it."""
    folder = Path(userland.home) / "agent-test"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def test_it_takes_an_update_and_answers(userland, home, tmp_path):  # noqa: F811
    world = make_world(tmp_path / "world")
    write(world.states[1], home / "repo")
    (home / "root.json").write_bytes(world.root)
    (home / "driver.py").write_text(_DRIVER)
    agent_pyz.make(home / "edgeops-agent.pyz")
    shell = UserlandShell(emulated_enter.enter(userland))
    done = shell.run("cd agent-test && python3 driver.py", timeout_s=_TIMEOUT_S)
    assert done.code == 0, done.err
    told = json.loads(done.out.splitlines()[-1])
    assert told["first"]["exit"] == 0, told["first"]
    first, again = (json.loads(told[name]["said"]) for name in ("first", "again"))
    assert (first["outcome"], first["current"]["version"]) == ("updated", "1.1.0")
    assert (again["outcome"], again["requests"]) == ("current", 2)
    answer = json.loads(told["answer"] or told["words"])["probabilities"]

    here = Device(tmp_path / "here", world.root)
    assert here.update(world.states[1]) == "updated"
    expected = Predictor(here.home / "current", "gateway").predict({"x": np.ones((1, 4), "f4")})
    np.testing.assert_allclose(answer, expected["probabilities"], rtol=1e-5, atol=1e-6)
