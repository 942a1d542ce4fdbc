"""The one measuring program: a JSON request on standard input, a JSON answer on standard output.

Run as ``python -m edgeops.runtime.probe`` in a fresh process, on the device. What engines print
goes to standard error. Paths in a request are relative to the working directory.

A request (``format`` edgeops.probe/1)::

    {"variant": DIR, "threads": 1,
     "few": {"file": NPZ, "names": [...], "count": 64},      samples for first call and latency
     "seconds": 1.0, "least": 20,                             0 leaves the latency loop out
     "data": {"file": NPZ, "names": [...], "count": 450},     optional: evaluate all of it ...
     "out": NPZ,                                              ... and save the outputs here
     "against": DIR, "trials": 9, "parent": PID}              optional: measure in pairs instead

Arrays of an ``.npz`` are called ``a0``, ``a1``, ... in the order of ``names``; no pickles. The
answer has ``load_ms``, ``first_call_ms``, ``latency_ns`` and so on, or ``{"error": {...}}`` with
the fields of an EdgeopsError and its exit code.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.core.contracts import Samples
from edgeops.core.variant import read_variant
from edgeops.errors import EdgeopsError, InputError, MissingError
from edgeops.runtime import measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Engine, Session

FORMAT = "edgeops.probe/1"
_MOST_FEEDS = 64
_PR_SET_PDEATHSIG = 1
_WARM_UP_SHARE = 0.25
_LEAST_PAIRS = 5


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a request; raises EdgeopsError when variant or data cannot be used."""
    if request.get("format") != FORMAT:
        raise InputError(
            "probe-request",
            "the measuring program does not understand the request",
            why=f"format is {request.get('format')!r}, this edgeops speaks {FORMAT!r}",
            fix="install the same version of edgeops on the device as here",
        )
    return _pairs(request) if request.get("against") else _single(request)


