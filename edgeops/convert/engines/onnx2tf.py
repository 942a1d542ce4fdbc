"""ONNX to LiteRT by onnx2tf and TensorFlow, in an environment of their own: the second route.

``edgeops convert MODEL --to litert --via onnx2tf``, for models that edgeops' own writer does not
take. onnx2tf writes channels-last tensors and may reorder outputs; what it did is in the variant's
``extra``, and the LiteRT session undoes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.environments.conversion import converted, listed
from edgeops.core.environment import missing, shipped
from edgeops.core.variant import Variant, entries
from edgeops.errors import Finding, RefusedError
from edgeops.model.load import graph_inputs, graph_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import ConvertOptions

FILE = "model.tflite"


class Onnx2TfConverter:
    """The entry point ``onnx2tf`` of ``edgeops.converters``: a second way to LiteRT."""

    name = "onnx2tf"
    api = 1
    engine = "litert"
    precisions = ("fp32", "fp16")
    environment = shipped(
        "onnx2tf",
        "3.11",
        "ONNX to LiteRT through TensorFlow, for what edgeops' own writer does not take",
        2400,
        ("onnx2tf", "tensorflow", "onnxruntime"),
    )

    def available(self) -> Finding | None:
        """Return None when its environment is there, else the line that makes it."""
        return missing(self.environment)

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:  # noqa: ARG002 - the list knows names only
        """Return operators that onnx2tf has no translation for, by its list."""
        return listed(self.name, model)

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write ``model.tflite`` into ``out``.

        Raises RefusedError ``conversion-failed`` with onnx2tf's last words, and for a file with
        operators that LiteRT does not have.
        """
        answer = converted(self, model, out / FILE, options)
        if answer["custom"]:
            raise RefusedError(
                "conversion-failed",
                f"onnx2tf made a file that LiteRT cannot load: {', '.join(answer['custom'])}",
                where=self.name,
                why="these operators are TensorFlow's own (Flex) or custom ones, which LiteRT "
                "does not have",
                fix="convert by edgeops' own writer (without --via), or for another engine: "
                "edgeops check MODEL --all",
            )
        return Variant(
            engine=self.engine,
            engine_version=self.environment.versions["tensorflow"],
            precision=options.precision,
            model_file=FILE,
            inputs=graph_inputs(model),
            outputs=graph_outputs(model),
            source="",
            files=entries(out),
            extra={
                "via": f"onnx2tf {self.environment.versions['onnx2tf']}",
                "inputs": answer["inputs"],
                "outputs": answer["outputs"],
            },
        )
