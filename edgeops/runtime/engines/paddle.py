"""The Paddle Inference engine: sessions on the CPU, in an environment of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.core.environment import missing, shipped
from edgeops.core.variant import read_variant
from edgeops.runtime.remote import WorkerSession

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.errors import Finding


class PaddleEngine:
    """The entry point ``paddle`` of ``edgeops.engines``."""

    name = "paddle"
    api = 1
    environment = shipped(
        "paddle",
        "3.11",
        "ONNX to Paddle Inference through X2Paddle, and running it",
        1000,
        ("paddle", "x2paddle.convert"),
    )

    def available(self) -> Finding | None:
        """Return None when its environment is there, else the line that makes it."""
        return missing(self.environment)

    def version(self) -> str:
        """Return the version that the environment's lock names."""
        return self.environment.versions["paddlepaddle"]

    def load(self, variant: Path, threads: int = 1) -> WorkerSession:
        """Load ``variant``'s model; ``extra`` says how Paddle calls inputs and outputs."""
        about = read_variant(variant, verify=False)
        names = about.extra
        return WorkerSession(
            self.environment,
            variant / about.model_file,
            threads,
            about.inputs,
            about.outputs,
            inputs_there=[names["inputs"][each.name] for each in about.inputs],
            outputs_there=[names["outputs"][each.name] for each in about.outputs],
        )
