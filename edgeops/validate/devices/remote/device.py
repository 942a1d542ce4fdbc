"""What all devices that are elsewhere share, built on a ``Shell``: files, work folders, the probe.

On the device lies one folder, ``home``::

    blobs/sha256/HEX     every file that was sent, once, under the digest of its bytes
    parts/HEX            what came over of a file before the connection was lost
    work/ID/             one for each reach, removed at its end: files/, parts/
    do-HEX               the script device.sh

A kind of device makes a ``Shell`` and hands it to ``reached``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import sha256_bytes, sha256_file
from edgeops.core.files import disk_errors, inside
from edgeops.errors import EdgeopsError, InputError, TransportError
from edgeops.validate.devices.remote import owner
from edgeops.validate.devices.remote.asking import ask
from edgeops.validate.devices.remote.lacking import engines_there
from edgeops.validate.devices.remote.trouble import failed, full, nothing_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeops.core.contracts import Tell
    from edgeops.validate.devices.remote.shell import Done, Shell

HOME = "${XDG_CACHE_HOME:-$HOME/.cache}/edgeops"
# One lock for all users of a device, and for `local` on the same machine.
LOCK = "edgeops-device-local.lock"
_TIMEOUT_S = 60.0
# Adding up digests of large files takes a slow device its time.
_SUMS_S = 900.0
_PUSHES = 3
_NO_SCRIPT = "=script"
_ABOUT_S = 120.0


@contextmanager
def reached(
    shell: Shell,
    home: str = HOME,
    *,
    name: str,
    python: str = "python3",
    lock: str = LOCK,
    emulated: bool = False,
) -> Iterator[RemoteDevice]:
    """Yield the device behind a shell, with a work folder that is removed at the end.

    ``home`` is a folder there, absolute, below ``~/``, or the words of a shell that name it;
    ``python`` is the command that runs Python there.
    """
    device = RemoteDevice(shell, home, name=name, python=python, lock=lock, emulated=emulated)
    device.enter()
    try:
        yield device
    finally:
        device.leave()


class RemoteDevice:
    """A reached device that is elsewhere.

    ``sent_bytes`` counts what was sent to it: files, commands and what they read.
    """

    api = 1

    def __init__(
        self,
        shell: Shell,
        home: str,
        *,
        name: str,
        python: str = "python3",
        lock: str = LOCK,
        emulated: bool = False,
    ) -> None:
        self.name = name
        self.emulated = emulated
        self.shell = shell
        self.python = python
        self.sent_bytes = 0
        self.home = home
        self._lock = lock
        self._id = owner.new()
        self._script = ""
        self._program = ""

    @property
    def work(self) -> str:
        """The work folder of this reach on the device."""
        return f"{self.home}/work/{self._id}"

    @property
    def files(self) -> str:
        """The folder on the device that paths of push, pull and requests are relative to."""
        return f"{self.work}/files"

    def reach(self, address: str) -> Any:
        """Refuse: this one is reached already."""
        message = f"{self.shell.where} is reached already; {address!r} is not asked for"
        raise RuntimeError(message)

    def enter(self) -> None:
        """Make the work folder, and remove those of processes of this host that are gone."""
        try:
            self._enter()
        except BaseException:
            self.leave()
            raise

    def _enter(self) -> None:
        script = _script()
        self._script = f"{self.home}/do-{sha256_bytes(script)[:12]}"
        # A device whose power went may have the file without its contents.
        command = (
            f"h={_word(self.home)}; f=$h/{Path(self._script).name}; "
            f'[ -f "$f" ] && [ $(($(wc -c <"$f"))) -eq {len(script)} ] && '
            f'exec sh "$f" reach "$h" {self._id}; echo {_NO_SCRIPT}'
        )
        lines = self._lines(self._sh(command))
        if _NO_SCRIPT in lines:
            self._install(script)
            lines = self._lines(self._sh(command))
        said = [line[1:].partition(" ") for line in lines]
        self.home = next(text for verb, _, text in said if verb == "home")
        self._script = f"{self.home}/{Path(self._script).name}"
        gone = {text for verb, _, text in said if verb == "old"}
        gone |= {text for verb, _, text in said if verb == "work" and owner.dead(text)}
        if gone := {each for each in gone if re.fullmatch(r"[A-Za-z0-9._-]+", each)}:
            self._do("sweep", *sorted(gone))

    def leave(self) -> None:
        """Remove the work folder and end what still runs in it.

        Never raises for a device that is gone: what lies there is removed at the next reach.
        """
        try:
            self._do("leave")
        except (EdgeopsError, OSError):
            owner.abandon(self._id)
        except BaseException:
            owner.abandon(self._id)
            raise

    def probe(self) -> dict[str, Any]:
        """Return what the device is: what the measuring program there answers to ``about``."""
        about = self.run({"do": "about"}, timeout_s=_ABOUT_S)
        engines = engines_there(about.get("engines", {}), self.shell, self.python)
        return {**about, "name": self.name, "where": self.shell.where, "engines": engines}

    def push(self, source: Path, destination: str) -> None:
        """Copy a file or folder onto the device; what is there already is not sent again.

        Raises InputError ``path-outside``, MissingError ``device-disk-full``, TransportError
        ``device-lost`` or ``device-transfer``.
        """
        goal = _relative(destination)
        kind = "folder" if source.is_dir() else "file"
        files = _listed(source)
        by_sum = {entry.sha: entry for entry in files}
        listing = "".join(f"{entry.line}\n" for entry in files).encode()
        for _ in range(_PUSHES):
            lines = self._do("push", goal, kind, stdin=listing, timeout_s=_SUMS_S)
            if "=done" in lines:
                return
            wanted = [line.split() for line in lines if line.startswith("=need ")]
            needed = [(by_sum[sha], int(have)) for _, sha, have in wanted]
            self._refuse_full(lines, sum(entry.size - have for entry, have in needed))
            for entry, have in {entry.sha: (entry, have) for entry, have in needed}.values():
                self.shell.put(entry.path, f"{self.work}/parts/{entry.sha}", offset=have)
                self.sent_bytes += entry.size - have
        raise TransportError(
            "device-transfer",
            f"{source.name} does not arrive as it was sent",
            where=self.shell.where,
            why=f"the digest of what came over was wrong {_PUSHES - 1} times",
            fix="look for a failing disk or memory on the device (dmesg), then run it again",
        )

    def pull(self, source: str, destination: Path) -> None:
        """Copy a file or folder from the device, and check each digest.

        Raises FileNotFoundError when it is not there, TransportError ``device-lost`` or
        ``device-transfer``.
        """
        lines = self._do("list", _relative(source), timeout_s=_SUMS_S)
        if not lines:
            message = f"{self.shell.where} has no {source}"
            raise FileNotFoundError(message)
        folder = "=folder" in lines
        with disk_errors(destination):
            if folder:
                destination.mkdir(parents=True, exist_ok=True)
            for line in lines:
                if not line.startswith("=file "):
                    continue
                _, sha, _, path = line.split(" ", 3)
                inner = path.removeprefix("./")
                goal = inside(destination, inner) if folder else destination
                goal.parent.mkdir(parents=True, exist_ok=True)
                there = f"{self.files}/{source}" + (f"/{inner}" if folder else "")
                self._got(there, goal, sha)

    def run(
        self, request: Mapping[str, Any], *, timeout_s: float, tell: Tell | None = None
    ) -> dict[str, Any]:
        """Run the measuring program there on a request, in a process of its own.

        Raises what the program reports, MissingError ``device-no-python``, ``device-old-python``
        or ``probe-failed``, TransportError ``device-lost`` or ``probe-timeout`` with what had been
        measured in ``partial`` of the result.
        """
        if not self._program:
            self._program = self._sent_program()
        command = f"cd {shlex.quote(self.files)} && exec {self.python} {self._program}"
        asked = {"work": self.work, "owned": True, "lock": self._lock, **request}
        self.sent_bytes += len(command) + len(json.dumps(asked))
        return ask(self.shell, command, asked, timeout_s=timeout_s, tell=tell, python=self.python)

    def _sent_program(self) -> str:
        from edgeops.validate.pyz import program

        path = program()
        self.push(path, path.name)
        return f"{shlex.quote(self.home)}/blobs/sha256/{sha256_file(path)}"

    def _install(self, script: bytes) -> None:
        name = Path(self._script).name
        command = (
            f"umask 077; h={_word(self.home)}; f=$h/{name}; t=$f.{self._id}; "
            f'mkdir -p "$h" && cat >"$t" && [ $(($(wc -c <"$t"))) -eq {len(script)} ] '
            '&& mv -f "$t" "$f"'
        )
        self._sh(command, stdin=script)

    def _refuse_full(self, lines: Sequence[str], needed: int) -> None:
        for line in lines:
            kilobytes = line.removeprefix("=free ")
            if line.startswith("=free ") and kilobytes.isdecimal():
                free = int(kilobytes) * 1024
                if free < needed:
                    why = f"{needed / 1e6:.1f} MB are to be sent, {free / 1e6:.1f} MB are free"
                    raise full(self.shell.where, self.home, why)

    def _got(self, there: str, goal: Path, sha: str) -> None:
        for _ in range(_PUSHES):
            self.shell.get(there, goal)
            if sha256_file(goal) == sha:
                return
        goal.unlink(missing_ok=True)
        raise TransportError(
            "device-transfer",
            f"{Path(there).name} does not arrive as it was sent",
            where=self.shell.where,
            why=f"the digest of what came over was wrong {_PUSHES} times",
            fix="look for a failing disk or memory on the device (dmesg), then run it again",
        )

    def _do(
        self, verb: str, *args: str, stdin: bytes = b"", timeout_s: float = _TIMEOUT_S
    ) -> list[str]:
        words = shlex.join(["sh", Path(self._script).name, verb, ".", self._id, *args])
        command = f"cd {shlex.quote(self.home)} && {words}"
        lines = self._lines(self._sh(command, stdin=stdin, timeout_s=timeout_s))
        if "=nosum" in lines:
            raise nothing_sums(self.shell.where)
        return lines

    def _sh(self, command: str, *, stdin: bytes = b"", timeout_s: float = _TIMEOUT_S) -> Done:
        self.sent_bytes += len(command) + len(stdin)
        done = self.shell.run(command, stdin=stdin, timeout_s=timeout_s)
        if done.code:
            raise failed(self.shell.where, self.home, done)
        return done

    @staticmethod
    def _lines(done: Done) -> list[str]:
        text = done.out.decode("utf-8", "surrogateescape")
        return [line for line in text.splitlines() if line.startswith("=")]


class Unreached:
    """What a kind of device is before it is reached: parts of the contract that refuse."""

    api = 1

    def probe(self) -> dict[str, Any]:
        """Refuse: nothing is reached."""
        raise _not_reached()

    def push(self, source: Path, destination: str) -> None:  # noqa: ARG002 - the contract's names
        """Refuse: nothing is reached."""
        raise _not_reached()

    def pull(self, source: str, destination: Path) -> None:  # noqa: ARG002 - the contract's names
        """Refuse: nothing is reached."""
        raise _not_reached()

    def run(
        self,
        request: Mapping[str, Any],  # noqa: ARG002 - the contract's names
        *,
        timeout_s: float,  # noqa: ARG002
        tell: Tell | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Refuse: nothing is reached."""
        raise _not_reached()


