"""What breaks while a device over ssh is used; afterwards the next run ends with the same result."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeops.errors import MissingError, TransportError
from edgeops.runtime.probe import read_outputs
from edgeops.validate.devices.remote import asking
from edgeops.validate.devices.remote import device as remote
from edgeops.validate.devices.ssh import trouble as ssh_trouble
from edgeops.validate.devices.ssh.device import SshDevice
from tests.device._proxy import Proxy
from tests.device._sshd import let_in, needs_sshd, running_sshd
from tests.measuring import pushed

pytestmark = [needs_sshd, pytest.mark.slow]

BIG = 9_000_000
ALIVE_S = ssh_trouble.ALIVE_S


@pytest.fixture
def proxy(sshd, monkeypatch):
    """Put a proxy before the device, and have a dead connection be noticed soon."""
    monkeypatch.setattr(ssh_trouble, "ALIVE_S", 1)
    monkeypatch.setattr(ssh_trouble, "ALIVE_TIMES", 2)
    made = Proxy(sshd.port)
    key = sshd.host_line.split(" ", 1)[1]
    with (Path.home() / ".ssh" / "known_hosts").open("a") as file:
        file.write(f"[127.0.0.1]:{made.port} {key}")
    made.address = f"127.0.0.1:{made.port}"
    yield made
    made.close()


@pytest.fixture
def big(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(np.random.default_rng(0).bytes(BIG))
    return path


def until(true, seconds=90):
    """Wait until something is true; fail when it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def outputs(reached, folder, **more):
    """Measure a tiny variant and return what it answers to its samples."""
    request = pushed(reached, folder)
    request |= {"data": request["few"], "out": "out.npz", **more}
    answer = reached.run(request, timeout_s=60)
    reached.pull("out.npz", folder / "out.npz")
    return read_outputs(folder / "out.npz", answer["outputs"])["probabilities"]


def goes_on(sshd, folder, big, address=None):
    """Reach the device again: all is as if nothing had happened; return how much was sent."""
    with SshDevice().reach(address or sshd.address) as reached:
        reached.push(big, "big")
        reached.pull("big", folder / "big-back")
        found = outputs(reached, folder)
        sent = reached.sent_bytes
    assert (folder / "big-back").read_bytes() == big.read_bytes()
    assert np.allclose(found.sum(axis=1), 1)
    assert sshd.left() == []
    return sent


