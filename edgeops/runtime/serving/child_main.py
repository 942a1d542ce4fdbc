"""The process that holds an isolated model: loads it, then answers frames until the socket ends."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping


def main() -> int:
    """Serve the socket whose number is given; arguments are those that ``child`` passes."""
    from edgeops.runtime.probe.parent import end_with_parent

    number, parent, slot, target, threads, key = sys.argv[2:8]
    if not end_with_parent(int(parent), signal.SIGKILL):
        return 1
    # The server hears both, and ends this process when its last call is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # It is never the terminal's foreground: where that lets no other group write (stty tostop), what
    # an engine prints would stop it.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    from edgeops.runtime.serving.turns import lowly, soon

    lowly(_imports)
    from edgeops.runtime.serving import wire
    from edgeops.runtime.serving.child import receive, send, unreadable

    link = socket.socket(fileno=int(number))
    try:
        from edgeops.runtime.serving.local import Local
        from edgeops.runtime.serving.options import Options

        options = Options(target=target or None, threads=int(threads), key=key or None)
        model = Local(Path(slot), options)
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is its answer
        send(link, wire.encode({"error": _told(error)}, {}), None)
        return 1
    soon()
    send(link, wire.encode(_about(model), {}), None)
    while True:
        try:
            head, values = receive(link, None)
        except (EOFError, OSError):
            return 0
        except MemoryError:  # where the next frame begins is not known
            return 1
        except Exception as error:  # noqa: BLE001 - it was read to its end and holds no request
            send(link, wire.encode({"error": _told(unreadable(error))}, {}), None)
            continue
        try:
            work = model.run if head["do"] == "run" else model.predict
            answer: Mapping[str, Any] = work(values)
            send(link, wire.encode({}, answer), None)
        except OSError:
            return 1
        except Exception as error:  # noqa: BLE001 - as above
            send(link, wire.encode({"error": _told(error)}, {}), None)


def _imports() -> None:
    """Import what takes long before the model does, so that it disturbs nobody."""
    import numpy as np  # noqa: F401

    from edgeops.runtime import predictor  # noqa: F401


def _about(model: Any) -> dict[str, Any]:
    def plain(tensors: Any) -> list[Any]:
        return [[each.name, list(each.shape), each.dtype] for each in tensors]

    return {
        "digest": model.digest,
        "version": model.version,
        "target": model.target,
        "inputs": [[*each] for each in model.inputs],
        "tensors": plain(model.tensors),
        "arrays": plain(model.arrays),
        "outputs": plain(model.outputs),
        "fallback": model.fallback(),
    }


def _told(error: Exception) -> dict[str, str]:
    if not isinstance(error, EdgeopsError):
        error = raised(error)
    told: dict[str, str] = error.to_json()["error"]
    return {**told, "class": type(error).__name__}


def raised(error: Exception) -> RefusedError:
    """Return the error for what an engine raises that is none of ours."""
    return RefusedError(
        "model-failed",
        "the model failed while it was asked",
        why=f"{type(error).__name__}: {error}",
        fix="see whether the request is what the model was made for, then the model itself",
    )
