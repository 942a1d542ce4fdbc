"""See what Python code asks for that a contained conversion does not get: hosts and files.

An audit hook (PEP 578) runs before the deed, so the kernel still decides; it only gives names to
what was refused. What programs started from here ask for is seen by ``seccomp`` alone.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Where each event has the paths that it changes, and the handle of a folder they are relative to.
_CHANGES: dict[str, tuple[tuple[int, ...], int | None]] = {
    "os.mkdir": ((0,), 2),
    "os.remove": ((0,), 1),
    "os.rmdir": ((0,), 1),
    "os.truncate": ((0,), None),
    "os.chmod": ((0,), 2),
    "os.rename": ((0, 1), 2),
    "os.link": ((1,), 3),
    "os.symlink": ((1,), 2),
}
_HOSTS = {
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.connect": 1,
    "socket.sendto": 1,
    "urllib.Request": 0,
}
# What has no lasting place on a disk; devices are the kernel's matter.
_NOWHERE = ("/dev/", "/proc/", "/sys/")


def watch(places: Sequence[str], tell: Callable[[str, str], None]) -> None:
    """Call ``tell`` with ("network", host) or ("write", path) for what is asked from now on.

    Writing below ``places`` is allowed and not told, nor is the cache of compiled modules.
    """
    allowed = tuple(os.path.realpath(place) for place in places)
    told: set[tuple[str, str]] = set()

    def once(kind: str, name: str) -> None:
        if (kind, name) not in told:
            told.add((kind, name))
            tell(kind, name)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and _strays(path, allowed):
                once("write", os.fsdecode(path))
        elif event in _CHANGES:
            for path in _paths(event, arguments):
                if _strays(path, allowed):
                    once("write", os.fsdecode(path))
        elif event in _HOSTS and (host := _host(arguments[_HOSTS[event]])):
            once("network", host)

    sys.addaudithook(hook)


def _paths(event: str, arguments: tuple[Any, ...]) -> list[Any]:
    indexes, relative_to = _CHANGES[event]
    if relative_to is not None and len(arguments) > relative_to and arguments[relative_to] != -1:
        return []  # relative to an open folder: only what may be written can be walked like this
    return [arguments[index] for index in indexes]


def _strays(path: Any, allowed: tuple[str, ...]) -> bool:
    if not isinstance(path, (str, bytes)):
        return False
    name = os.fsdecode(path)
    if name.startswith(_NOWHERE) or "__pycache__" in name or not name:
        return False
    real = os.path.realpath(name)
    return not any(real == place or real.startswith(f"{place}{os.sep}") for place in allowed)


def _host(asked: Any) -> str:
    """Return the host of an address, a URL or a name; "" for a local socket."""
    if isinstance(asked, tuple):
        asked = asked[0] if asked else ""
    elif isinstance(asked, str) and asked.startswith(os.sep):
        return ""
    if isinstance(asked, bytes):
        asked = asked.decode(errors="replace")
    if not isinstance(asked, str) or asked in ("", "localhost", "127.0.0.1", "::1"):
        return ""
    return asked.split("://", 1)[-1].split("/", 1)[0] if "://" in asked else asked
