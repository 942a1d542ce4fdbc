"""An engine that fails as a variant's ``extra`` says: what the measuring program is to survive."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from edgeops.core.variant import TensorInfo, Variant, read_variant, write_variant
from edgeops.runtime import pulse

ENTRY = "tests.faulty_engine:FaultyEngine"


def install(folder: Path, monkeypatch) -> None:
    """Register the engine for processes that are started from now on."""
    info = folder / "edgeops_faulty-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edgeops-faulty\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[edgeops.engines]\nfaulty = {ENTRY}\n")
    root = Path(__file__).resolve().parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(root))))


def variant(folder: Path, **extra: object) -> Path:
    """Write a variant whose answer is twice its input ``x`` [N, 4], and that fails as told.

    ``load`` and ``run`` name a fault, ``after`` says how many calls go well before, ``kept`` how
    many times the timed loop has taken before. ``pids`` is a file that gets the number of the
    process, its parent's, and with ``starts`` that of one which the engine starts. ``lingers`` has
    the process not end by itself. FAULTY_VERSION of the environment names a fault of the import.
    """
    folder.mkdir(parents=True)
    tensor = TensorInfo("x", ("N", 4), "float32")
    out = TensorInfo("y", ("N", 4), "float32")
    made = Variant("faulty", "1", "fp32", "none", (tensor,), (out,), "sha256:0", extra=extra)
    write_variant(folder, made)
    return folder


def fault(kind: str) -> None:
    """Do what ``kind`` says."""
    if kind == "hang":
        time.sleep(600)
    elif kind == "memory":
        raise MemoryError
    elif kind == "chatter":
        os.write(1, b'{"answer": "engine says hello"}\n')
        sys.stdout.write("hello")
    elif kind:
        os.kill(os.getpid(), getattr(signal, kind))


class FaultySession:
    def __init__(self, about) -> None:
        self.inputs, self.outputs = about.inputs, about.outputs
        self._left = int(about.extra.get("after", 0))
        self._kept = int(about.extra.get("kept", 0))
        self._fault = about.extra.get("run", "")

    def run(self, arrays):
        if self._left <= 0 and pulse.view()[pulse.KEPT] >= self._kept:
            fault(self._fault)
        self._left -= 1
        return {"y": arrays["x"] * 2}


class FaultyEngine:
    name, api = "faulty", 1

    def available(self):
        return None

    def version(self):
        fault(os.environ.get("FAULTY_VERSION", ""))
        return "1"

    def load(self, folder, threads=1):
        about = read_variant(folder)
        if "pids" in about.extra:
            child = ""
            if about.extra.get("starts"):
                sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
                child = f" {subprocess.Popen(sleeps).pid}"
            path = Path(about.extra["pids"])
            path.with_suffix(".new").write_text(f"{os.getpid()} {os.getppid()}{child}")
            path.with_suffix(".new").replace(path)
        fault(about.extra.get("load", ""))
        if about.extra.get("lingers"):
            atexit.register(time.sleep, 600)
        return FaultySession(about)


def pids(path: Path, seconds: float = 60) -> list[int]:
    """Wait for the numbers of the processes that a variant with ``pids`` runs in."""
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, "the engine was not loaded"
        time.sleep(0.02)
    return [int(each) for each in path.read_text().split()]


def gone(pid: int, seconds: float = 30) -> bool:
    """Return whether a process ends within ``seconds``; one that nobody reaped has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False
