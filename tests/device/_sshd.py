"""A real sshd on 127.0.0.1 as a device: its own keys, folders and Python; ended by its process."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import venv
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path

import pytest

from tests.servers import free_port

# What ends because its connection did may take a moment to.
_MAY_LAST_S = 30
SSHD = shutil.which("sshd") or next(
    (path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if Path(path).exists()), None
)
needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh-keygen") is None,
    reason="no sshd here: install openssh-server",
)


def new_key(path):
    """Make a key pair without a passphrase and return the public key's text."""
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(keygen, check=True)
    return path.with_suffix(".pub").read_text().strip()


@dataclass
class Sshd:
    """A running sshd and the folders of the device that it stands for."""

    folder: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None
    greeting: str = ""
    host: str = "127.0.0.1"
    # What it is started by: a command that enters another network.
    inside: tuple[str, ...] = ()

    @property
    def home(self):
        """Where edgeops's files lie on the device."""
        return self.folder / "cache" / "edgeops"

    @property
    def bin(self):
        """What comes first on the device's PATH."""
        return self.folder / "bin"

    @property
    def host_line(self):
        """The line of a known_hosts file that vouches for it."""
        key = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        return f"[{self.host}]:{self.port} {key}\n"

    @property
    def address(self):
        return f"{getuser()}@{self.host}:{self.port}"

    def start(self):
        """Start it and wait until it listens."""
        environment = {
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "TMPDIR": str(self.folder / "tmp"),
            **self.environment,
        }
        given = " ".join(shlex.quote(f"{k}={v}") for k, v in environment.items())
        settings = {
            "Port": str(self.port),
            "ListenAddress": self.host,
            "HostKey": str(self.folder / "host_key"),
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "MaxStartups": "100",
            "MaxSessions": "50",
            # After the account's own start files, which may put other folders on the PATH.
            "ForceCommand": f'{self.greeting}exec env {given} /bin/sh -c "$SSH_ORIGINAL_COMMAND"',
            **self.settings,
        }
        config = self.folder / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        log = self.folder / "sshd.log"
        # Absolute, for sshd starts itself anew for each connection.
        argv = [*self.inside, SSHD, "-D", "-f", str(config.absolute()), "-E", str(log.absolute())]
        self.process = subprocess.Popen(argv, start_new_session=True)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex((self.host, self.port)) == 0:
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        pytest.fail(f"sshd did not start: {log.read_text()}")

    def sessions(self):
        """Return the process ids of sshd's children: one for each connection."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if self.process and int(fields[1]) == self.process.pid:
                found.append(int(stat.parent.name))
        return found

    def cut(self):
        """End all connections, as a device that is switched off does, but say so."""
        for pid in self.sessions():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def stop(self):
        """End it and all its connections."""
        if self.process is None:
            return
        self.cut()
        self.process.kill()
        self.process.wait()
        self.process = None

    def python(self, text):
        """Have ``python3`` on the device be a script of sh."""
        path = self.bin / "python3"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def bare_python(self):
        """Have ``python3`` on the device be one without numpy and engines; return its folder."""
        folder = self.folder / "venv"
        venv.create(folder, symlinks=True)
        self.python(f'exec {shlex.quote(str(folder / "bin" / "python3"))} "$@"')
        return next(folder.glob("lib/python*/site-packages"))

    def running(self):
        """Return what runs on the device below its folder, by /proc."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                where = str((process / "cwd").readlink())
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if where.startswith(str(self.folder)) or str(self.home) in command:
                found.append(command)
        return found

    def left(self):
        """Return the work folders that lie about on the device."""
        work = self.home / "work"
        return sorted(path.name for path in work.iterdir()) if work.is_dir() else []


def make_sshd(folder, **more):
    """Lay out a device's folder and return its sshd, not started yet."""
    for name in ("bin", "cache", "tmp"):
        (folder / name).mkdir(parents=True)
    new_key(folder / "host_key")
    made = Sshd(folder, free_port(), **more)
    made.python(f'exec {shlex.quote(sys.executable)} "$@"')
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    return made


def let_in(sshd, home):
    """Give the user of a home a key that the device takes, and vouch for the device's key."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    key = folder / "id_ed25519"
    if not key.exists():
        new_key(key)
    (sshd.folder / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    with (folder / "known_hosts").open("a") as file:
        file.write(sshd.host_line)
    if not (folder / "config").exists():
        write_config(home)


def write_config(home, text=""):
    """Write the ssh config of a home; the ssh program does not look there by itself."""
    folder = home / ".ssh"
    (folder / "config").write_text(
        f"{text}\nHost *\n  IdentityFile {folder}/id_ed25519\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n"
    )


@contextmanager
def running_sshd(folder, **more):
    """Yield a started sshd, ended afterwards."""
    sshd = make_sshd(folder, **more)
    try:
        yield sshd.start()
    finally:
        sshd.stop()


@pytest.fixture(params=["asyncssh", "program"])
def way(request, monkeypatch):
    """Have devices over ssh be reached by asyncssh, then by the ssh program."""
    if request.param == "asyncssh":
        pytest.importorskip("asyncssh", reason="asyncssh is not installed: pip install asyncssh")
    elif shutil.which("ssh") is None:
        pytest.skip("no ssh here: install openssh-client")
    monkeypatch.setenv("EDGEOPS_SSH", request.param)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return request.param


@pytest.fixture
def sshd(tmp_path):
    """Start a device that lets the test's user in; nothing may be left on it afterwards."""
    if SSHD is None:
        pytest.skip("no sshd here: install openssh-server")
    with running_sshd(tmp_path / "device") as made:
        let_in(made, Path.home())
        yield made
        until = time.monotonic() + _MAY_LAST_S
        while made.running() and time.monotonic() < until:
            time.sleep(0.05)
        assert made.running() == []
        assert made.left() == []
