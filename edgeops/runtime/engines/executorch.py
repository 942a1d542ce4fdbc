"""The ExecuTorch engine: sessions on the CPU from ``model.pte``, in an environment of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core.environment import missing, shipped
from edgeops.core.variant import read_variant
from edgeops.runtime.remote import WorkerSession

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.errors import Finding


class ExecuTorchEngine:
    """The entry point ``executorch`` of ``edgeops.engines``."""

    name = "executorch"
    api = 1
    environment = shipped(
        "executorch",
        "3.11",
        "torch.export programs to ExecuTorch, and running them",
        1400,
        ("torch", "executorch.runtime"),
    )

    def available(self) -> Finding | None:
        """Return None when its environment is there, else the line that makes it."""
        return missing(self.environment)

    def version(self) -> str:
        """Return the version that the environment's lock names."""
        return self.environment.versions["executorch"]

    def load(self, variant: Path, threads: int = 1) -> WorkerSession:
        """Load ``variant``'s model file; names, order and shapes come from variant.json."""
        about = read_variant(variant, verify=False)
        model = variant / about.model_file
        return WorkerSession(self.environment, model, threads, about.inputs, about.outputs)
