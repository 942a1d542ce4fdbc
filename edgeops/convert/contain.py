"""The risky part of a conversion in a process of its own, with limits on time and memory.

Converters crash, hang, abort and answer "success" on failure, so a conversion is believed only
when this process comes back with a proof. Protocol: one JSON request on standard input, one JSON
answer on standard output; whatever libraries print goes to standard error and is quoted when the
process dies without an answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops import errors
from edgeops.core.files import disk_errors
from edgeops.errors import EdgeopsError, Finding, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

API = 1
TIMEOUT_S = 900.0
_MEMORY = 6 * 1024**3
_MEMORY_PER_BYTE = 12  # original, prepared, optimized and serialized copies, and their weights
_LAST_LINES = 6
_LAST_CHARACTERS = 600


def contained(
    request: Mapping[str, Any], *, model_bytes: int, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Run ``convert.work.work`` on a request in a fresh process and return its answer.

    Raises what the work raised, or RefusedError ``convert-crashed``, ``convert-timeout`` or
    ``convert-memory`` with the last words of the process.
    """
    memory = _MEMORY + _MEMORY_PER_BYTE * model_bytes
    message = json.dumps({"api": API, "memory": memory, "request": dict(request)})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edgeops.convert.contain"],
            input=message,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RefusedError(
            "convert-timeout",
            f"converting for {request['engine']} took longer than {timeout_s:g} s and was ended",
            where=str(request["engine"]),
            why=_last_words(error.stderr),
            fix="convert without simplifying (simplify: false), or a smaller model",
        ) from error
    answer = _answer(done.stdout)
    if answer is None:
        raise _crash(done, str(request["engine"]), memory)
    if "error" in answer:
        raise _raised(answer["error"])
    return answer


def _answer(text: str) -> dict[str, Any] | None:
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and answer.get("api") == API else None


def _raised(told: Mapping[str, Any]) -> EdgeopsError:
    kind = getattr(errors, told["kind"], RefusedError)
    error: EdgeopsError = kind(
        told["code"],
        told["what"],
        where=told["where"],
        why=told["why"],
        fix=told["fix"],
        findings=[Finding(**finding) for finding in told["findings"]],
        result=told["result"],
    )
    return error


def _crash(done: subprocess.CompletedProcess[str], engine: str, memory: int) -> RefusedError:
    words = _last_words(done.stderr)
    if "bad_alloc" in done.stderr or "MemoryError" in done.stderr:
        return RefusedError(
            "convert-memory",
            f"converting for {engine} needed more than {memory // 1024**2} MiB and was ended",
            where=engine,
            why=words,
            fix="convert without simplifying (simplify: false), or a smaller model",
        )
    how = f"ended with status {done.returncode}"
    if done.returncode < 0:
        how = f"died of {signal.Signals(-done.returncode).name}"
    return RefusedError(
        "convert-crashed",
        f"converting for {engine} {how} without a result",
        where=engine,
        why=words,
        fix="convert without simplifying (simplify: false); if that dies too, report the model",
    )


def _last_words(text: str | bytes | None) -> str:
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    lines = [line.rstrip() for line in (text or "").splitlines() if line.strip()]
    words = "\n".join(lines[-_LAST_LINES:])[-_LAST_CHARACTERS:]
    return f"its last words:\n{words}" if words else "it said nothing"


def main() -> int:
    """Answer the request on standard input."""
    answer_to = os.dup(1)
    os.dup2(2, 1)
    message = json.load(sys.stdin)
    _limit(message["memory"])
    from edgeops.convert.work import failure, work

    request = message["request"]
    try:
        with disk_errors(Path(request["out"]).parent):
            answer: dict[str, Any] = {"api": API, **work(request)}
    except EdgeopsError as error:
        answer = {"api": API, "error": failure(error)}
    with os.fdopen(answer_to, "w") as out:
        json.dump(answer, out)
    return 0


def _limit(memory: int) -> None:
    """Bound the address space, and die with the parent, so that nothing is left behind."""
    if sys.platform != "linux":
        return
    import ctypes
    import resource

    death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
    ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))


if __name__ == "__main__":
    sys.exit(main())
