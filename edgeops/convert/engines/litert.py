"""ONNX to LiteRT by edgeops' own writer; ``.tflite`` files as they are."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import Variant, entries
from edgeops.errors import Finding
from edgeops.model.load import graph_inputs, graph_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import ConvertOptions

FILE = "model.tflite"


class LiteRtConverter:
    """The entry point ``litert`` of ``edgeops.converters``."""

    name = "litert"
    api = 1
    precisions = ("fp32", "fp16")

    def available(self) -> Finding | None:
        """Return None when the schema of LiteRT's files can be imported, else how to get it."""
        if find_spec("ai_edge_litert") is not None:
            return None
        return Finding(
            "engine-missing",
            "converting for litert needs ai-edge-litert",
            where="litert",
            why="not installed",
            fix="pip install 'edgeops[litert]'",
        )

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:
        """Return what of the model LiteRT cannot take, by the table support/litert.toml."""
        from edgeops.convert import support

        return support.findings(self.name, model, options)

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write ``model.tflite`` into ``out``; raises RefusedError naming the node."""
        from importlib.metadata import version

        from edgeops.convert.litert.make import tflite

        (out / FILE).write_bytes(tflite(model, options.precision))
        return Variant(
            engine=self.name,
            engine_version=version("ai-edge-litert"),
            precision=options.precision,
            model_file=FILE,
            inputs=graph_inputs(model),
            outputs=graph_outputs(model),
            source="",
            files=entries(out),
        )