class _Entry:
    """A file to send: where it lies here, its digest and size, and its line for the device."""

    def __init__(self, path: Path, inner: str) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.sha = sha256_file(path)
        mode = "x" if os.access(path, os.X_OK) else "-"
        self.line = f"{self.sha}|{self.size}|{mode}|{inner}"


def _listed(source: Path) -> list[_Entry]:
    if not source.is_dir():
        return [_Entry(source, "")]
    inner = {path: path.relative_to(source).as_posix() for path in sorted(source.rglob("*"))}
    for name in inner.values():
        if "\n" in name or "|" in name:
            raise InputError(
                "device-file-name",
                f"the file name {name!r} cannot be sent to a device",
                where=str(source),
                why="it holds a line end or a |",
                fix="give the file another name",
            )
    return [_Entry(path, name) for path, name in inner.items() if path.is_file()]


def _relative(path: str) -> str:
    """Return a path below the work folder; raises InputError ``path-outside``."""
    # Names only: a folder that is not here holds no links.
    root = Path("/nowhere")
    return inside(root, path).relative_to(root).as_posix()


def _word(home: str) -> str:
    """Return a folder as a word of sh: what begins with ``$`` names variables itself."""
    if home.startswith("$"):
        return f'"{home}"'
    if home == "~" or home.startswith("~/"):
        return f'"$HOME"{shlex.quote(home[1:])}' if home[1:] else '"$HOME"'
    return shlex.quote(home)


@cache
def _script() -> bytes:
    return Path(__file__).with_name("device.sh").read_bytes()


def _not_reached() -> RuntimeError:
    message = "reach the device first: it has no work folder"
    return RuntimeError(message)
