"""A run of the digits project in processes of its own: watched, made stale, ended, compared."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
# Where train.py stops when told to: its first output is written, the second is not.
_HALF_WAY = '(build / "model.onnx").write_bytes(model.SerializeToString())\n'
_HOLD = (
    '    print("half way", flush=True)\n'
    '    while Path("hold").exists():\n'
    '        __import__("time").sleep(0.02)\n'
)
MEASURED = ("reports", "releases", ".dvc", ".git", "dvc.lock", "train.py", "hold")


@dataclass(frozen=True)
class Case:
    """One stage: its address, what it has said when it is in the middle of its work, its outs."""

    address: str
    sign: str
    outs: tuple[str, ...]

    def make_stale(self, root: Path) -> None:
        """Make this stage, and no other, run again: as if it never had."""
        if self.address == "train":
            script = root / "train.py"
            text = script.read_text()
            assert _HALF_WAY in text
            script.write_text(text.replace(_HALF_WAY, _HALF_WAY + _HOLD))
            (root / "hold").touch()
        else:
            lock = root / "dvc.lock"
            document = YAML().load(lock)
            del document["stages"][self.address]
            with lock.open("w") as file:
                YAML().dump(document, file)
            for out in self.outs:
                path = root / out
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(root / ".dvc" / "cache" / "runs")

    @property
    def name(self) -> str:
        return self.address.partition("@")[0]


CASES = [
    Case("train", "half way", ("build/model.onnx", "data")),
    Case("convert@desktop", "converting model.onnx", ("build/desktop/converted",)),
    Case("quantize@gateway", "calibrate", ("build/gateway/quantized",)),
    Case("validate@gateway", "measuring gateway", ("reports/gateway",)),
    Case("pack", "writing the bundle", ("dist/digits-1.0.0.edgeops",)),
    Case("publish", "uploading blobs", ("releases",)),
]


class Running:
    """``edgeops run`` in a session of its own, which its children and theirs stay in."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self.root = root
        self._temporary = Path(os.environ["TMPDIR"])
        self._out = root.parent / "out.txt"
        self._err = root.parent / "err.txt"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgeops", "-C", str(root), "run", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def until(self, case: Case, timeout: float = 240.0) -> None:
        """Wait until the stage has said that it is in the middle of its work."""
        end = time.monotonic() + timeout
        while not self._said(case):
            assert self.process.poll() is None, self.err
            assert time.monotonic() < end, self.err
            time.sleep(0.002)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def members(self, *words: str) -> list[int]:
        """Return the processes of the session that are alive, whose command line has the words."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError):
                state, *rest = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if int(rest[2]) == self.process.pid and state not in "ZX":
                    found += [int(folder.name)] if all(word in command for word in words) else []
        return sorted(found)

    def kill(self) -> None:
        """End all processes of the session at once, as the system does when power goes."""
        # All but those that left the group stand still at once: on a machine that is busy, the stage
        # could come to its end while they are looked for.
        os.killpg(self.process.pid, signal.SIGSTOP)
        members = self.members()
        assert len(members) > 2
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        # Those that were seen are killed wherever they are by now: one that was just being started
        # may have gone into a session of its own, and would stand still there for ever.
        alive = members
        while alive:
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            alive = self.members()
            members += [pid for pid in alive if pid not in members]
        self.process.wait()
        reap(members)
        left = standing()  # as above, and gone before it was seen
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        reap(left)

    def gone(self, timeout: float = 90.0) -> bool:
        """Wait for the end and return whether no process of the session is left."""
        end = time.monotonic() + timeout
        members: set[int] = set()
        while alive := self.members():
            members |= set(alive)
            if time.monotonic() > end:
                return False
            self.process.poll()
            reap(members - {self.process.pid}, wait=False)
            time.sleep(0.05)
        self.process.wait()
        reap(members)
        return True

    def _said(self, case: Case) -> bool:
        if case.address == "train":
            return f"train: {case.sign}" in self.err
        for file in self._temporary.glob("edgeops-run-*/events.jsonl"):
            for line in file.read_text().splitlines(keepends=True):
                event = json.loads(line) if line.endswith("\n") else {}
                target = f"@{event['target']}" if event.get("target") else ""
                said = event.get("what", "").startswith(case.sign)
                if said and event["stage"] + target == case.address:
                    return True
        return False


def standing() -> list[int]:
    """Return the children of this process that were stopped."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            found += [int(path.parent.name)] if (state, int(parent)) == ("T", os.getpid()) else []
    return found


def subreaper(*, on: bool) -> None:
    """Make this process the parent of orphans: some containers leave them zombies for good."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def reap(pids, *, wait: bool = True) -> None:
    """Take leave of those of ``pids`` that have ended and become our children."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0 if wait else os.WNOHANG)


def files(root: Path, *, without: tuple[str, ...] = MEASURED) -> dict[str, str]:
    """Return the sha256 of every file by its path, but for those that are not the same each time."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in without
    }


def whole_or_absent(root: Path, done: Path) -> None:
    """Check that every output is absent or as it was, with nothing in between, and dvc.lock too."""
    document = YAML(typ="safe").load(root / "dvc.lock")
    known = YAML(typ="safe").load(done / "dvc.lock")
    assert set(document["stages"]) <= set(known["stages"])
    for place in ("build/desktop", "build/gateway"):
        for folder in ("converted", "quantized"):
            found, wanted = root / place / folder, done / place / folder
            assert not found.exists() or files(found) == files(wanted)
    bundle = root / "dist/digits-1.0.0.edgeops"
    assert (
        not bundle.exists() or bundle.read_bytes() == (done / bundle.relative_to(root)).read_bytes()
    )
    for target in ("desktop", "gateway"):
        report = root / "reports" / target
        if (report / "evidence.json").exists():
            assert json.loads((report / "evidence.json").read_text())["target"] == target
            assert json.loads((report / "metrics.json").read_text())
            assert (report / "latency.csv").stat().st_size > 0
