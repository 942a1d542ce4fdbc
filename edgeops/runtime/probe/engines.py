"""Import the engine of a variant, and say what is wrong with one that cannot be imported."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edgeops.core import registry
from edgeops.core.variant import read_variant
from edgeops.errors import MissingError
from edgeops.runtime.engines.packages import broken

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Engine


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
        raise broken(about.engine, error, about.engine_version) from error
    return engine, (time.perf_counter_ns() - start) / 1e6
