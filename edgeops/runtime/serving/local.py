"""A model in this process: the predictor, and how long its slot says a call may take."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.serving.options import Options

_NICE = 10
# Of a slot that brings the engine's own wheel: what its children import from first.
SITE = "site"


class Local:
    """A model loaded into this process; safe to call from several threads.

    ``inputs`` are those of ``predict``, ``tensors`` what each of its answers has; ``arrays`` and
    ``outputs`` are those of ``run``. Raises what :class:`edgeops.runtime.predictor.Predictor` raises.
    """

    isolated = False

    def __init__(self, slot: Path, options: Options) -> None:
        from edgeops.runtime.predictor import Predictor

        self.slot = slot

        def made() -> Predictor:
            return Predictor(slot, options.target, options.threads)

        # An engine with threads of its own would keep them as low as the thread that loads it.
        self.predictor = lowly(made) if options.threads == 1 else made()
        self.digest: str = self.predictor.digest
        self.version: str | None = self.predictor.version
        self.inputs: tuple[TensorInfo, ...] = self.predictor.inputs
        self.tensors = arrays_of(self.predictor)
        self._session = session_of(self.predictor)
        self.arrays: tuple[TensorInfo, ...] = tuple(self._session.inputs)
        self.outputs: tuple[TensorInfo, ...] = tuple(self._session.outputs)
        self.predict = self.predictor.predict

    @property
    def ready(self) -> bool:
        """Return True: it is loaded as long as this process is."""
        return True

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer arrays of the model itself, without features and rules."""
        return dict(self._session.run(arrays))

    def fallback(self) -> Any:
        """Return the answer that the rules declare for when no model can answer, else None."""
        return fallback_of(self.predictor)

    def close(self) -> None:
        """Let go of the model; nobody may call it any more."""
        close = getattr(self.predictor, "close", None)
        if close is not None:
            close()


def session_of(predictor: Any) -> Any:
    """Return the predictor's session."""
    return getattr(predictor, "session", None) or predictor._session  # noqa: SLF001 - our own


def arrays_of(predictor: Any) -> tuple[TensorInfo, ...]:
    """Return the arrays that each answer has; none where rules make it."""
    return () if getattr(predictor, "rules", None) is not None else tuple(predictor.outputs)


def fallback_of(predictor: Any) -> Any:
    """Return what the predictor's rules declare as the answer when no model can, else None."""
    return getattr(getattr(predictor, "rules", None), "fallback", None)


def lowly(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns, done in a thread that gives way to all others (Linux).

    A thread of its own, for a user's process may lower a thread and never raise it again.
    """
    found: list[Any] = []
    raised: list[BaseException] = []

    def done() -> None:
        if sys.platform.startswith("linux"):
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=done, name="edgeops-load", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]
