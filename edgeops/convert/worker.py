"""The contained side of a conversion: shut the doors, do the work, answer once."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.files import disk_errors
from edgeops.errors import EdgeopsError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

# Imported while files may still be written: Python keeps their compiled form for the next time.
_EARLY = ("numpy", "onnx", "onnxruntime")
DEVICES = ("/dev/null", "/dev/shm")  # noqa: S108 - allowed, not used


def main(message: Mapping[str, Any], told: int, guard: socket.socket) -> int:
    """Do the request contained and tell the guard the answer; what dies here is seen there."""
    request = message["request"]
    limit(message["memory"])
    for name in _EARLY:
        if request.get("kind", "onnx") == "onnx" and find_spec(name) is not None:
            importlib.import_module(name)
    _shut(message["places"], told, guard)
    try:
        answer = _answer(request)
    except EdgeopsError as error:
        answer = {"error": failure(error)}
    _tell(told, {"answer": answer})
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # engines are known to crash while they are taken down


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    from edgeops.convert.work import work

    try:
        return work(request)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise  # also the refused writing of a converter: it dies of it, and that is judged
        with disk_errors(Path(request["out"]).parent):
            raise
        raise


def limit(memory: int) -> None:
    """Bound the address space and forbid core dumps, which would be written beside the work."""
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def failure(error: EdgeopsError) -> dict[str, Any]:
    """Return a refusal as what goes back to the parent process."""
    return {
        "kind": type(error).__name__,
        "code": error.code,
        "what": error.what,
        "where": error.where,
        "why": error.why,
        "fix": error.fix,
        "findings": [asdict(finding) for finding in error.findings],
        "result": error.result,
    }


def _shut(places: list[str], told: int, guard: socket.socket) -> None:
    import socket as sockets

    from edgeops.convert.landlock import confine_writes
    from edgeops.convert.seccomp import refuse_network
    from edgeops.convert.witness import watch

    allowed = [*places, *DEVICES]
    writes = confine_writes(allowed)
    listener = refuse_network()
    if listener is not None and listener >= 0:
        sockets.send_fds(guard, [b"n"], [listener])
        os.close(listener)
    guard.close()
    _tell(told, {"fence": {"writes": writes, "network": listener is not None}})
    watch(allowed, lambda kind, name: _mention(told, {kind: name}))


def _mention(told: int, item: Mapping[str, Any]) -> None:
    # From inside the converter's own calls: a handle that it closed is no fault of that call.
    with contextlib.suppress(OSError):
        _tell(told, item)


def _tell(told: int, item: Mapping[str, Any]) -> None:
    """Write one line for the guard."""
    data = json.dumps(item).encode() + b"\n"
    while data:
        data = data[os.write(told, data) :]
