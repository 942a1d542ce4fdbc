"""ONNX to Paddle Inference by X2Paddle, in an environment of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.environments.conversion import converted, listed
from edgeops.core.environment import missing
from edgeops.core.variant import Variant, entries
from edgeops.model.load import graph_inputs, graph_outputs
from edgeops.runtime.engines.paddle import PaddleEngine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import ConvertOptions
    from edgeops.errors import Finding

FILE = "model.json"


class PaddleConverter:
    """The entry point ``paddle`` of ``edgeops.converters``."""

    name = "paddle"
    api = 1
    precisions = ("fp32",)
    environment = PaddleEngine.environment

    def available(self) -> Finding | None:
        """Return None when its environment is there, else the line that makes it."""
        return missing(self.environment)

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:  # noqa: ARG002 - the list knows names only
        """Return operators that X2Paddle has no translation for, by its list."""
        return listed(self.name, model)

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write ``model.json`` and ``model.pdiparams``; raises RefusedError ``conversion-failed``."""
        answer = converted(self, model, out, options)
        inputs, outputs = graph_inputs(model), graph_outputs(model)
        return Variant(
            engine=self.name,
            engine_version=self.environment.versions["paddlepaddle"],
            precision=options.precision,
            model_file=FILE,
            inputs=inputs,
            outputs=outputs,
            source="",
            files=entries(out),
            extra={
                "via": f"x2paddle {self.environment.versions['x2paddle']}",
                "inputs": _called(inputs, answer["inputs"]),
                "outputs": _called(outputs, answer["outputs"]),
            },
        )


def _called(tensors: Sequence[Any], names: Sequence[str]) -> dict[str, str]:
    """Return Paddle's name of each tensor; X2Paddle keeps the source's order."""
    return {tensor.name: name for tensor, name in zip(tensors, names, strict=True)}
