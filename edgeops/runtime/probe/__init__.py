"""The one measuring program: a request in, progress and an answer out, as lines of JSON.

Run as ``python -m edgeops.runtime.probe``, or as ``python3 edgeops-probe.pyz`` on a device with
Python 3.9 or later, numpy and an engine. The program that is started is a supervisor; it starts
itself once more to measure, so that a call that hangs, a crash, a kill for lack of memory and a
lost connection are all seen from outside. What engines print goes to standard error.

Standard input is one line of JSON, the request, and then stays open. Its end before the answer means
that whoever asked is gone: everything is ended, and the folder ``work`` removed where ``owned`` says
so. Any byte on it is a sign of life; with ``heartbeat_s``, silence for so long counts as its end.

Standard output is lines of JSON::

    {"say": "phase", "phase": "load"}                 start, import, load, run, warm-up, latency, ...
    {"say": "step", "what": TEXT, "total": N}         then {"say": "advance", "parts": 1}
    {"answer": {...}}                                 the last line, or
    {"error": {code, what, where, why, fix}, "exit": CODE, "partial": {...}}

A request (``format`` edgeops.probe/2); paths are relative to the working directory::

    {"do": "about" | "measure" | "pair" | "replay",
     "variant": DIR, "threads": 1, "affinity": [],            processors to run on, [] = any
     "few": {"file": NPZ, "names": [...], "count": 64},       samples for first call and latency
     "data": {...}, "out": NPZ,                               evaluate these, save the outputs
     "features": JSON, "rules": JSON, "labels": [...],        data are raw: evaluate the predictor
     "models": {NAME: DIR},                                   further models that rules ask
     "seconds": 1.0, "least": 20,                             0 leaves the latency loop out
     "preset": "" | "mlperf",                                 1,024 queries and 60 s at least
     "sustained_s": 0,                                        go on for so long, in windows
     "against": DIR,                                          pair: see edgeops.runtime.pairs
     "engines": [NAME, ...],                                  about: these only, else all
     "lock": FILE, "call_timeout_s": 0, "timeout_s": 0,       0 = no limit; from the lock on
     "heartbeat_s": 0, "work": DIR, "owned": false, "parent": PID,
     "sys": "/sys", "proc": "/proc"}                          other places of the kernel's files

Without ``do``, ``against`` makes it ``pair``, else it is ``measure``. A ``lock`` without a folder lies
in the folder for temporary files. ``partial`` has what was found until then: ``phase``,
``import_ms``, ``load_ms``, ``first_call_ms``, ``memory``, ``trials``, ``calls`` and ``latency_ns``,
of which every n-th where there are many.

Samples and outputs lie in ``.npz`` files, see ``edgeops.runtime.probe.arrays``.
"""

from edgeops.runtime.probe.arrays import read_outputs, write_samples

__all__ = ["FORMAT", "read_outputs", "write_samples"]

FORMAT = "edgeops.probe/2"
