"""A device over adb that has Python: measured by the same program as any other."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import numpy as np
import pytest

from edgeops.errors import InputError, TransportError
from edgeops.runtime.probe import FORMAT, read_outputs
from edgeops.validate.devices.adb.device import AdbDevice
from edgeops.validate.measured import device as reach
from tests.device._phone import commands, script
from tests.helpers import build_tree
from tests.measuring import pushed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def device(adb, tmp_path):
    """Attach a board with adbd, whose Python is this one."""
    path, shell = commands(tmp_path / "bin", android=False)
    script(path / "python3", f'exec {sys.executable} "$@"')
    return adb.attach(environment={"PATH": str(path)}, shell=shell)


@pytest.fixture
def reached(device):
    with reach(f"adb:{device.serial}") as found:
        yield found


def test_it_says_what_it_is(reached, device):
    about = reached.probe()
    assert (about["name"], about["where"]) == ("adb", f"adb:{device.serial}")
    assert about["cores"] >= 1
    assert about["engines"]["onnxruntime"]["version"]
    json.dumps(about)


def test_what_was_pushed_comes_back(reached, tmp_path):
    build_tree(tmp_path / "one", {"a file": b"\0\1", "sub/empty": b"", "sub/x": "text"})
    reached.push(tmp_path / "one", "there")
    reached.pull("there", tmp_path / "back")
    assert (tmp_path / "back" / "a file").read_bytes() == b"\0\1"
    assert (tmp_path / "back" / "sub" / "x").read_text() == "text"


def test_it_writes_only_into_its_folder(reached, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError) as refused:
        reached.push(tmp_path / "file", "../outside")
    assert refused.value.code == "path-outside"


def test_it_measures_and_evaluates(reached, tmp_path):
    told = []
    request = pushed(reached, tmp_path)
    request |= {"data": request["few"], "out": "out.npz"}
    answer = reached.run(request, timeout_s=60, tell=told.append)
    assert len(answer["latency_ns"]) >= 10
    reached.pull("out.npz", tmp_path / "out.npz")
    outputs = read_outputs(tmp_path / "out.npz", answer["outputs"])
    assert np.allclose(outputs["probabilities"].sum(axis=1), 1)
    assert any(message.get("phase") == "latency" for message in told)


def test_it_refuses_a_request_of_another_version(reached):
    with pytest.raises(InputError) as refused:
        reached.run({"format": "edgeops.probe/0", "do": "about"}, timeout_s=60)
    assert refused.value.code == "probe-request"


def test_what_is_there_is_not_sent_again(device, tmp_path):
    sent = []
    for _ in range(2):
        before = device.received
        with AdbDevice().reach(device.serial) as reached:
            request = pushed(reached, tmp_path)
            reached.run({**request, "format": FORMAT}, timeout_s=60)
        sent.append(device.received - before)
    assert sent[1] < min(sent[0], 20_000)


def left(device):
    """Return what lies about in the work folders of a device."""
    return [path for path in device.root.rglob("*") if "work" in path.parent.parts]


def test_nothing_is_left_behind(device, tmp_path):
    with AdbDevice().reach("") as reached:
        reached.run(pushed(reached, tmp_path), timeout_s=60)
        assert left(device)
    assert not left(device)
    assert not device.running()


def test_a_push_that_was_cut_is_gone_on_with(adb, device, tmp_path):
    source = tmp_path / "large"
    source.write_bytes(os.urandom(4_000_000))
    with AdbDevice().reach("") as reached:
        device.drop_after = device.received + 2_000_000
        with pytest.raises(TransportError) as failed:
            reached.push(source, "large")
    assert failed.value.code == "device-lost"
    adb.reconnect(device)
    before = device.received
    with AdbDevice().reach("") as reached:
        reached.push(source, "large")
        reached.pull("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert device.received - before < 3_000_000
    assert not left(device)


@pytest.mark.parametrize("phase", ["load", "latency"])
def test_a_device_that_goes_while_it_measures(adb, device, tmp_path, phase):
    def tell(message):
        if message.get("phase") == phase:
            device.drop()

    with AdbDevice().reach("") as reached:
        request = pushed(reached, tmp_path)
        with pytest.raises(TransportError) as failed:
            reached.run({**request, "sustained_s": 30}, timeout_s=60, tell=tell)
    assert failed.value.code == "device-lost"
    until = time.monotonic() + 60
    while device.running():
        assert time.monotonic() < until
        time.sleep(0.05)
    adb.reconnect(device)
    with AdbDevice().reach("") as reached:
        answer = reached.run(pushed(reached, tmp_path), timeout_s=60)
        assert len(answer["latency_ns"]) >= 10
    assert not left(device)


def test_several_devices_are_measured_at_once(adb, device, tmp_path):
    other = adb.attach(environment=device.environment, shell=device.shell)
    answers = {}

    def measure(serial, folder):
        folder.mkdir()
        with AdbDevice().reach(serial) as reached:
            answers[serial] = reached.run(pushed(reached, folder), timeout_s=60)

    threads = [
        threading.Thread(target=measure, args=(each.serial, tmp_path / f"m{index}"))
        for index, each in enumerate((device, other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(len(answer["latency_ns"]) >= 10 for answer in answers.values())
    assert len(answers) == 2
