"""What the agent did, a line of JSON an event, in a file that does not grow for ever.

The log holds at most ``log_bytes`` of ``HOME/agent.json`` in two halves: the older half is
``log.1.ndjson``. It is for people; nothing is decided by it, and a disk on which it cannot be written
stops nothing.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgeops.runtime.agent import files
from edgeops.runtime.agent.clock import stamp, utc_now

if TYPE_CHECKING:
    from pathlib import Path

FILE, OLDER = "log.ndjson", "log.1.ndjson"
POLICY = "agent.json"
LIMIT = 256 * 1024
LEAST, MOST = 8192, 1 << 26
_MOST_LINE = 4096
_MOST_TEXT = 600


def write(home: Path, event: str, **fields: Any) -> str:
    """Append an event with the time of this machine, and return "" or the line that was not written."""
    line = encode({"at": stamp(utc_now()), "event": event, **fields})
    try:
        path = home / FILE
        if path.exists() and path.stat().st_size + len(line) > _limit(home) // 2:
            path.replace(home / OLDER)
        # One write, so that a kill leaves the line or nothing, or a part that the next line ends.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
        files.give(path)
    except OSError:
        return line.decode()
    return ""


def read(home: Path) -> list[dict[str, Any]]:
    """Return the events, oldest first; lines that a kill left unfinished are passed over."""
    events = []
    for name in (OLDER, FILE):
        with suppress(OSError):
            for line in (home / name).read_bytes().splitlines():
                with suppress(ValueError):
                    document = json.loads(line)
                    if isinstance(document, dict):
                        events.append(document)
    return events


def encode(event: dict[str, Any]) -> bytes:
    """Return an event as one line; long texts are cut, for servers and hooks may say anything."""
    short = {key: _short(value) for key, value in event.items()}
    line = json.dumps(short, ensure_ascii=True, default=str)
    if len(line) >= _MOST_LINE:
        line = json.dumps({"at": short.get("at"), "event": short.get("event"), "cut": len(line)})
    return line.encode() + b"\n"


def _limit(home: Path) -> int:
    """Return what the policy says; whoever writes keeps to it, and a policy that is none has none."""
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        said = json.loads((home / POLICY).read_bytes())["log_bytes"]
        if type(said) is int and LEAST <= said <= MOST:
            return said
    return LIMIT


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _MOST_TEXT:
        return value[:_MOST_TEXT] + "..."
    return value
