"""A shell over ssh through the ssh program: one connection that its other calls share."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edgeops.validate.devices.remote.process import Lines, end, run_process
from edgeops.validate.devices.remote.shell import Done, arriving, leaving
from edgeops.validate.devices.remote.trouble import failed, last_words, lost
from edgeops.validate.devices.ssh import config as ssh_config
from edgeops.validate.devices.ssh import trouble
from edgeops.validate.devices.ssh.words import (
    After,
    commanded,
    get_command,
    patience,
    put_command,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeops.errors import EdgeopsError
    from edgeops.validate.devices.remote.shell import Deadline
    from edgeops.validate.devices.ssh.address import Address

_READY = b"=ready"
# The code that ssh itself ends with when it fails; a command may end with it too.
_SSH_FAILED = 255
_OTHER_KEY = ("IDENTIFICATION HAS CHANGED", "REVOKED HOST KEY")
_WHOSE = re.compile(
    r"host key (?:is known )?for (\S+) (?:and you|has changed|is marked)", re.IGNORECASE
)
_OPEN_S = trouble.CONNECT_S + trouble.LOGIN_S
_SCAN_S = 5
# What no config may change, on the way to the host neither.
_TRUST = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
    "NoHostAuthenticationForLocalhost": "no",
    "VerifyHostKeyDNS": "no",
}


@contextmanager
def connected(address: Address) -> Iterator[ProgramShell]:
    """Yield a shell over a new connection, which is closed at the end.

    A first ssh makes the connection and lets others share it through a socket in a private folder.
    It runs a ``cat`` that reads from here, so that it ends when this process does, however that is.
    """
    ssh = shutil.which("ssh") or "ssh"
    # The system's own folder: a socket's path may have only about a hundred characters.
    base = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes it private
    with tempfile.TemporaryDirectory(prefix="edgeops-ssh-", dir=base) as folder:
        config = Path(folder) / "config"
        config.write_text(_config())
        common = [ssh, "-F", str(config), *_options(address), "-S", str(Path(folder) / "s")]
        host = address.host
        first = [*common, "-M", "--", host, commanded("echo =ready; exec cat >/dev/null")]
        pipe = subprocess.PIPE
        with (
            tempfile.TemporaryFile() as words,
            subprocess.Popen(
                first, stdin=pipe, stdout=pipe, stderr=words, start_new_session=True
            ) as master,
        ):
            try:
                _opened(address, master, words)
                yield ProgramShell(address, [*common, "-o", "ControlMaster=no"], master)
            finally:
                end(master)


class ProgramShell:
    """A shell on a host; each command is one more ssh that shares the connection."""

    def __init__(
        self, address: Address, common: Sequence[str], master: subprocess.Popen[bytes]
    ) -> None:
        self.where = f"ssh:{address.text}"
        self.login = address.login
        self._host = address.host
        self._common = common
        self._master = master

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float | Deadline,
        on_line: Callable[[str], None] | None = None,
        leash: bool = False,
    ) -> Done:
        """Run a command line of ``sh`` there; as ``Shell.run``."""
        lines = Lines(on_line) if on_line else None
        take = lines.feed if lines else None
        done = self._run(command, timeout_s, take, stdin=stdin, leash=leash)
        if lines:
            lines.end()
        return done

    def put(self, source: Path, path: str, *, offset: int = 0) -> None:
        """Write a file, or what of it follows ``offset``, to the end of one there.

        Raises MissingError ``device-disk-full`` or ``device-not-writable``, TransportError
        ``device-lost``.
        """
        with leaving(source, offset) as (file, size):
            done = self._run(put_command(path, offset), patience(size), source=file)
        if done.code:
            raise failed(self.where, path, done)

    def get(self, path: str, destination: Path) -> None:
        """Copy a file from there; ``destination`` is left out when that fails.

        Raises TransportError ``device-lost``, MissingError ``disk-full`` or ``device-shell``.
        """
        with arriving(destination) as file:
            # No limit of its own: while bytes come the device is there, and when none come the
            # connection counts as lost.
            done = self._run(get_command(path), float("inf"), take=file.write)
            if done.code:
                raise failed(self.where, path, done)

    def _run(
        self,
        command: str,
        timeout_s: float | Deadline,
        take: Callable[[bytes], object] | None = None,
        **more: Any,
    ) -> Done:
        if self._master.poll() is not None:
            raise lost(self.where, "the connection was closed")
        argv = [*self._common, "--", self._host, commanded(command)]
        out = bytearray()
        after = After(take or out.extend)
        done = run_process(argv, where=self.where, timeout_s=timeout_s, take=after, **more)
        if done.code == _SSH_FAILED and self._gone():
            raise lost(self.where, last_words(done.err) or "the connection was closed")
        return Done(done.code, bytes(out), done.err)

    def _gone(self) -> bool:
        """Return whether the connection is over; the master may need a moment to notice."""
        try:
            self._master.wait(1)
        except subprocess.TimeoutExpired:
            return False
        return True


def _config() -> str:
    """Return a config of which ssh and the ssh that it starts for each jump host take the first words.

    Options of the command line hold for the host alone; the file is handed on from hop to hop. It
    names the account's own files too, which ssh would not read beside it.
    """
    lines = [f"{name} {value}" for name, value in _TRUST.items()]
    return "\n".join([*lines, *(f'Include "{file}"' for file in ssh_config.files())]) + "\n"


def _options(address: Address) -> list[str]:
    """Return the options that hold whatever the config says: ssh takes the first it is given."""
    said = {
        "ConnectTimeout": str(trouble.CONNECT_S),
        "ServerAliveInterval": str(trouble.ALIVE_S),
        "ServerAliveCountMax": str(trouble.ALIVE_TIMES),
        "ControlPersist": "no",
        # Commands and requests are much alike: the second costs a tenth of the first.
        "Compression": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "RemoteCommand": "none",
        "RequestTTY": "no",
        "LogLevel": "ERROR",
        "EscapeChar": "none",
    }
    found = [word for name, value in said.items() for word in ("-o", f"{name}={value}")]
    found += ["-l", address.user] if address.user else []
    found += ["-p", str(address.port)] if address.port else []
    return found


def _opened(address: Address, master: subprocess.Popen[bytes], words: IO[bytes]) -> None:
    """Wait until the connection is made; raises why it is not."""
    assert master.stdout is not None  # noqa: S101 - a pipe, for mypy
    handle = master.stdout.fileno()
    until = time.monotonic() + _OPEN_S
    heard = b""
    with selectors.DefaultSelector() as selector:
        selector.register(handle, selectors.EVENT_READ)
        while _READY not in heard:
            if not selector.select(max(0, until - time.monotonic())):
                raise trouble.silent(address, address.text)
            piece = os.read(handle, 4096)
            if not piece:
                master.wait()
                words.seek(0)
                raise _why(address, words.read().decode(errors="replace"))
            heard += piece
    # Nobody reads it any more: a login shell that goes on talking must not be held up.
    master.stdout.close()


def _why(address: Address, words: str) -> EdgeopsError:
    """Return the error that ssh's words stand for."""
    last = last_words(words.encode())
    if any(text in words for text in (*_OTHER_KEY, "Host key verification failed")):
        return _distrusted(address, words)
    if "configuration option" in words or ("keyword" in words and "line" in words):
        return trouble.bad_config(last)
    return trouble.told(address, words, last) or trouble.closed(
        address, last or "ssh ended without a word"
    )


