"""From a variant's folder to a session: reads variant.json, asks the engine it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core import registry
from edgeops.core.variant import read_variant
from edgeops.errors import MissingError
from edgeops.runtime.engines.packages import broken, requirement

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Session


def load_session(variant: Path, threads: int = 1) -> Session:
    """Load the variant in a folder on its own engine.

    Every file is checked against its digest first. Raises InputError ``variant-missing`` or
    ``variant-malformed``, TrustError ``digest-mismatch``, MissingError ``plugin-unknown``,
    ``engine-import-failed``, ``engine-wrong-machine`` or what the engine says is missing, RefusedError
    ``engine-load-failed``.
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
        raise broken(about.engine, error, about.engine_version) from error
    return session
