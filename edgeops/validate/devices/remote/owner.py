"""Whose a work folder on a device is: its name says which process of which host made it.

A host that was killed cannot remove what it left on a device. The next process of that host which
reaches the device sees by the name that the maker is gone, and removes it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
from pathlib import Path

_SHORT = 8
_PARTS = 5
# Folders that this very process could not remove, the connection being lost: they count as dead.
_abandoned: set[str] = set()


def new() -> str:
    """Return a name for a work folder: host, boot, process, its start, and something random."""
    pid = os.getpid()
    return ".".join((_host(), _boot(), str(pid), _started(pid), secrets.token_hex(4)))


def abandon(name: str) -> None:
    """Remember that this process is done with a folder it could not remove."""
    _abandoned.add(name)


def dead(name: str) -> bool:
    """Return whether a process of this host made the folder and is gone; others' are not judged."""
    parts = name.split(".")
    if name in _abandoned:
        return True
    if len(parts) != _PARTS or parts[0] != _host():
        return False
    if parts[1] != _boot():
        return True
    return not parts[2].isdecimal() or _started(int(parts[2])) != parts[3]


def _host() -> str:
    about = [platform.node(), _text("/etc/machine-id")]
    try:
        # Containers on one machine may share the rest, and do not see each other's processes.
        about.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - it is no path to a file
    except OSError:
        about.append("")
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:_SHORT]


def _boot() -> str:
    boot = _text("/proc/sys/kernel/random/boot_id") or "unknown"
    return boot.replace("-", "")[:_SHORT]


def _started(pid: int) -> str:
    """Return when a process started, in ticks since boot; ``gone`` when there is none."""
    stat = _text(f"/proc/{pid}/stat")
    if stat:
        # The name in parentheses may hold anything; the start is field 22, state the third.
        state, *fields = stat.rpartition(")")[2].split()
        return "gone" if state in "ZX" else fields[18]
    if Path("/proc/self/stat").exists():
        return "gone"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return "there"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
