"""The risky part of a conversion in a process of its own: the side that asks.

Converters crash, hang, abort and answer "success" on failure, so a conversion is believed only
when it comes back with a proof. The guard (``convert.guard``) keeps time and ends what is left;
the worker (``convert.worker``) shuts itself in; here the room is prepared and the end judged.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.convert import outcome
from edgeops.convert.guard import API
from edgeops.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT_S = 900.0
MEMORY = 6 * 1024**3
MEMORY_PER_BYTE = 12  # original, prepared, optimized and serialized copies, and their weights
_PATIENCE_S = 30.0  # for the guard itself, beyond the time limit that it keeps
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")


def contained(
    request: Mapping[str, Any], *, model_bytes: int, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Run ``convert.work.work`` on a request in a fresh, contained process; return its answer.

    It may write below ``request["out"]`` and its scratch folder, gets no network, ``timeout_s``
    seconds and a bound on memory. The answer gets ``peak_bytes`` and more ``notes``. Raises what
    the work raised, or as ``outcome.judge`` does.
    """
    engine = str(request["engine"])
    memory = MEMORY + MEMORY_PER_BYTE * model_bytes
    before = _unfenced_listing(request)
    with tempfile.TemporaryDirectory(prefix="edgeops-") as scratch:
        message = {
            "parent": os.getpid(),
            "memory": memory,
            "timeout_s": timeout_s,
            "places": [str(request["out"]), scratch],
            "request": dict(request),
        }
        report = _guarded(message, scratch, engine)
    if before is not None:
        after = _listing(request)
        new = sorted(n for n in {*after, *before} if after.get(n) != before.get(n))
        if new:
            raise outcome.strayed(engine, new, report["words"])
    answer = outcome.judge(report, engine=engine, memory=memory, timeout_s=timeout_s)
    notes = [*answer.get("notes", []), *outcome.notes(report)]
    if before is not None:
        notes.append("this system cannot confine where the converter writes; nothing was seen")
    return answer | {"notes": notes, "peak_bytes": report["peak_bytes"]}


def _guarded(message: Mapping[str, Any], scratch: str, engine: str) -> dict[str, Any]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "edgeops.convert.guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=scratch,
        env=dict(environment(scratch)),
        start_new_session=True,
    )
    try:
        told, said = process.communicate(
            json.dumps(message).encode(), timeout=message["timeout_s"] + _PATIENCE_S
        )
    except subprocess.TimeoutExpired as error:
        raise _no_guard(engine, error.stderr or b"") from error
    finally:
        _dismiss(process)
    try:
        report = json.loads(told)
    except ValueError:
        report = None
    if not isinstance(report, dict) or report.get("api") != API:
        raise _no_guard(engine, said)
    return report


def environment(scratch: str) -> Iterator[tuple[str, str]]:
    """Yield the environment of a contained process: this one's, without what leads elsewhere."""
    import site

    from edgeops.core import environment as environments

    for name, value in os.environ.items():
        if name.lower() in _PROXIES or (name.startswith("XDG_") and name.endswith("_HOME")):
            continue
        yield name, value
    if os.environ.get("PYTHONPATH"):
        paths = os.environ["PYTHONPATH"].split(os.pathsep)
        yield "PYTHONPATH", os.pathsep.join(str(Path(path).absolute()) for path in paths)
    if site.ENABLE_USER_SITE:
        yield "PYTHONUSERBASE", site.getuserbase()
    yield environments.PLACE, str(environments.place())
    for name in ("HOME", "TMPDIR", "TEMP", "TMP"):
        yield name, scratch
    yield "CI", "true"  # OpenVINO's telemetry and others are silent in CI
    yield "DO_NOT_TRACK", "1"
    yield "PIP_NO_INDEX", "1"
    yield "HF_HUB_OFFLINE", "1"
    yield "OPENBLAS_NUM_THREADS", "1"  # its threads would start before the doors are shut


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    """End the guard, which ends the work, when it has not ended by itself."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _no_guard(engine: str, said: bytes) -> RefusedError:
    return RefusedError(
        "convert-crashed",
        f"the process that watches the conversion for {engine} died",
        where=engine,
        why=outcome.last_words(said.decode(errors="replace")),
        fix="see that Python can start and write to its temporary folder, and try again",
    )


def _unfenced_listing(request: Mapping[str, Any]) -> dict[str, tuple[int, int]] | None:
    """Return the listing to compare with afterwards, None where the kernel confines writing."""
    from edgeops.convert.landlock import version

    return None if version() else _listing(request)


def _listing(request: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return size and time of change of all files beside the model and beside the output."""
    folders = {Path(request["model"]).parent, Path(request["out"]).parent}
    found = {}
    for folder in folders:
        for entry in os.scandir(folder):
            if entry.path == str(request["out"]) or not entry.is_file(follow_symlinks=False):
                continue
            about = entry.stat(follow_symlinks=False)
            found[entry.path] = (about.st_size, about.st_mtime_ns)
    return found
