"""A model in this process: the predictor, and how long its slot says a call may take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeops.runtime.serving.turns import lowly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.serving.options import Options

# Of a slot that brings the engine's own wheel: what its children import from first.
SITE = "site"


class Input(NamedTuple):
    """An input of ``predict``: of the model, ``kind`` "", or of features, as their document says."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    kind: str = ""


class Local:
    """A model loaded into this process; safe to call from several threads.

    ``inputs`` are those of ``predict``, ``tensors`` what each of its answers has; ``arrays`` and
    ``outputs`` are those of ``run``. Raises what :class:`edgeops.runtime.predictor.Predictor` raises.
    """

    isolated, trouble = False, None

    def __init__(self, slot: Path, options: Options) -> None:
        from edgeops.runtime.predictor import Predictor

        self.slot = slot

        def made() -> Predictor:
            key = Path(options.key) if options.key else None
            return Predictor(slot, options.target, options.threads, key=key)

        # An engine with threads of its own would keep them as low as the thread that loads it.
        self.predictor = lowly(made) if options.threads == 1 else made()
        self.digest: str = self.predictor.digest
        self.target: str | None = self.predictor.target
        self.version: str | None = self.predictor.version
        self.inputs = inputs_of(self.predictor)
        # Where rules make the answer, its form is theirs.
        self.tensors = () if self.predictor.rules else tuple(self.predictor.outputs)
        self._session: Any = self.predictor.session
        self.arrays: tuple[TensorInfo, ...] = tuple(self._session.inputs)
        self.outputs: tuple[TensorInfo, ...] = tuple(self._session.outputs)
        self.predict = self.predictor.predict

    @property
    def ready(self) -> bool:
        """Return True: it is loaded as long as this process is."""
        return True

    def began(self, asked: float) -> float:
        """Return when this thread's last call really began: calls wait for nobody."""
        return asked

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer arrays of the model itself, without features and rules."""
        return dict(self._session.run(arrays))

    def fallback(self) -> Any:
        """Return the answer that the rules declare for when no model can answer, else None."""
        return self.predictor.rules.fallback if self.predictor.rules else None

    def missed(self) -> bool:
        """Return False: it does not end before this process does."""
        return False

    def close(self) -> None:
        """Let go of the model; nobody may call it any more."""
        self.predictor.close()
        self._session = None


def inputs_of(predictor: Any) -> tuple[Input, ...]:
    """Return what ``predict`` takes."""
    return tuple(
        Input(each.name, tuple(each.shape), each.dtype, getattr(each, "kind", ""))
        for each in predictor.inputs
    )
