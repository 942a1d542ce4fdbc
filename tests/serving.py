"""What tests of serving need: homes with slots, an engine that fails on cue, a running server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from edgeops.core.digest import sha256_bytes, tree_digest
from edgeops.core.files import canonical_json
from edgeops.core.variant import TensorInfo, Variant, entries, write_variant
from edgeops.runtime.serving.client import ask

ENTRY = "tests.serving:CueEngine"
PROGRAM = "edgeops.runtime.agent.cli"
X = [[1.0, 2.0, 3.0, 4.0]]


class CueSession:
    """Answers a constant, ``answer``; with ``cue`` there as a file it fails as ``run`` says."""

    def __init__(self, about) -> None:
        self.inputs, self.outputs = about.inputs, about.outputs
        self._extra = about.extra
        self._answer = np.float32(about.extra["answer"])
        self._pause = about.extra.get("pause_s", 0)

    def run(self, arrays):
        if self._pause:
            time.sleep(self._pause)
        answer = {"y": np.full((len(arrays["x"]), 2), self._answer, np.float32)}
        cue = self._extra.get("cue")
        if cue is None or not Path(cue).exists():
            return answer
        return fail(self._extra["run"], answer)


def fail(kind, answer):
    if kind == "hang":
        time.sleep(600)
    elif kind == "abort":
        os.abort()
    elif kind == "raise":
        raise RuntimeError("the engine is confused")
    elif kind == "shape":
        return {"y": answer["y"][:, :1]}
    elif kind == "nan":
        return {"y": answer["y"] * np.float32("nan")}
    elif kind == "slow":
        time.sleep(0.06)
    return answer


class CueEngine:
    name, api = "cue", 1

    def available(self):
        return None

    def version(self):
        return "1"

    def load(self, folder, threads=1):
        from edgeops.core.variant import read_variant

        about = read_variant(folder)
        if about.extra.get("load") == "hang":
            time.sleep(600)
        return CueSession(about)


def install(folder: Path, monkeypatch) -> None:
    """Register the engine for processes that are started from now on."""
    info = folder / "edgeops_cue-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edgeops-cue\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[edgeops.engines]\ncue = {ENTRY}\n")
    root = Path(__file__).resolve().parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(root))))


def slot(home: Path, name: str, answer: float, *, engine: str = "cue", **extra) -> Path:
    """Write a slot whose model answers ``y`` [N, 2] full of a number for ``x`` [N, 4]."""
    # Its digest is that of its files, and the folder is named by it, as the agent names slots.
    digest = tree_digest({"model.txt": sha256_bytes(name.encode())})
    folder = home / "slots" / digest.partition(":")[2][:16]
    folder.mkdir(parents=True)
    (folder / "model.txt").write_text(name)
    given = TensorInfo("x", ("N", 4), "float32")
    out = TensorInfo("y", ("N", 2), "float32")
    made = Variant(
        engine,
        "1",
        "fp32",
        "model.txt",
        (given,),
        (out,),
        "sha256:0",
        files=entries(folder),
        extra={"answer": answer, **extra},
    )
    write_variant(folder, made)
    return folder


def switch(home: Path, current: Path, previous: Path | None = None) -> None:
    """Have the links of a home lead to slots and its state file say so, as the agent does."""
    write_state(home, current, previous)
    for name, folder in (("previous", previous), ("current", current)):
        if folder is not None:
            new = home / ".new"
            new.symlink_to(f"slots/{folder.name}")
            new.replace(home / name)


def write_state(home: Path, current: Path, previous: Path | None) -> None:
    """Write the agent's state file for slots that no update brought."""
    from edgeops.core.variant import read_variant

    def entry(folder):
        if folder is None:
            return None
        digest = read_variant(folder).digest
        return {"version": folder.name, "digest": digest, "slot": folder.name, "target": ""}

    document = {
        "format": "edgeops.agent/1",
        "state": "idle",
        "current": entry(current),
        "previous": entry(previous),
    }
    (home / "state.json").write_bytes(canonical_json(document))


class Running:
    """A server process on a home; ``url`` is its HTTP address."""

    def __init__(self, home: Path, *arguments: str, **options) -> None:
        self.home = home
        if options:
            (home / "serve.json").write_text(json.dumps(options))
        self.log = home / "serve.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, "serve", "--home", str(home), "--json", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        until = time.monotonic() + 120
        while self.ask("/v1/health") is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def ask(self, path, document=None, seconds=30.0):
        return ask(self.home, path, document, seconds)

    def predict(self):
        """Return status and the number that was answered, or the code of the error."""
        status, answer = self.ask("/v1/predict", {"inputs": {"x": X}})
        if status != 200:
            return status, answer["error"]["code"]
        return status, answer["outputs"]["y"][0][0]

    def url(self):
        """Return HOST:PORT of its HTTP address."""
        return self.status()["http"]

    def status(self):
        return self.ask("/v1/status")[1]

    def until(self, what, seconds=120.0):
        """Wait until ``what(status)`` is true, and return the seconds that it took."""
        begun = time.monotonic()
        while not what(self.status()):
            assert time.monotonic() - begun < seconds, self.status()
            time.sleep(0.01)
        return time.monotonic() - begun

    def stop(self, number=signal.SIGTERM):
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