def _distrusted(address: Address, words: str) -> EdgeopsError:
    host, port = _named(address, words)
    place = trouble.place(host, port)
    key, known = _scanned(host, port), "~/.ssh/known_hosts"
    if any(text in words for text in _OTHER_KEY):
        return trouble.changed_key(address, place, key[0], known)
    return trouble.unknown_key(address, place, key, known)


def _named(address: Address, words: str) -> tuple[str, int]:
    """Return host and port whose key ssh speaks of: those of a jump host, it may be."""
    named = _WHOSE.search(words)
    if named is None:
        return address.host, address.port or trouble.PORT
    host, _, port = named[1].removeprefix("[").partition("]:")
    return host, int(port or trouble.PORT)


def _scanned(host: str, port: int) -> tuple[str, str]:
    """Return fingerprint and known_hosts line of the key a host shows; empty when it shows none."""
    lines = _said(["ssh-keyscan", "-T", str(_SCAN_S), "-t", "ed25519", "-p", str(port), host])
    keys = [line for line in lines.splitlines() if line and not line.startswith("#")]
    if not keys:
        return "", ""
    shown = _said(["ssh-keygen", "-lf", "-"], keys[0]).split()
    return (shown[1] if len(shown) > 1 else ""), keys[0]


def _said(argv: Sequence[str], stdin: str = "") -> str:
    try:
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, check=False, timeout=_OPEN_S
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
