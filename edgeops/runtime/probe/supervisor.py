"""The measuring program as seen from outside: request, lock, the child that measures, answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.files import disk_errors
from edgeops.errors import EdgeopsError, ExitCode
from edgeops.runtime.probe import FORMAT
from edgeops.runtime.probe.leash import Cut, Leash, misunderstood
from edgeops.runtime.probe.parent import end_with_parent
from edgeops.runtime.probe.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ABOUT, MEASURE, PAIR, REPLAY = "about", "measure", "pair", "replay"
# flock cannot be waited for beside standard input, so it is asked for again and again.
_ASK_LOCK_S = 0.1


def main() -> int:
    """Answer the request on standard input; returns the exit code."""
    out = os.dup(1)
    os.dup2(2, 1)
    leash = Leash(0, out)
    request: dict[str, Any] = {}
    try:
        try:
            request = leash.request()
            if not end_with_parent(int(request.get("parent") or 0), signal.SIGTERM):
                raise Cut
            request.setdefault("do", PAIR if request.get("against") else MEASURE)
            leash.tell(_outcome(request, leash))
        except EdgeopsError as error:
            leash.tell({**error.to_json(), "exit": int(error.exit_code)})
    except Cut:
        if request.get("owned") and request.get("work"):
            shutil.rmtree(request["work"], ignore_errors=True)
        return int(ExitCode.INTERRUPTED)
    return 0


def _outcome(request: Mapping[str, Any], leash: Leash) -> dict[str, Any]:
    if request.get("format") != FORMAT:
        raise misunderstood(f"format is {request.get('format')!r}, this edgeops speaks {FORMAT!r}")
    do = request["do"]
    if do not in {ABOUT, MEASURE, PAIR, REPLAY}:
        raise misunderstood(f"do is {do!r}")
    if do == ABOUT:
        return _about(request, leash)
    with _locked(str(request.get("lock") or ""), leash):
        _make_room(request)
        return Watch(request, leash).outcome()


def _about(request: Mapping[str, Any], leash: Leash) -> dict[str, Any]:
    """Ask a child what the machine is, again without each engine that ended it."""
    skipped: dict[str, str] = {}
    while True:
        watch = Watch({**request, "skip": skipped}, leash)
        outcome = watch.outcome()
        engine = str(watch.partial.get("engine", ""))
        if "answer" in outcome or not engine or engine in skipped:
            return outcome
        error = outcome["error"]
        skipped[engine] = error["why"] or error["what"]


@contextmanager
def _locked(path: str, leash: Leash) -> Iterator[None]:
    """Hold the lock that keeps two measurements from running at the same time."""
    if not path:
        yield
        return
    import fcntl

    handle = _opened(Path(path))
    try:
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    leash.tell({"say": "step", "what": "waiting for another measurement to end"})
                told = True
                leash.wait(_ASK_LOCK_S)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """Open a lock file that may be another user's: reading is enough for a lock.

    A name without a folder lies in the folder for temporary files.
    """
    if len(path.parts) == 1:
        path = Path(tempfile.gettempdir()) / path
    with disk_errors(path):
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)


def _make_room(request: Mapping[str, Any]) -> None:
    """Leave the processors that are measured, where there are others."""
    with contextlib.suppress(AttributeError, OSError):
        others = os.sched_getaffinity(0) - set(request.get("affinity") or ())
        if others:
            os.sched_setaffinity(0, others)
