"""Whom ssh trusts and how it gets there: host keys, logins, the user's config, jump hosts."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from edgeops.errors import EdgeopsError, InputError, MissingError, TransportError
from edgeops.validate.devices.ssh import device as ssh
from edgeops.validate.devices.ssh.device import SshDevice
from tests.device._sshd import let_in, needs_sshd, new_key, running_sshd, write_config
from tests.servers import closed_port

pytestmark = needs_sshd


def refusal(address):
    """Return the error that reaching an address raises."""
    with pytest.raises(EdgeopsError) as refused, SshDevice().reach(address):
        pytest.fail("it was reached")
    return refused.value


def fingerprint(key):
    """Return what ssh-keygen says of a public key file."""
    return said("ssh-keygen", "-lf", str(key)).split()[1]


def said(*argv):
    """Return what a program writes."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def known():
    return Path.home() / ".ssh" / "known_hosts"


def test_unknown_host_key_is_refused_with_fingerprint_and_line(way, sshd, known):
    known.write_text("")
    error = refusal(sshd.address)
    assert (error.code, type(error)) == ("device-key-unknown", MissingError)
    assert fingerprint(sshd.folder / "host_key.pub") in error.why
    line = sshd.host_line.strip()
    assert f"echo '{line}' >>" in error.fix
    known.write_text(f"{line}\n")
    with SshDevice().reach(sshd.address):
        pass


def test_changed_host_key_is_refused(way, sshd, known, tmp_path):
    other = new_key(tmp_path / "other")
    known.write_text(f"[127.0.0.1]:{sshd.port} {other}\n")
    error = refusal(sshd.address)
    assert (error.code, type(error)) == ("device-key-changed", TransportError)
    assert fingerprint(sshd.folder / "host_key.pub") in error.why
    assert f"ssh-keygen -f {known} -R" in error.fix.replace("~", str(Path.home()))
    assert not sshd.home.exists()


@pytest.mark.parametrize(
    "word",
    [
        "StrictHostKeyChecking no",
        "StrictHostKeyChecking accept-new",
        "UserKnownHostsFile none",
        "UserKnownHostsFile /dev/null",
        "NoHostAuthenticationForLocalhost yes",
    ],
)
def test_no_config_has_an_unknown_key_accepted(way, sshd, known, word):
    known.write_text("")
    write_config(Path.home(), f"Host 127.0.0.1\n  {word}")
    assert refusal(sshd.address).code == "device-key-unknown"
    assert known.read_text() == ""


def test_revoked_host_key_is_refused(way, sshd, known):
    known.write_text(f"{sshd.host_line}@revoked {sshd.host_line}")
    assert refusal(sshd.address).code == "device-key-changed"


def test_key_that_the_device_does_not_know_is_refused(way, sshd):
    (sshd.folder / "authorized_keys").write_text("")
    error = refusal(sshd.address)
    assert (error.code, type(error)) == ("device-login-refused", MissingError)
    assert f"ssh-copy-id -p {sshd.port}" in error.fix


def test_nobody_listening_is_unreachable(way, sshd):
    with closed_port() as port:
        error = refusal(f"127.0.0.1:{port}")
    assert (error.code, type(error)) == ("device-unreachable", TransportError)
    assert "refuses the connection" in error.why


def test_name_that_nobody_knows_is_unreachable(way, sshd):
    error = refusal("no-such-device.invalid")
    assert error.code == "device-unreachable"
    assert "no address is known for the name no-such-device.invalid" in error.why


