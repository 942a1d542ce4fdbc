"""``torch.export`` programs (.pt2) to Core ML, by coremltools in an environment of its own.

Nothing can run the result here: Core ML predicts only on macOS. That coremltools could save it is
the only evidence there is, so its variants are unproven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.environments.conversion import converted_file, not_from_onnx, refused
from edgeops.core.environment import missing, shipped
from edgeops.core.variant import Variant, entries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import ConvertOptions
    from edgeops.errors import Finding

FOLDER = "model.mlpackage"
FILE = f"{FOLDER}/Manifest.json"


class CoreMlConverter:
    """The entry point ``coreml`` of ``edgeops.converters``."""

    name = "coreml"
    api = 1
    precisions = ("fp32", "fp16")
    sources = ("pt2",)
    unproven = "Core ML predicts only on macOS"
    environment = shipped(
        "coreml",
        "3.11",
        "torch.export programs to Core ML; running them takes macOS",
        1100,
        ("torch", "coremltools"),
    )

    def available(self) -> Finding | None:
        """Return None when its environment is there, else the line that makes it."""
        return missing(self.environment)

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:  # noqa: ARG002 - no ONNX model suits
        """Refuse ONNX, which coremltools dropped in version 6."""
        return [not_from_onnx(self.name, "coremltools")]

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:  # noqa: ARG002 - nothing is written
        """Refuse ONNX, as ``check`` does."""
        raise refused(self.check(model, options))

    def convert_file(self, path: Path, kind: str, out: Path, options: ConvertOptions) -> Variant:  # noqa: ARG002 - there is one kind
        """Write the folder ``model.mlpackage``; raises RefusedError ``conversion-failed``."""
        from edgeops.model.source import open_source

        source = open_source(path)
        answer = converted_file(self, path, out / FOLDER, options)
        return Variant(
            engine=self.name,
            engine_version=self.environment.versions["coremltools"],
            precision=options.precision,
            model_file=FILE,
            inputs=source.inputs,
            outputs=source.outputs,
            source="",
            files=entries(out),
            extra={
                "inputs": _called(source.inputs, answer["inputs"]),
                "outputs": _called(source.outputs, answer["outputs"]),
                "specification": answer["specification"],
            },
        )


def _called(tensors: Sequence[Any], names: Sequence[str]) -> dict[str, str]:
    """Return Core ML's name of each tensor; both sides keep the program's order."""
    return {tensor.name: name for tensor, name in zip(tensors, names, strict=True)}
