"""What a device over ssh keeps, with a real sshd, through asyncssh and through the ssh program."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from edgeops.errors import InputError, TrustError
from edgeops.runtime.probe import read_outputs
from edgeops.validate.devices.ssh.device import SshDevice
from tests.device._sshd import needs_sshd
from tests.helpers import build_tree
from tests.measuring import pushed

pytestmark = needs_sshd


@pytest.fixture
def reached(way, sshd):
    with SshDevice().reach(sshd.address) as found:
        yield found


def test_it_says_what_it_is_and_where(reached, sshd):
    about = reached.probe()
    assert about["name"] == "ssh"
    assert about["where"] == f"ssh:{sshd.address}"
    assert about["cores"] >= 1
    assert about["engines"]["onnxruntime"]["version"]
    json.dumps(about)


def test_what_was_pushed_comes_back(reached, tmp_path):
    build_tree(tmp_path / "one", {"a file": b"\0\1", "sub/empty": b"", "sub/x": "text"})
    (tmp_path / "one" / "none").mkdir()
    reached.push(tmp_path / "one", "there")
    reached.push(tmp_path / "one" / "a file", "deep/alone")
    reached.pull("there", tmp_path / "back")
    reached.pull("deep/alone", tmp_path / "alone")
    files = {
        path.relative_to(tmp_path / "back").as_posix(): path.read_bytes()
        for path in (tmp_path / "back").rglob("*")
        if path.is_file()
    }
    assert files == {"a file": b"\0\1", "sub/empty": b"", "sub/x": b"text"}
    assert (tmp_path / "alone").read_bytes() == b"\0\1"


def test_a_program_stays_one_that_can_be_run(reached, tmp_path, sshd):
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    reached.push(program, "tool")
    done = reached.shell.run(f"{reached.files}/tool", timeout_s=60)
    assert done.out == b"ran\n"


@pytest.mark.parametrize("path", ["../outside", "/etc/outside"])
def test_it_writes_only_into_its_folder(reached, tmp_path, path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError) as refused:
        reached.push(tmp_path / "file", path)
    assert refused.value.code == "path-outside"


def test_what_is_not_there_is_not_pulled(reached, tmp_path):
    with pytest.raises(FileNotFoundError):
        reached.pull("nothing", tmp_path / "nothing")


def test_it_measures_and_evaluates(reached, tmp_path):
    told = []
    request = pushed(reached, tmp_path)
    request |= {"data": request["few"], "out": "out.npz"}
    answer = reached.run(request, timeout_s=60, tell=told.append)
    assert len(answer["latency_ns"]) >= 10
    reached.pull("out.npz", tmp_path / "out.npz")
    outputs = read_outputs(tmp_path / "out.npz", answer["outputs"])
    assert np.allclose(outputs["probabilities"].sum(axis=1), 1)
    assert {"start", "load"} <= {said.get("phase") for said in told if said["say"] == "phase"}


def test_it_hands_on_what_the_program_refuses(reached, tmp_path):
    request = pushed(reached, tmp_path)
    (tmp_path / "v" / "model.onnx").write_bytes(b"changed")
    reached.push(tmp_path / "v", "v")
    with pytest.raises(TrustError) as refused:
        reached.run(request, timeout_s=60)
    assert refused.value.code == "digest-mismatch"
    assert refused.value.where.startswith("ssh:")


def test_it_refuses_a_request_of_another_version(reached, tmp_path):
    with pytest.raises(InputError) as refused:
        reached.run({"format": "edgeops.probe/0", "do": "about"}, timeout_s=60)
    assert refused.value.code == "probe-request"


def test_what_is_there_is_not_sent_again(way, sshd, tmp_path):
    (tmp_path / "big").write_bytes(np.random.default_rng(0).bytes(300_000))
    sent = []
    for _ in range(2):
        with SshDevice().reach(sshd.address) as reached:
            reached.push(tmp_path / "big", "big")
            reached.run(pushed(reached, tmp_path), timeout_s=60)
            reached.pull("big", tmp_path / "back")
            sent.append(reached.sent_bytes)
    assert sent[0] > 300_000
    assert sent[1] < 4_000
    assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()


def test_a_file_that_went_bad_on_the_device_is_sent_again(way, sshd, tmp_path):
    (tmp_path / "file").write_bytes(b"good" * 1000)
    for _ in range(2):
        with SshDevice().reach(sshd.address) as reached:
            reached.push(tmp_path / "file", "file")
            reached.pull("file", tmp_path / "back")
        for blob in (sshd.home / "blobs" / "sha256").iterdir():
            blob.chmod(0o600)
            blob.write_bytes(b"evil" * 1000)
    assert (tmp_path / "back").read_bytes() == b"good" * 1000


def test_a_script_that_lost_its_contents_is_sent_again(way, sshd):
    with SshDevice().reach(sshd.address):
        pass
    (script,) = sshd.home.glob("do-*")
    whole = script.read_bytes()
    script.write_bytes(b"")
    with SshDevice().reach(sshd.address):
        pass
    assert script.read_bytes() == whole


def test_words_of_the_login_shell_are_no_part_of_files(way, sshd, tmp_path):
    sshd.stop()
    # As a .bashrc does that greets whoever logs in.
    sshd.greeting = "echo Welcome; echo '=done'; echo '{\"answer\": 1'; "
    sshd.start()
    (tmp_path / "file").write_bytes(b"\0=edgeops\nno greeting")
    with SshDevice().reach(sshd.address) as reached:
        reached.push(tmp_path / "file", "file")
        reached.pull("file", tmp_path / "back")
        assert reached.run({"do": "about"}, timeout_s=60)["python"]
    assert (tmp_path / "back").read_bytes() == b"\0=edgeops\nno greeting"


def test_two_measurements_never_share_the_device(way, sshd, tmp_path):
    running, most = [], []

    def tell(said):
        if said.get("phase") == "load":
            running.append(1)
            most.append(len(running))
        if said.get("phase") == "latency":
            running.pop()

    def measure(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        with SshDevice().reach(sshd.address) as reached:
            reached.run({**pushed(reached, folder), "seconds": 0.5}, timeout_s=60, tell=tell)

    threads = [threading.Thread(target=measure, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert most == [1, 1, 1]


def test_a_folder_of_a_home_with_blanks_is_one_folder(way, sshd, tmp_path):
    home = tmp_path / "a home's place"
    with SshDevice().reach(f"{sshd.address}?home={home}") as reached:
        request = pushed(reached, tmp_path)
        assert reached.run(request, timeout_s=60)["load_ms"] > 0
        assert len(list((home / "work").iterdir())) == 1
    assert list((home / "work").iterdir()) == []


def test_no_thread_is_left_behind(way, sshd):
    before = set(threading.enumerate())
    with SshDevice().reach(sshd.address):
        pass
    assert set(threading.enumerate()) <= before  # one of another test may have ended meanwhile


def test_the_python_to_use_is_part_of_the_address(way, sshd, tmp_path):
    other = tmp_path / "other python"
    (sshd.bin / "python3").rename(other)
    with SshDevice().reach(f"{sshd.address}?python={other}") as reached:
        assert reached.probe()["python"]
