"""``edgeops-probe.pyz``: the measuring program as one file, for devices that have no edgeops.

It holds what ``edgeops.runtime.probe`` imports, directly or not, and nothing else: modules of
``runtime``, ``core`` and ``errors``, and the entry points of the engines (:mod:`edgeops.core.pyz`).
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from edgeops.core import pyz

NAME = "edgeops-probe.pyz"
PROGRAM = "edgeops.runtime.probe.__main__"


def program() -> Path:
    """Return the program as a file, which is there as long as this process."""
    return _folder() / NAME


def make(path: Path) -> Path:
    """Write the program to ``path`` and return it."""
    return pyz.make(path, PROGRAM, ())


def engines() -> dict[str, str]:
    """Return the entry points of the engines in the program."""
    return pyz.engines()


def modules() -> dict[str, Path]:
    """Return the modules in the program by name."""
    return pyz.needed(PROGRAM)


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="edgeops-probe-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make(folder / NAME)
    return folder
