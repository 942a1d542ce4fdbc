"""The device side: sessions, predictor, probe. Standard library, numpy and one engine only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeops.runtime.predictor import Predictor

__all__ = ["Predictor"]


def __getattr__(name: str) -> Any:
    """Import Predictor when it is asked for, so that the other modules here do not pay for it."""
    if name == "Predictor":
        from edgeops.runtime.predictor import Predictor

        return Predictor
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
