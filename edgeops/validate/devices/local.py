"""The device ``local``: this machine, through a fresh process of the measuring program.

A lock file in the folder for temporary files keeps two measurements from running at the same time
on this machine: each would count the other's load as the model's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.files import disk_errors, inside
from edgeops.errors import EdgeopsError, ExitCode, InputError, MissingError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOCK = "edgeops-device-local.lock"
_LAST_WORDS = 5


@dataclass(frozen=True)
class LocalDevice:
    """The machine edgeops runs on; ``reach`` gives it a work folder for push, pull and run."""

    folder: Path | None = None
    name = "local"
    api = 1

    @contextmanager
    def reach(self, address: str) -> Iterator[LocalDevice]:
        """Yield the device with an empty work folder of its own, which is removed afterwards.

        Raises InputError ``device-address`` for anything after ``local``.
        """
        if address:
            raise InputError(
                "device-address",
                f"the device local takes no address, and {address!r} is one",
                where="device",
                fix="write `device: local`",
            )
        with tempfile.TemporaryDirectory(prefix="edgeops-device-") as folder:
            yield LocalDevice(Path(folder))

    def probe(self) -> dict[str, Any]:
        """Return what the machine is."""
        import platform

        return {
            "name": self.name,
            "machine": platform.machine(),
            "processor": _processor() or platform.processor(),
            "cores": os.cpu_count() or 0,
            "memory_mb": _memory_mb(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
        }

    def push(self, source: Path, destination: str) -> None:
        """Make a file or folder readable under ``destination`` of the work folder.

        A link, for nothing changes the source while it is measured.
        """
        self._inside(destination).symlink_to(source.absolute())

    def pull(self, source: str, destination: Path) -> None:
        """Copy a file or folder of the work folder to ``destination``."""
        path = self._inside(source)
        with disk_errors(destination):
            if path.is_dir():
                shutil.copytree(path, destination)
            else:
                shutil.copyfile(path, destination)

    def run(self, request: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Run the measuring program on a request while holding the lock; waiting for it is free.

        Raises what the program reports, TransportError ``probe-killed`` or ``probe-timeout``,
        MissingError ``probe-failed``.
        """
        command = [sys.executable, "-m", "edgeops.runtime.probe"]
        asked = json.dumps({**request, "parent": os.getpid()})
        with _exclusive(), self._started(command) as process:
            try:
                answer, words = process.communicate(asked, timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                process.kill()
                _, words = process.communicate()
                raise TransportError(
                    "probe-timeout",
                    f"measuring took longer than {timeout_s:g} s and was ended",
                    where=self.name,
                    why=_last(words) or "the model, the engine or the device hangs",
                    fix="give it more time with `timeout`, or evaluate fewer samples",
                ) from error
            except BaseException:
                process.kill()
                process.wait()
                raise
        if process.returncode:
            raise _died(process.returncode, words)
        return _raise_reported(json.loads(answer))

    def _started(self, command: list[str]) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self._inside("."), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def _inside(self, path: str) -> Path:
        if self.folder is None:
            message = "reach the device first: it has no work folder"
            raise RuntimeError(message)
        # Names only, as below a folder that holds no link: what push links leads outside by design.
        return self.folder / inside(self.folder / "_", path).relative_to(self.folder / "_")


@contextmanager
def _exclusive() -> Iterator[None]:
    """Wait until nobody else measures on this machine, and keep others out."""
    import fcntl

    path = Path(tempfile.gettempdir()) / LOCK
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """Open a lock file that may be another user's: reading is enough for a lock."""
    with disk_errors(path):
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)


def _died(code: int, words: str) -> EdgeopsError:
    """Return the error for a measuring program that ended without an answer."""
    if code < 0:
        why = f"it was ended by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            why += ", as the system does when memory runs out"
        return TransportError(
            "probe-killed",
            "the measuring process was killed before it could answer",
            where="local",
            why="; ".join(filter(None, (why, _last(words)))),
            fix="free some memory or measure a smaller data set, then run it again",
        )
    return MissingError(
        "probe-failed",
        "the measuring process failed before it could answer",
        where="local",
        why=_last(words) or f"it ended with exit code {code}",
        fix="see what this machine lacks with: edgeops doctor",
    )


def _last(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return " | ".join(lines[-1:] if "Traceback" in words else lines[-_LAST_WORDS:])


def _raise_reported(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer, or raise the error it reports as the class its exit code stands for."""
    if "error" not in answer:
        return answer
    code = ExitCode(answer["exit"])
    kinds = [kind for kind in EdgeopsError.__subclasses__() if kind.exit_code == code]
    about = dict(answer["error"])
    raise (kinds[0] if kinds else EdgeopsError)(about.pop("code"), about.pop("what"), **about)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return ""


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000
    except (OSError, ValueError):
        return None
