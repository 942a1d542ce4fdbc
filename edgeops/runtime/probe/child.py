"""The process that measures: tells what it does, and answers; the supervisor watches over it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.events import Silence
from edgeops.errors import EdgeopsError, InputError, TransportError
from edgeops.runtime import pulse
from edgeops.runtime.probe import FORMAT
from edgeops.runtime.probe.parent import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Session, Tell

_ADVANCE_S = 0.1
# Between 0 and 1000: of what runs here, the child is to be killed first when memory runs out.
_KILL_FIRST = "500"


def main(arguments: Sequence[str]) -> int:
    """Answer the request on standard input; arguments are the pulse's descriptor and the parent."""
    out = os.dup(1)
    os.dup2(2, 1)
    handle, parent = map(int, arguments)
    if not end_with_parent(parent, signal.SIGKILL):
        return 1
    # The leash is the supervisor's: a key that a person presses is not to end this alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_KILL_FIRST)
    request = json.loads(sys.stdin.readline())
    pulse.attach(handle)

    def tell(message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(out, data) :]

    try:
        tell({"answer": {"format": FORMAT, **_answer(request, tell)}})
    except EdgeopsError as error:
        tell({**error.to_json(), "exit": int(error.exit_code)})
    except MemoryError as error:
        short = _short_of_memory(str(error))
        tell({**short.to_json(), "exit": int(short.exit_code)})
    return 0


def _answer(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    if request["do"] == "about":
        from edgeops.runtime.probe.about import about

        return about(request, tell)
    _stay_on(request.get("affinity") or ())
    from edgeops.runtime.probe import single

    if request["do"] == "pair":
        return single.pair(request, tell)
    return single.replay(request, tell) if request["do"] == "replay" else single.one(request, tell)


def _stay_on(cpus: Sequence[int]) -> None:
    """Run on these processors only, as will what the engine starts; none = any."""
    if not cpus:
        return
    try:
        os.sched_setaffinity(0, cpus)
    except (AttributeError, OSError, ValueError) as error:
        there = f"it has {os.cpu_count()}, counted from 0"
        raise InputError(
            "affinity-unknown",
            f"the device cannot measure on the processors {list(cpus)}",
            where="affinity",
            why=f"{error}; {there}"
            if hasattr(os, "sched_setaffinity")
            else "its system has no such",
            fix="name processors that the device has, or leave affinity away",
        ) from error


def _short_of_memory(why: str) -> EdgeopsError:
    from edgeops.runtime.probe import deaths

    free = deaths.memory().available
    left = "" if free is None else f"; {free // 1_000_000} MB are available now"
    return TransportError(
        "probe-memory",
        "the memory of the device does not suffice for this measurement",
        why=f"{why or 'the system gave no more memory'}{left}",
        fix="free some memory or measure a smaller data set, then run it again",
    )


class Told(Silence):
    """Events that become lines of the answer, a few a second at most."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._parts, self._last = tell, 0, time.monotonic()

    def advance(self, parts: int = 1) -> None:
        """Say that parts are done, in sums when they come fast."""
        self._parts += parts
        if time.monotonic() - self._last >= _ADVANCE_S:
            self.flush()

    def flush(self) -> None:
        """Say what has not been said yet."""
        if self._parts:
            self._tell({"say": "advance", "parts": self._parts})
        self._parts, self._last = 0, time.monotonic()


class Watched:
    """A session whose calls the supervisor sees begin and end."""

    def __init__(self, session: Session) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self._run = session.run

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call of the session."""
        with pulse.beating():
            return self._run(arrays)
