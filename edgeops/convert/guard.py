"""Hold a conversion on a leash: ``python -m edgeops.convert.guard``, a process beside it.

Protocol: one JSON request on standard input; on standard output one JSON report of what became of
it. The work itself runs in a fork, the leader of a process group of its own, without network and
with few places to write to; when it ends, dies or takes too long, everything that it started is
ended too. Converters crash, hang, print where answers go, and leave processes behind: so this
process does nothing but watch, and imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

API = 2
_WORDS = 64 * 1024  # the end of what was printed; the rest is read and forgotten
_ANSWER = 64 * 1024 * 1024
_PIECE = 1 << 16
_BURIAL_S = 5.0
_DEATH_SIGNAL, _SUBREAPER = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, linux/prctl.h


class _Watch:
    """What is heard of the work: printed words, told lines, attempts at the network."""

    def __init__(self, words: int, told: int, listeners: socket.socket) -> None:
        self.words = bytearray()
        self.told = bytearray()
        self.network: dict[str, None] = {}
        self._listeners = listeners
        self._listener = -1
        self._poll = select.poll()
        self._pipes = {words: self._hear_words, told: self._hear_told}
        for handle in (*self._pipes, listeners.fileno()):
            os.set_blocking(handle, False)
            self._poll.register(handle, select.POLLIN)

    def wait(self, wake: int, seconds: float) -> None:
        """Hear what there is to hear; return when ``wake`` can be read or time has passed."""
        self._poll.register(wake, select.POLLIN)
        for handle, event in self._poll.poll(max(0.0, seconds) * 1000):
            if handle == wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, _PIECE)
            elif handle in self._pipes:
                self._read(handle)
            elif handle == self._listeners.fileno():
                self._meet()
            elif event & select.POLLIN:
                self._refuse(handle)
            else:
                self._poll.unregister(handle)

    def finish(self) -> None:
        """Hear what is left in the pipes."""
        for handle in self._pipes:
            while self._read(handle):
                pass

    def _refuse(self, handle: int) -> None:
        from edgeops.convert.seccomp import answer_attempt

        if name := answer_attempt(handle):
            self.network[name] = None

    def _read(self, handle: int) -> bool:
        try:
            piece = os.read(handle, _PIECE)
        except BlockingIOError:
            return False
        if not piece:
            with contextlib.suppress(KeyError):
                self._poll.unregister(handle)
            return False
        self._pipes[handle](piece)
        return True

    def _hear_words(self, piece: bytes) -> None:
        self.words += piece
        del self.words[:-_WORDS]

    def _hear_told(self, piece: bytes) -> None:
        self.told += piece[: max(0, _ANSWER - len(self.told))]

    def _meet(self) -> None:
        """Receive the handle at which refused system calls wait."""
        self._poll.unregister(self._listeners)
        with contextlib.suppress(OSError):
            _, handles, _, _ = socket.recv_fds(self._listeners, 1, 1)
            if handles:
                self._listener = handles[0]
                self._poll.register(self._listener, select.POLLIN)


def main() -> int:
    """Do what the request on standard input says, and report."""
    message = json.load(sys.stdin)
    if os.getppid() != message["parent"]:
        return 1  # whoever asked is gone already
    _bind_to_parent()
    words_in, words_out = os.pipe()
    told_in, told_out = os.pipe()
    ours, theirs = socket.socketpair()
    wake_in, wake_out = os.pipe()
    for handle in (wake_in, wake_out):
        os.set_blocking(handle, False)
    signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
    ended: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    child = os.fork()
    if not child:
        _become_worker(words_out, told_out)
        from edgeops.convert.worker import main as work

        return work(message, told_out, theirs)
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    for handle in (words_out, told_out):
        os.close(handle)
    theirs.close()
    watch = _Watch(words_in, told_in, ours)
    report = _follow(child, watch, wake_in, ended, message["timeout_s"])
    json.dump({"api": API, **report, **_heard(watch)}, sys.stdout)
    return 0


def _follow(
    child: int, watch: _Watch, wake: int, ended: list[int], timeout_s: float
) -> dict[str, Any]:
    """Wait for the child, for the time limit or for a word to stop; then end what is left."""
    start = time.monotonic()
    status, usage = None, None
    while status is None and not ended:
        left = timeout_s - (time.monotonic() - start)
        if left <= 0:
            break
        watch.wait(wake, left)
        done, found, used = os.wait4(child, os.WNOHANG)
        if done:
            status, usage = found, used
    timed_out = status is None and not ended
    if status is None:
        _kill(child)
        _, status, usage = os.wait4(child, 0)
    left_behind = _bury(child)
    watch.finish()
    code = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * (1024 if sys.platform == "linux" else 1) if usage else 0
    return {
        "code": code,
        "timed_out": timed_out,
        "left_behind": left_behind,
        "peak_bytes": peak,
        "seconds": round(time.monotonic() - start, 3),
    }


def _heard(watch: _Watch) -> dict[str, Any]:
    told: dict[str, Any] = {"words": watch.words.decode(errors="replace"), "writes": []}
    hosts: list[str] = []
    for line in watch.told.splitlines():
        try:
            item = json.loads(line)
        except ValueError:
            continue  # the work died while it was writing
        if "network" in item:
            hosts.append(item["network"])
        elif "write" in item:
            told["writes"].append(item["write"])
        else:
            told |= item
    return told | {"hosts": hosts, "programs": list(watch.network)}


def _become_worker(words: int, told: int) -> None:
    """Make this fork the leader of its own group, with nothing to read and its words recorded."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(words, 1)
    os.dup2(words, 2)
    os.set_inheritable(told, False)
    _die_with_parent(signal.SIGKILL)


def _bind_to_parent() -> None:
    """End, and end the work, when whoever asked dies; adopt what the work leaves behind."""
    _die_with_parent(signal.SIGTERM)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent(number: signal.Signals) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, int(number), 0, 0, 0)


def _kill(child: int) -> None:
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)


def _bury(group: int) -> int:
    """End and reap whatever the work started and left behind, also in sessions of its own.

    Orphans become children of this process, so that killing goes on until there are none.
    Returns how many there were.
    """
    _kill(group)
    gone = 0
    until = time.monotonic() + _BURIAL_S
    while time.monotonic() < until:
        try:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if reaped:
            gone += 1
            continue
        for orphan in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(orphan, signal.SIGKILL)
        time.sleep(0.005)
    return gone


def _children() -> list[int]:
    """Return the processes whose parent is this one, from /proc; none where there is no /proc."""
    me = os.getpid()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # "PID (NAME) STATE PPID": the name may hold spaces and brackets
            if int(path.read_text().rpartition(")")[2].split()[1]) == me:
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main())