@pytest.mark.parametrize("fault", ["cut", "freeze", "device killed"])
def test_lost_while_pushing(fault, way, sshd, proxy, big, tmp_path):
    acts = {"cut": proxy.cut, "freeze": proxy.freeze, "device killed": sshd.cut}
    proxy.after(BIG * 3 // 4, acts[fault])
    with (
        pytest.raises(TransportError) as lost,
        SshDevice().reach(proxy.address) as reached,
    ):
        reached.push(big, "big")
    assert lost.value.code == "device-lost"
    proxy.cut()
    proxy.thaw()
    # What came over lies in the work folder that could not be removed, and is found there.
    sent = goes_on(sshd, tmp_path, big)
    # Up to 2 MB may have been on the way from sshd to what writes the file.
    assert sent < BIG * 0.8, "the part that came over was sent again"


@pytest.mark.parametrize("fault", ["cut", "freeze", "device killed"])
def test_lost_while_measuring(fault, way, sshd, proxy, big, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "HEARTBEAT_S", 10)
    acts = {"cut": proxy.cut, "freeze": proxy.freeze, "device killed": sshd.cut}

    def tell(said):
        if said.get("phase") == "latency":
            acts[fault]()

    with (
        pytest.raises(TransportError) as lost,
        SshDevice().reach(proxy.address) as reached,
    ):
        reached.run({**pushed(reached, tmp_path), "sustained_s": 60}, timeout_s=90, tell=tell)
    assert lost.value.code == "device-lost"
    assert lost.value.result["partial"]["phase"] == "latency"
    # Nobody is there to end it: the device does so by itself.
    until(lambda: not sshd.running())
    assert sshd.left() == []
    proxy.cut()
    proxy.thaw()
    goes_on(sshd, tmp_path, big)


@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_lost_while_pulling(fault, way, sshd, proxy, big, tmp_path):
    acts = {"cut": proxy.cut, "freeze": proxy.freeze}
    started = threading.Event()

    def act():
        started.wait(90)
        acts[fault]()

    def for_ever(reached):
        reached.push(big, "big")
        started.set()
        while True:
            reached.pull("big", tmp_path / "back")

    thread = threading.Thread(target=act)
    thread.start()
    with pytest.raises(TransportError) as lost, SshDevice().reach(proxy.address) as reached:
        for_ever(reached)
    thread.join()
    assert lost.value.code == "device-lost"
    assert not (tmp_path / "back").exists() or (tmp_path / "back").stat().st_size == BIG
    proxy.cut()
    proxy.thaw()
    goes_on(sshd, tmp_path, big)


def test_device_that_is_gone_between_two_steps(way, sshd, big, tmp_path):
    with SshDevice().reach(sshd.address) as reached:
        sshd.stop()
        with pytest.raises(TransportError) as lost:
            reached.push(big, "big")
    assert lost.value.code == "device-lost"
    with pytest.raises(TransportError) as lost, SshDevice().reach(sshd.address):
        pass
    assert lost.value.code == "device-unreachable"
    sshd.start()
    goes_on(sshd, tmp_path, big)


_NETWORKS = itertools.count()


@pytest.fixture
def far(tmp_path, monkeypatch):
    """Start a device in a network of its own, which one cable leads to; yield it and the cable."""
    ip = shutil.which("ip")
    # Each of its own: what still runs in one that was removed keeps it, and the names of its cable.
    name = f"eo{os.getpid() % 100_000}{next(_NETWORKS)}"
    ends = (f"{name}a", f"{name}b")
    # Addresses that are set aside for measurements between networks.
    here, there = "198.18.77.1", "198.18.77.2"
    steps = [
        f"netns add {name}",
        f"link add {ends[0]} type veth peer name {ends[1]} netns {name}",
        f"addr add {here}/30 dev {ends[0]}",
        f"link set {ends[0]} up",
        f"-n {name} addr add {there}/30 dev {ends[1]}",
        f"-n {name} link set {ends[1]} up",
    ]
    try:
        for step in steps:
            if ip is None or subprocess.run([ip, *step.split()], check=False).returncode:
                pytest.skip("no network of its own can be made here: it takes iproute2 and root")
        monkeypatch.setattr(ssh_trouble, "ALIVE_S", 1)
        monkeypatch.setattr(ssh_trouble, "ALIVE_TIMES", 2)
        inside = (ip, "netns", "exec", name)
        with running_sshd(tmp_path / "device", host=there, inside=inside) as made:
            let_in(made, Path.home())
            yield (
                made,
                lambda state: subprocess.run([ip, "link", "set", ends[0], state], check=True),
            )
    finally:
        if ip is not None:
            for gone in (f"link del {ends[0]}", f"netns del {name}"):
                subprocess.run([ip, *gone.split()], check=False, stderr=subprocess.DEVNULL)


def test_cable_that_is_pulled_while_a_file_goes_over(way, far, tmp_path):
    sshd, cable = far
    big = tmp_path / "big"
    big.write_bytes(np.random.default_rng(0).bytes(60_000_000))
    threading.Thread(target=pulled_when, args=(sshd, 20_000_000, cable)).start()
    with pytest.raises(TransportError) as lost, SshDevice().reach(sshd.address) as reached:
        reached.push(big, "big")
    assert lost.value.code == "device-lost"
    with pytest.raises(TransportError) as lost, SshDevice().reach(sshd.address):
        pass
    assert lost.value.code == "device-unreachable"
    cable("up")
    assert goes_on(sshd, tmp_path, big) < 50_000_000
    # The end of the first connection never came: sshd and what it started still wait for it, until
    # the next reach has ended what it ran.
    until(lambda: not sshd.running())


def pulled_when(sshd, size, cable):
    """Pull the cable when so much of a file is there."""
    parts = lambda: [part.stat().st_size for part in sshd.home.glob("work/*/parts/*")]  # noqa: E731
    until(lambda: max(parts(), default=0) > size)
    cable("down")


HOST = """
import sys
from pathlib import Path
sys.path.insert(0, {checkout!r})
from edgeops.validate.devices.ssh.device import SshDevice
from tests.measuring import pushed
with SshDevice().reach({address!r}) as reached:
    if {what!r} == "push":
        print("ready", flush=True)
        while True:
            Path({big!r}).write_bytes(Path({big!r}).read_bytes()[::-1])
            reached.push(Path({big!r}), "big")
    request = pushed(reached, Path({folder!r}))
    tell = lambda said: said.get("phase") == "latency" and print("ready", flush=True)
    reached.run({{**request, "sustained_s": 60}}, timeout_s=90, tell=tell)
"""


def host(sshd, folder, big, what):
    """Start another process that uses the device; return it when it does ``what``."""
    (folder / "host").mkdir()
    code = HOST.format(
        checkout=str(Path(__file__).parents[2]),
        address=sshd.address,
        folder=str(folder / "host"),
        big=str(big),
        what=what,
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("what", ["run", "push"])
def test_host_that_is_killed(what, way, sshd, big, tmp_path):
    with host(sshd, tmp_path, big, what) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # The connection ends with the process, and with it what ran there.
    until(lambda: not sshd.running())
    goes_on(sshd, tmp_path, big)
    assert sshd.left() == []


@pytest.mark.parametrize("what", ["run", "push"])
def test_host_that_is_interrupted(what, way, sshd, big, tmp_path):
    with host(sshd, tmp_path, big, what) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    until(lambda: not sshd.running())
    assert sshd.left() == []
    goes_on(sshd, tmp_path, big)


def test_work_folder_of_a_living_process_is_left_alone(way, sshd, big, tmp_path):
    with host(sshd, tmp_path, big, "run") as process:
        with SshDevice().reach(sshd.address):
            assert len(sshd.left()) == 2
        assert len(sshd.left()) == 1
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.fixture
def small_disk(sshd):
    """Have the device's files lie on a disk of 4 MB."""
    place = sshd.folder / "cache"
    mount = shutil.which("mount")
    argv = [mount or "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if mount is None or subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here: it takes root")
    yield place
    subprocess.run(["umount", str(place)], check=True)  # noqa: S607 - beside mount


def grown(place):
    argv = ["mount", "-o", "remount,size=64m", str(place)]
    subprocess.run(argv, check=True)


def test_disk_that_is_too_small_is_seen_before(way, sshd, small_disk, big, tmp_path):
    with pytest.raises(MissingError) as full, SshDevice().reach(sshd.address) as reached:
        reached.push(big, "big")
    assert full.value.code == "device-disk-full"
    assert re.search(r"9\.0 MB are to be sent, \d\.\d MB are free", full.value.why)
    assert sshd.left() == []
    grown(small_disk)
    goes_on(sshd, tmp_path, big)


def test_disk_that_fills_up_while_a_file_comes(way, sshd, small_disk, big, tmp_path, monkeypatch):
    monkeypatch.setattr(remote.RemoteDevice, "_refuse_full", lambda *_: None)
    with pytest.raises(MissingError) as full, SshDevice().reach(sshd.address) as reached:
        reached.push(big, "big")
    assert full.value.code == "device-disk-full"
    assert sshd.left() == []
    grown(small_disk)
    assert goes_on(sshd, tmp_path, big) < BIG * 0.8, "the part that came over was sent again"


def test_disk_that_fills_up_while_it_measures(way, sshd, small_disk, tmp_path):
    with SshDevice().reach(sshd.address) as reached:
        request = pushed(reached, tmp_path)
        reached.run(request, timeout_s=60)
        rest = os.statvfs(small_disk)
        (small_disk / "filler").write_bytes(bytes(rest.f_bavail * rest.f_frsize))
        with pytest.raises(MissingError) as full:
            reached.run({**request, "data": request["few"], "out": "out.npz"}, timeout_s=60)
        assert full.value.code == "device-disk-full"
        (small_disk / "filler").unlink()
        assert outputs(reached, tmp_path).shape == (40, 3)


def test_second_run_sends_little_over_the_wire(way, sshd, proxy, big, tmp_path, monkeypatch):
    # Signs of life are counted too, and a busy machine takes long: so no more of them than usual.
    monkeypatch.setattr(ssh_trouble, "ALIVE_S", ALIVE_S)
    counts = []
    for _ in range(2):
        before = proxy.sent
        with SshDevice().reach(proxy.address) as reached:
            reached.push(big, "big")
            request = pushed(reached, tmp_path)
            for _ in range(3):
                reached.run(request, timeout_s=60)
        counts.append(proxy.sent - before)
    assert counts[0] > BIG
    assert counts[1] < 10_000, json.dumps(counts)