def _single(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measure one variant: import, load, first call, warm-up, latency, memory, then evaluate."""
    folder, threads = Path(request["variant"]), int(request["threads"])
    engine, import_ms = _engine(folder)
    result: dict[str, Any] = {
        "format": FORMAT,
        "engine_version": engine.version(),
        "import_ms": import_ms,
    }
    few = _samples(request["few"])
    reset = measure.reset_peak()
    session, result["load_ms"] = _timed_load(engine, folder, threads)
    result.update(_latency(session, _feeds(few, session), request))
    peak, source = measure.peak_bytes()
    result["peak_rss_bytes"] = peak
    result["peak_rss_source"] = source if reset else f"{source} since the process began"
    if request.get("data"):
        result["outputs"] = _evaluate(session, request)
    return result


def _latency(
    session: Session, feeds: list[dict[str, Any]], request: Mapping[str, Any]
) -> dict[str, Any]:
    seconds = float(request["seconds"])
    start = time.perf_counter_ns()
    session.run(feeds[0])
    first = time.perf_counter_ns() - start
    result: dict[str, Any] = {"first_call_ms": first / 1e6}
    if not seconds:
        return result
    with measure.undisturbed():
        warm = measure.warm_up(session.run, feeds, seconds * _WARM_UP_SHARE)
        used, before = time.process_time_ns(), resource.getrusage(resource.RUSAGE_SELF)
        times = measure.time_calls(session.run, feeds, seconds, least=int(request["least"]))
        after = resource.getrusage(resource.RUSAGE_SELF)
        used = time.process_time_ns() - used
    return {
        **result,
        "warm_up": {"calls": warm.calls, "stationary": warm.stationary},
        "latency_ns": times.tolist(),
        "cpu_ms_per_call": used / 1e6 / len(times),
        "interruptions": after.ru_nivcsw - before.ru_nivcsw,
    }


def _evaluate(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Save the outputs of the whole data set, and return how they lie in the file.

    ``parts`` is None for one array, else how many arrays of different shapes there are.
    """
    import numpy as np

    from edgeops.runtime.batch import run_batched

    outputs = run_batched(session, _samples(request["data"]))
    arrays: dict[str, Any] = {}
    about = []
    for index, (name, array) in enumerate(outputs.items()):
        parts = None
        if array.dtype.kind == "O" and array.size and not isinstance(array.flat[0], str):
            parts = len(array)
            arrays.update({f"o{index}.{row}": part for row, part in enumerate(array)})
        else:
            # Text comes as an array of objects, which only a pickle could save.
            arrays[f"o{index}"] = array.astype(str) if array.dtype.kind == "O" else array
        about.append({"name": name, "parts": parts})
    np.savez(Path(request["out"]), **arrays)
    return {"names": about}


def read_outputs(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs that an evaluation saved, by name; ``about`` is the answer's ``outputs``.

    An output whose shape differs from sample to sample is an array of objects, one a sample.
    """
    import numpy as np

    outputs: dict[str, Any] = {}
    with np.load(path, allow_pickle=False) as file:
        for index, entry in enumerate(about["names"]):
            if entry["parts"] is None:
                outputs[entry["name"]] = file[f"o{index}"]
                continue
            ragged = np.empty(entry["parts"], dtype=object)
            for row in range(entry["parts"]):
                ragged[row] = file[f"o{index}.{row}"]
            outputs[entry["name"]] = ragged
    return outputs


def write_samples(path: Path, samples: Samples) -> dict[str, Any]:
    """Save the arrays of ``samples`` for a request, and return how the request names them."""
    import numpy as np

    arrays = {f"a{index}": array for index, array in enumerate(samples.arrays.values())}
    # Text read as objects is saved as text of fixed width.
    plain = {k: a.astype(str) if a.dtype.kind == "O" else a for k, a in arrays.items()}
    np.savez(path, **plain)
    return {"file": path.name, "names": list(samples.arrays), "count": samples.count}


def _samples(about: Mapping[str, Any]) -> Samples:
    import numpy as np

    with np.load(Path(about["file"]), allow_pickle=False) as file:
        arrays = {name: file[f"a{index}"] for index, name in enumerate(about["names"])}
    return Samples(arrays, None, int(about["count"]), str(about["file"]), "")


def _feeds(samples: Samples, session: Session) -> list[dict[str, Any]]:
    """Return what single calls take: one sample each, or the model's fixed batch."""
    from edgeops.runtime.batch import feeds

    found = feeds(samples, session.inputs, 1)
    return [feed for feed, _ in islice(found, _MOST_FEEDS)]


def _pairs(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measure a variant against another in interleaved pairs, both loaded anew in every trial.

    Longer trials do not help, for what is left is how each load came to lie in memory; the order
    of loading is swapped from trial to trial.
    """
    folders = [Path(request["variant"]), Path(request["against"])]
    threads, trials = int(request["threads"]), int(request["trials"])
    engines = [_engine(folder)[0] for folder in folders]
    few = _samples(request["few"])
    seconds = float(request["seconds"]) / trials
    found = []
    for trial in range(trials):
        sessions: list[Any] = [None, None]
        for index in (0, 1) if trial % 2 == 0 else (1, 0):
            sessions[index] = engines[index].load(folders[index], threads)
        feeds = _feeds(few, sessions[0])
        with measure.undisturbed():
            for session in sessions:
                measure.warm_up(session.run, feeds, seconds * _WARM_UP_SHARE)
            ones, others = measure.time_pairs(
                sessions[0].run, sessions[1].run, feeds, seconds, least=_LEAST_PAIRS
            )
        ratios = [one / other for one, other in zip(ones, others, strict=True)]
        found.append(
            {
                "ratio": median(ratios),
                "pairs": len(ratios),
                "p50_ms": median(ones) / 1e6,
                "against_p50_ms": median(others) / 1e6,
            }
        )
    return {"format": FORMAT, "engine_version": engines[0].version(), "trials": found}


def _engine(folder: Path) -> tuple[Engine, float]:
    """Return the engine of a variant whose files are what variant.json says, and its import time."""
    about = read_variant(folder)
    start = time.perf_counter_ns()
    engine: Engine = registry.get("engines", about.engine)
    missing = engine.available()
    if missing is not None:
        raise MissingError(
            missing.code, missing.what, where=missing.where, why=missing.why, fix=missing.fix
        )
    # Asking for the version is what imports the engine's library.
    engine.version()
    return engine, (time.perf_counter_ns() - start) / 1e6


def _timed_load(engine: Engine, folder: Path, threads: int) -> tuple[Session, float]:
    start = time.perf_counter_ns()
    session = engine.load(folder, threads)
    return session, (time.perf_counter_ns() - start) / 1e6


def _end_with_parent(parent: int) -> None:
    """Have the kernel end this process when the one that asked is gone (Linux; else do nothing)."""
    if not sys.platform.startswith("linux") or not parent:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def main() -> int:
    """Answer the request on standard input; returns the exit code."""
    out = os.dup(1)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    _end_with_parent(int(request.get("parent", 0)))
    try:
        result = answer(request)
    except EdgeopsError as error:
        result = {**error.to_json(), "exit": int(error.exit_code)}
    with os.fdopen(out, "w") as file:
        json.dump(result, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
