"""Import the engine of a variant, and say what is wrong with one that cannot be imported."""

from __future__ import annotations

import platform
import re
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edgeops.core import registry
from edgeops.core.variant import read_variant
from edgeops.errors import EdgeopsError, MissingError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Engine

# What the loaders of Linux and macOS say of a library that was built for another processor.
_OTHER_MACHINE = re.compile(
    r"wrong ELF class|invalid ELF header|incompatible architecture|wrong architecture"
    r"|Exec format error|cannot open shared object file: No such file or directory.*ld-linux",
)


def import_engine(folder: Path) -> tuple[Engine, float]:
    """Return the engine of a variant whose files are what variant.json says, and its import time.

    The time is in ms. Raises what ``read_variant`` and the engine raise, MissingError
    ``numpy-missing``, ``engine-wrong-machine`` or ``engine-import-failed``.
    """
    about = read_variant(folder)
    if find_spec("numpy") is None:
        raise MissingError(
            "numpy-missing",
            "the device has no numpy",
            why="No module named 'numpy': the measuring program and the engines need it",
            fix="python3 -m pip install numpy",
        )
    start = time.perf_counter_ns()
    engine: Engine = registry.get("engines", about.engine)
    missing = engine.available()
    if missing is not None:
        raise MissingError(
            missing.code, missing.what, where=missing.where, why=missing.why, fix=missing.fix
        )
    try:
        # Asking for the version is what imports the engine's library.
        engine.version()
    except (ImportError, OSError) as error:
        raise broken(about.engine, error) from error
    return engine, (time.perf_counter_ns() - start) / 1e6


def broken(name: str, error: Exception) -> EdgeopsError:
    """Return the error for an engine that is installed and cannot be imported."""
    why = f"{type(error).__name__}: {error}"
    if _OTHER_MACHINE.search(why):
        return MissingError(
            "engine-wrong-machine",
            f"the engine {name} on the device is built for another processor",
            where=name,
            why=f"{why} (the device is {platform.machine()})",
            fix=f"install the wheel of {name} that is made for {platform.machine()}",
        )
    return MissingError(
        "engine-import-failed",
        f"the engine {name} is installed on the device and cannot be imported",
        where=name,
        why=why,
        fix=f"install {name} again, with the system libraries that it names",
    )
