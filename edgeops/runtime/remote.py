"""A session whose engine runs in an environment of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import RefusedError
from edgeops.runtime.fit import misfit
from edgeops.runtime.worker import Refusal, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.core.environment import Environment
    from edgeops.core.variant import TensorInfo

LOAD_S = 300.0
RUN_S = 300.0


class WorkerSession:
    """A model loaded by a worker; safe to call from several threads, one call at a time.

    The worker's ``load`` is given the ``model``'s path, ``threads`` and what else ``arguments``
    hold; its ``run`` the paths of two ``.npz`` files, whose arrays are called "0", "1" ... in the
    order of ``inputs`` and ``outputs``. A call costs about a millisecond more than the engine's own.
    """

    def __init__(
        self,
        environment: Environment,
        model: Path,
        threads: int,
        inputs: tuple[TensorInfo, ...],
        outputs: tuple[TensorInfo, ...],
        **arguments: Any,
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._name = environment.name
        self._where = model.name
        self._worker = Worker(environment)
        self._given = self._worker.scratch / "given.npz"
        self._answer = self._worker.scratch / "answer.npz"
        try:
            path = str(model.absolute())
            self._worker.ask("load", timeout_s=LOAD_S, model=path, threads=threads, **arguments)
        except Refusal as refusal:
            self._worker.close()
            raise RefusedError(
                "engine-load-failed",
                f"{self._name} cannot load {self._where}",
                where=str(model),
                why=refusal.text(),
                fix=f"convert the model again: edgeops convert MODEL --to {self._name}",
            ) from refusal

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call; arrays that are no inputs are ignored.

        Raises InputError ``input-misfit`` when a name, shape or dtype is not the model's,
        RefusedError ``engine-run-failed`` when the model fails on what fits, and as
        ``Worker.ask`` does.
        """
        import numpy as np

        wrong = misfit(arrays, self.inputs, self._where)
        if wrong:
            raise wrong
        given = {str(place): arrays[each.name] for place, each in enumerate(self.inputs)}
        np.savez(self._given, **given)
        try:
            self._worker.ask(
                "run", timeout_s=RUN_S, given=str(self._given), answer=str(self._answer)
            )
        except Refusal as refusal:
            raise RefusedError(
                "engine-run-failed",
                f"{self._name} failed while running {self._where}",
                where=self._where,
                why=refusal.text(),
                fix="check that the input is what the model was made for, then the model itself",
            ) from refusal
        with np.load(self._answer, allow_pickle=False) as answer:
            return {
                tensor.name: answer[str(place)].astype(tensor.dtype, copy=False)
                for place, tensor in enumerate(self.outputs)
            }
