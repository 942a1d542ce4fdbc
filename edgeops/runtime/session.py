"""From a variant's folder to a session: reads variant.json, asks the engine it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core import registry
from edgeops.core.variant import read_variant
from edgeops.errors import MissingError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Session


def load_session(variant: Path, threads: int = 1) -> Session:
    """Load the variant in a folder on its own engine.

    Every file is checked against its digest first. Raises InputError ``variant-missing`` or
    ``variant-malformed``, TrustError ``digest-mismatch``, MissingError ``plugin-unknown`` or
    what the engine says is missing, RefusedError ``engine-load-failed``.
    """
    engine = registry.get("engines", read_variant(variant).engine)
    missing = engine.available()
    if missing is not None:
        raise MissingError(
            missing.code,
            missing.what,
            where=missing.where,
            why=missing.why,
            fix=missing.fix,
        )
    session: Session = engine.load(variant, threads)
    return session
