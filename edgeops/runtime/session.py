"""From a variant's folder to a session: reads variant.json, asks the engine it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core import registry
from edgeops.core.variant import read_variant
from edgeops.errors import MissingError
from edgeops.runtime.engines.packages import requirement

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Session


def load_session(variant: Path, threads: int = 1) -> Session:
    """Load the variant in a folder on its own engine.

    Every file is checked against its digest first. Raises InputError ``variant-missing`` or
    ``variant-malformed``, TrustError ``digest-mismatch``, MissingError ``plugin-unknown``,
    ``engine-broken`` or what the engine says is missing, RefusedError ``engine-load-failed``.
    """
    about = read_variant(variant)
    engine = registry.get("engines", about.engine)
    wanted = requirement(about.engine, about.engine_version)
    made = f"the model was made with {about.engine} {about.engine_version}"
    missing = engine.available()
    if missing is not None:
        raise MissingError(
            missing.code,
            missing.what,
            where=missing.where,
            why=f"{missing.why}; {made}",
            fix=f"pip install '{wanted}'" if wanted else missing.fix,
        )
    try:
        session: Session = engine.load(variant, threads)
    except ImportError as error:
        raise MissingError(
            "engine-broken",
            f"the engine {about.engine} is installed and cannot be imported",
            where=about.engine,
            why=f"{type(error).__name__}: {error}; {made}",
            fix=f"pip install --force-reinstall '{wanted}'"
            if wanted
            else "install the engine again, with the libraries that it names",
        ) from error
    return session
