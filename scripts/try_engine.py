# ruff: noqa: INP001 - a script of the Makefile, part of no package
"""Put an engine to the operator cases of the onnx package, and tell what check lets through.

    python scripts/try_engine.py ENGINE [--cases PATTERN] [--forms given,constants] [--no-check]
                                        [--show STATUS,...] [--out FILE.jsonl]

Every case runs in a process forked from this one, which has imported everything, with limits on
time and memory: check, prepare, convert, load, compare, all with edgeops' own functions and
tolerances. The reference is ONNX Runtime on the case's own model or, where it cannot run that,
what the onnx package says. Each case ends as one of

    proven   converted, and the answers agree
    refused  by check, before anything was written
    late     refused after check, or answers that differ
    crash    the process died or took too long
    broken   edgeops does not read the case itself (exit 3 for a user)

One line a case, and counts at the end; exit 1 when any is late or crashed.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from node_cases import FORMS, Case, node_cases

from edgeops.convert import proof
from edgeops.convert.support.tables import names, table
from edgeops.core import registry
from edgeops.core.contracts import ConvertOptions
from edgeops.core.variant import write_variant
from edgeops.errors import EdgeopsError
from edgeops.model.load import load_model
from edgeops.model.prepare import prepare
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession
from edgeops.runtime.session import load_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATUSES = ("proven", "refused", "late", "crash", "broken")
SECONDS = 30.0
MEMORY = 6 * 1024**3
# Thousands of small files, each synced: on a disk that is most of the time.
MEMORY_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of its own in it


def attempt(case: Case, engine: str, folder: Path, *, check: bool) -> tuple[str, str]:
    """Return how one case ends, and why."""
    import onnx

    file = folder / "case.onnx"
    onnx.save_model(case.model, file)
    try:
        source = load_model(file)
        prepared = prepare(source.proto)
    except EdgeopsError as error:
        return "broken", _said(error)
    converter = registry.get("converters", engine)
    options = ConvertOptions()
    findings = converter.check(prepared.proto, options) if check else ()
    if findings:
        return "refused", "; ".join(
            f"{f.code} {f.details.get('op', '')}: {f.what}" for f in findings
        )
    out = folder / "variant"
    out.mkdir()
    step = "convert"
    try:
        write_variant(out, converter.convert(prepared.proto, out, options))
        step = "load"
        session = load_session(out)
        step = "run"
        found = session.run(case.inputs)
        step = "compare"
        return _compared(case, source.proto, found)
    except EdgeopsError as error:
        return "late", f"{step}: {_said(error)}"


def _compared(case: Case, source: Any, found: Mapping[str, Any]) -> tuple[str, str]:
    expected = _reference(case, source)
    for name, array in expected.items():
        other = np.asarray(found[name])
        if other.dtype != array.dtype and array.dtype.kind not in "OUS":
            return "late", f"compare: {name} was {array.dtype} and became {other.dtype}"
        if other.shape != array.shape:
            return "late", f"compare: {name} was {array.shape} and became {other.shape}"
    parts = proof.each_output(
        {name: np.asarray(array)[np.newaxis] for name, array in expected.items()},
        {name: np.asarray(array)[np.newaxis] for name, array in found.items()},
    )
    wrong = [f"{part.name}: {part.problem}" for part in parts if part.problem]
    return ("late", f"compare: {'; '.join(wrong)}") if wrong else ("proven", "")


def _reference(case: Case, source: Any) -> Mapping[str, Any]:
    try:
        return OnnxRuntimeSession(source.SerializeToString()).run(case.inputs)
    except EdgeopsError:
        return case.expected


def _said(error: EdgeopsError) -> str:
    return f"{error.code}: {error.what}: {error.why}"


def forked(case: Case, engine: str, *, check: bool) -> tuple[str, str]:
    """Return how a case ends in a process of its own."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK) as scratch:
        child = os.fork()
        if not child:
            os.close(reading)
            _child(case, engine, Path(scratch), writing, check=check)
        os.close(writing)
        text, status = _answer(child, reading)
    if text:
        ended, why = json.loads(text)
        return ended, why
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        slow = f", it took longer than {SECONDS:g} s" if number == signal.SIGKILL else ""
        return "crash", f"died of {signal.Signals(number).name}{slow}"
    return "crash", f"ended with status {os.WEXITSTATUS(status)} without an answer"


