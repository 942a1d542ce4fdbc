"""``torch.export`` programs (.pt2) to ExecuTorch, by its own tools in an environment of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.environments.conversion import converted_file, not_from_onnx, refused
from edgeops.core.environment import missing
from edgeops.core.variant import Variant, entries
from edgeops.runtime.engines.executorch import ExecuTorchEngine
from edgeops.runtime.remote import WorkerSession

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import ConvertOptions
    from edgeops.errors import Finding

FILE = "model.pte"


class ExecuTorchConverter:
    """The entry point ``executorch`` of ``edgeops.converters``."""

    name = "executorch"
    api = 1
    precisions = ("fp32",)
    sources = ("pt2",)
    environment = ExecuTorchEngine.environment

    def available(self) -> Finding | None:
        """Return None when its environment is there, else the line that makes it."""
        return missing(self.environment)

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:  # noqa: ARG002 - no ONNX model suits
        """Refuse ONNX: ExecuTorch's tools read torch.export programs only."""
        return [not_from_onnx(self.name, "ExecuTorch")]

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:  # noqa: ARG002 - nothing is written
        """Refuse ONNX, as ``check`` does."""
        raise refused(self.check(model, options))

    def convert_file(self, path: Path, kind: str, out: Path, options: ConvertOptions) -> Variant:  # noqa: ARG002 - there is one kind
        """Write ``model.pte`` into ``out``; raises RefusedError ``conversion-failed``."""
        from edgeops.model.source import open_source

        source = open_source(path)
        converted_file(self, path, out / FILE, options)
        return Variant(
            engine=self.name,
            engine_version=self.environment.versions["executorch"],
            precision=options.precision,
            model_file=FILE,
            inputs=source.inputs,
            outputs=source.outputs,
            source="",
            files=entries(out),
        )

    def reference(self, path: Path, kind: str) -> WorkerSession:
        """Return the program itself, run eagerly by PyTorch: what its variant is compared with."""
        from edgeops.model.source import open_source

        source = open_source(path)
        return WorkerSession(self.environment, path, 1, source.inputs, source.outputs, kind=kind)
