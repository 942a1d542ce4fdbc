"""What lies where in the agent's home, as far as serving looks at it (docs/formats/agent.md)."""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeops.runtime.serving.options import Options

KEY = "device.key"
CURRENT, PREVIOUS, STATE, SOCKET = "current", "previous", "state.json", "serve.sock"
# What the kernel takes as the name of a socket, without the zero at its end.
_MOST_NAME = 107


def led_to(home: Path, name: str = CURRENT) -> Path | None:
    """Return the folder that a link of the home leads to, None when there is none."""
    path = home / name
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def state_of(home: Path) -> dict[str, Any]:
    """Return what the agent's state file says, nothing when it cannot be read."""
    try:
        document = json.loads((home / STATE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def aimed(options: Options, home: Path, slot: Path) -> Options:
    """Return the options with the target that the agent chose for a slot, unless they name one.

    The key that opens sealed files is ``HOME/device.key`` where there is one and none is named.
    """
    key = home / KEY
    if options.key is None and key.is_file():
        options = replace(options, key=str(key))
    if options.target:
        return options
    state = state_of(home)
    for name in ("current", "previous", "candidate"):
        entry = state.get(name)
        if isinstance(entry, dict) and entry.get("slot") == slot.name and entry.get("target"):
            return replace(options, target=str(entry["target"]))
    return options


@contextmanager
def address(home: Path) -> Iterator[str]:
    """Yield a name of the home's socket that the kernel takes, however long the path is."""
    path = str(home.resolve() / SOCKET)
    if len(os.fsencode(path)) <= _MOST_NAME:
        yield path
        return
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)


def connected(home: Path, seconds: float | None) -> socket.socket | None:
    """Return a socket that is connected to the server of a home, None when there is none."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(seconds)
        with address(home) as name:
            link.connect(name)
    except OSError:
        link.close()
        return None
    return link