def _child(case: Case, engine: str, folder: Path, writing: int, *, check: bool) -> None:
    """Run the case and end the process; nothing it prints or does reaches the parent."""
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        answer = attempt(case, engine, folder, check=check)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent wants to know
        answer = ("crash", f"{type(error).__name__}: {error}")
    os.write(writing, json.dumps(answer)[:60000].encode())
    os._exit(0)


def _answer(child: int, reading: int) -> tuple[str, int]:
    """Return what the child wrote and its status, ending it when its time is over."""
    text, end = b"", time.monotonic() + SECONDS
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, end - time.monotonic()))
        part = os.read(reading, 65536) if ready else b""
        if not part:
            break
        text += part
    os.close(reading)
    if not ready:
        os.kill(child, signal.SIGKILL)
    return text.decode(errors="replace"), os.waitpid(child, 0)[1]


def warm(engine: str) -> None:
    """Import what a case imports, found out by a child, so that the others find it there.

    Only imported, never run: engines start threads, which a forked process does not have.
    """
    known = registry.get("engines", engine)
    missing = known.available() or registry.get("converters", engine).available()
    if missing is not None:
        sys.exit(f"{missing.what}: {missing.fix}")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        case = next(node_cases("relu", ("given",)))
        with tempfile.TemporaryDirectory() as scratch:
            attempt(case, engine, Path(scratch), check=False)
        os.write(writing, json.dumps(sorted(sys.modules)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        modules = json.loads(told.read() or "[]")
    os.waitpid(child, 0)
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in modules:
            with contextlib.suppress(ImportError, AttributeError):
                importlib.import_module(name)
    _convert_a_version()
    for name in names():
        table(name)


def _convert_a_version() -> None:
    """Let onnx build its table of conversions, which takes as long as most cases."""
    import onnx
    from onnx import helper

    value = helper.make_tensor_value_info("x", 1, [1])
    out = helper.make_tensor_value_info("y", 1, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8)
    onnx.version_converter.convert_version(model, 17)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases and print how each ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("engine")
    parser.add_argument("--cases", default="*", help="shell pattern of names, such as 'conv*'")
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--no-check", action="store_true", help="convert what check would refuse")
    parser.add_argument("--show", default=",".join(STATUSES), help="statuses to print lines for")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th case")
    parser.add_argument("--out", help="file for one JSON object a case")
    asked = parser.parse_args(argv)
    warm(asked.engine)
    counts: Counter[str] = Counter()
    out = Path(asked.out).open("w", encoding="utf-8") if asked.out else None  # noqa: SIM115 - one of two
    cases = node_cases(asked.cases, tuple(asked.forms.split(",")))
    for case in islice(cases, 0, None, asked.every):
        status, why = forked(case, asked.engine, check=not asked.no_check)
        counts[status] += 1
        if status in asked.show.split(","):
            sys.stdout.write(f"{status.upper():8} {case.name} [{case.form}] {why}\n")
            sys.stdout.flush()
        if out:
            line = {"engine": asked.engine, "case": case.name, "form": case.form}
            out.write(json.dumps({**line, "status": status, "why": why}) + "\n")
            out.flush()
    told = ", ".join(f"{counts[status]} {status}" for status in STATUSES)
    sys.stdout.write(f"{asked.engine}: {sum(counts.values())} cases: {told}\n")
    return 1 if counts["late"] or counts["crash"] else 0


if __name__ == "__main__":
    sys.exit(main())
