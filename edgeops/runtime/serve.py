"""The other end of ``runtime.worker``: runs a worker file in another environment's Python.

Started as ``python -I serve.py WORKER PARENT``. It imports nothing but the standard library, so
that it runs beside any package in any Python from 3.8 on, and never edgeops. A request is a line
of JSON on standard input, its answer a line on standard output; whatever else the worker or its
libraries print goes to standard error, and they read nothing from standard input.

Requests are ``{"api", "id", "do", "with"}``; ``do`` names a function of the worker file (``check``,
``convert``, ``load``, ``run``) or is ``hello``, ``with`` holds its keyword arguments. Answers are ``{"api", "id", "ok"}`` with what the function returned, or
``{"api", "id", "error": {"kind", "why"}}`` with what it raised.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from typing import Any

API = 1
PUBLIC = ("check", "convert", "load", "run")


def main() -> None:
    """Answer requests until standard input ends."""
    worker, parent = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C too, and ends this
    _die_with(parent)
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.argv = [worker]
    functions: dict[str, Any] = {}
    for line in requests:
        answers.write(_answer(line, worker, functions) + b"\n")
        answers.flush()


def _answer(line: bytes, worker: str, functions: dict[str, Any]) -> bytes:
    request: dict[str, Any] = {}
    try:
        request = json.loads(line)
        if request["api"] != API:
            raise ValueError(f"this worker speaks protocol {API}, not {request['api']}")
        if not functions:
            functions.update(runpy.run_path(worker, run_name="worker"))
        return _line(request, {"ok": _function(request["do"], functions)(**request["with"])})
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a library raises is its answer
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rpartition(os.sep)[2]}:{last.lineno}"
        text = str(error).strip() or f"raised in {where}"
        if isinstance(error, SystemExit):
            text = f"it ended itself with status {error.code} in {where}"
        return _line(request, {"error": {"kind": type(error).__name__, "why": text}})


def _function(do: str, functions: dict[str, Any]) -> Any:
    if do == "hello":
        return _hello
    if do not in PUBLIC or not callable(functions.get(do)):
        raise ValueError(f"this worker has no {do!r}")
    return functions[do]


def _hello(imports: list[str]) -> dict[str, Any]:
    """Import what the worker is going to need; an environment that cannot is none."""
    for name in imports:
        importlib.import_module(name)
    return {"python": ".".join(map(str, sys.version_info[:3])), "imported": imports}


def _line(request: dict[str, Any], answer: dict[str, Any]) -> bytes:
    return json.dumps({"api": API, "id": request.get("id"), **answer}).encode()


def _die_with(parent: int) -> None:
    """End when the parent does, however it ends: Linux sends the signal, else the pipe tells."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, linux/prctl.h
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    main()