def test_silence_is_unreachable(way, sshd, monkeypatch):
    monkeypatch.setattr("edgeops.validate.devices.ssh.trouble.CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        port = silent.getsockname()[1]
        # The queue of those who wait is full: nobody answers any more.
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        error = refusal(f"127.0.0.1:{port}")
        for one in waiting:
            one.close()
    assert error.code == "device-unreachable"
    assert "within 1 s" in error.why


def test_what_is_no_ssh_server_is_unreachable(way, sshd):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            client, _ = server.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        thread = threading.Thread(target=answer)
        thread.start()
        error = refusal(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert error.code == "device-unreachable"


def test_an_alias_of_the_config_is_a_host(way, sshd, known):
    user, _, _ = sshd.address.partition("@")
    write_config(
        Path.home(),
        f"Host camera\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {user}\n",
    )
    with SshDevice().reach("camera") as reached:
        assert reached.shell.where == "ssh:camera"


def test_an_alias_for_the_host_key_is_looked_up(way, sshd, known):
    key = sshd.host_line.split(" ", 1)[1]
    known.write_text(f"the-camera {key}")
    write_config(Path.home(), "Host 127.0.0.1\n  HostKeyAlias the-camera")
    with SshDevice().reach(sshd.address):
        pass


def test_included_config_counts(way, sshd):
    (Path.home() / ".ssh" / "more").write_text(
        f"Host camera\n  HostName 127.0.0.1\n  Port {sshd.port}\n"
    )
    write_config(Path.home(), f"Include {Path.home()}/.ssh/more\n")
    with SshDevice().reach("camera"):
        pass


def test_a_key_from_the_agent_does(way, sshd, monkeypatch, tmp_path):
    folder = Path.home() / ".ssh"
    (folder / "id_ed25519").rename(folder / "in-the-agent")
    (folder / "id_ed25519.pub").unlink()
    (folder / "config").write_text(f"UserKnownHostsFile {folder}/known_hosts\n")
    agent = said("ssh-agent", "-s")
    found = dict(part.split("=", 1) for part in agent.replace("\n", ";").split(";") if "=" in part)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", found["SSH_AUTH_SOCK"])
        said("ssh-add", "-q", str(folder / "in-the-agent"))
        with SshDevice().reach(sshd.address):
            pass
    finally:
        os.kill(int(found["SSH_AGENT_PID"]), 15)


def jump_config(jump, device, more=""):
    write_config(
        Path.home(),
        f"Host jump\n  HostName 127.0.0.1\n  Port {jump.port}\n{more}\n"
        f"Host camera\n  HostName 127.0.0.1\n  Port {device.port}\n  ProxyJump jump\n",
    )


@pytest.fixture
def jump(sshd, tmp_path):
    with running_sshd(tmp_path / "jump") as made:
        let_in(made, Path.home())
        yield made


def test_a_jump_host_is_taken(way, sshd, jump):
    jump_config(jump, sshd)
    with SshDevice().reach("camera") as reached:
        assert reached.probe()["python"]
    assert "Accepted publickey" in (jump.folder / "sshd.log").read_text()


@pytest.mark.parametrize(
    "words",
    [
        "UserKnownHostsFile none\n  StrictHostKeyChecking no",
        "StrictHostKeyChecking no",
        "StrictHostKeyChecking accept-new",
        "NoHostAuthenticationForLocalhost yes",
    ],
)
def test_the_key_of_a_jump_host_must_be_known_too(way, sshd, jump, known, words):
    jump_config(jump, sshd, f"  {words}")
    known.write_text(sshd.host_line)
    error = refusal("camera")
    assert error.code == "device-key-unknown"
    # Where it is to look into no file, the program does not say whose key it refuses.
    if way == "asyncssh" or "none" not in words:
        assert fingerprint(jump.folder / "host_key.pub") in error.why
    assert "Accepted" not in (sshd.folder / "sshd.log").read_text()


def test_a_jump_host_that_leads_to_itself_is_refused(sshd, monkeypatch):
    pytest.importorskip("asyncssh")
    monkeypatch.setenv("EDGEOPS_SSH", "asyncssh")
    write_config(Path.home(), "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    error = refusal("a")
    assert error.code == "device-unreachable"
    assert "ProxyJump" in error.fix


def test_a_config_that_nobody_understands_is_an_input_error(way, sshd):
    write_config(Path.home(), "Host *\n  Port many\n")
    error = refusal("127.0.0.1")
    assert (error.code, type(error)) == ("ssh-config", InputError)


def test_the_program_is_taken_where_asyncssh_does_not_understand_the_config(sshd, monkeypatch):
    pytest.importorskip("asyncssh")
    monkeypatch.delenv("EDGEOPS_SSH", raising=False)
    assert ssh.chosen() == ssh.ASYNCSSH
    write_config(Path.home(), "Host 127.0.0.1\n  RevokedHostKeys /etc/revoked\n")
    assert ssh.chosen() == ssh.PROGRAM
    write_config(Path.home(), "Host 127.0.0.1\n  IdentityFile ~/.ssh/not-there\n")
    with SshDevice().reach(sshd.address):
        pass


def test_without_both_it_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(ssh, "find_spec", lambda _: None)
    monkeypatch.setattr(ssh, "_program", lambda: False)
    error = refusal("camera")
    assert error.code == "ssh-missing"
    assert "edgeops[ssh]" in error.fix


def test_python_that_is_not_there_is_said(way, sshd):
    (sshd.bin / "python3").unlink()
    address = f"{sshd.address}?python=/nowhere/python3"
    with SshDevice().reach(address) as reached, pytest.raises(MissingError) as missing:
        reached.probe()
    assert missing.value.code == "device-no-python"
    assert "sudo apt-get install python3" in missing.value.fix


def test_python_that_is_too_old_is_said(way, sshd):
    sshd.python('case "$2" in *version_info*) echo =3.6.9;; *) echo SyntaxError >&2; exit 1;; esac')
    with SshDevice().reach(sshd.address) as reached, pytest.raises(MissingError) as missing:
        reached.probe()
    assert missing.value.code == "device-old-python"
    assert "3.6.9" in missing.value.what


def test_python_without_numpy_is_said_with_the_line_for_the_device(way, sshd, tmp_path):
    from tests.measuring import pushed

    sshd.bare_python()
    with SshDevice().reach(sshd.address) as reached:
        request = pushed(reached, tmp_path)
        with pytest.raises(MissingError) as missing:
            reached.run(request, timeout_s=60)
    assert missing.value.code == "numpy-missing"
    line = f"ssh -p {sshd.port} {sshd.address.split(':')[0]} python3 -m pip install numpy"
    assert line in missing.value.fix
    with pytest.raises(MissingError) as missing:
        SshDevice().answers(sshd.address, "onnxruntime")
    assert missing.value.code == "numpy-missing"


def test_asking_whether_it_answers_leaves_nothing(way, sshd):
    SshDevice().answers(sshd.address, "onnxruntime")
    assert not sshd.home.exists()
