"""The device ``local``: this machine, through a fresh process of the measuring program.

A lock file in the folder for temporary files keeps two measurements from running at the same time
on this machine: each would count the other's load as the model's own.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.files import disk_errors, inside
from edgeops.errors import EdgeopsError, InputError, MissingError, TransportError
from edgeops.validate.devices.remote.asking import converse, kind_of
from edgeops.validate.devices.remote.process import run_process
from edgeops.validate.devices.remote.trouble import last_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeops.core.contracts import Tell
    from edgeops.validate.devices.remote.shell import Done

LOCK = "edgeops-device-local.lock"
PROGRAM = ("-m", "edgeops.runtime.probe")
_ABOUT_S = 120.0


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
        """Return what the machine is; it need not be reached."""
        request = {"do": "about"}
        about = _asked(request, Path(tempfile.gettempdir()), _ABOUT_S, None)
        return {**about, "name": self.name}

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

    def run(
        self, request: Mapping[str, Any], *, timeout_s: float, tell: Tell | None = None
    ) -> dict[str, Any]:
        """Run the measuring program on a request while it holds the lock; waiting for it is free.

        Raises what the program reports; TransportError ``probe-killed``, ``probe-timeout`` or
        ``inference-hung`` with ``partial`` in the result; MissingError ``probe-failed``.
        """
        folder = self._inside(".")
        asked = {"lock": LOCK, "work": str(folder), "owned": True, **request}
        return _asked(asked, folder, timeout_s, tell)

    def _inside(self, path: str) -> Path:
        if self.folder is None:
            message = "reach the device first: it has no work folder"
            raise RuntimeError(message)
        # Names only, as below a folder that holds no link: what push links leads outside by design.
        return self.folder / inside(self.folder / "_", path).relative_to(self.folder / "_")


def _asked(
    request: Mapping[str, Any], folder: Path, timeout_s: float, tell: Tell | None
) -> dict[str, Any]:
    """Return what the measuring program answers, or raise what it reports or died of."""
    return converse(
        partial(run_process, [sys.executable, *PROGRAM], where="local", cwd=folder),
        {"parent": os.getpid(), **request},
        where="local",
        timeout_s=timeout_s,
        tell=tell,
        report=_reported,
        died=_died,
    )


def _reported(said: Mapping[str, Any]) -> EdgeopsError:
    """Return the error that the program reports, as the class its exit code stands for."""
    about = dict(said["error"])
    partly = said.get("partial")
    result = {"partial": partly} if partly else {}
    return kind_of(said)(about.pop("code"), about.pop("what"), **about, result=result)


def _died(done: Done) -> EdgeopsError:
    """Return the error for a measuring program that ended without an answer."""
    words = last_words(done.err)
    if done.code < 0:
        why = f"it was ended by {signal.Signals(-done.code).name}"
        if -done.code == signal.SIGKILL:
            why += ", as the system does when memory runs out"
        return TransportError(
            "probe-killed",
            "the measuring process was killed before it could answer",
            where="local",
            why="; ".join(filter(None, (why, words))),
            fix="free some memory or measure a smaller data set, then run it again",
        )
    return MissingError(
        "probe-failed",
        "the measuring process failed before it could answer",
        where="local",
        why=words or f"it ended with exit code {done.code}",
        fix="see what this machine lacks with: edgeops doctor",
    )
