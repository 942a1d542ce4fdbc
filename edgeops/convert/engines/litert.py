"""ONNX to LiteRT by edgeops' own writer; ``.tflite`` files as they are."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import Variant, entries
from edgeops.errors import Finding, RefusedError
from edgeops.model.load import graph_inputs, graph_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import ConvertOptions, Session
    from edgeops.core.variant import TensorInfo

FILE = "model.tflite"


class LiteRtConverter:
    """The entry point ``litert`` of ``edgeops.converters``."""

    name = "litert"
    api = 1
    precisions = ("fp32", "fp16")
    quantized = True
    sources = ("onnx", "tflite")

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
        """Return what of the model LiteRT cannot take.

        The table support/litert.toml says it for most models; what passes it is put into LiteRT's
        operators, and nodes for which that fails are told then. Nothing is written.
        """
        from edgeops.convert import support

        found = support.findings(self.name, model, options)
        return found or _refusals(model)

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write ``model.tflite`` into ``out``; raises RefusedError naming the node."""
        from edgeops.convert.litert.make import tflite

        inputs, outputs = graph_inputs(model), graph_outputs(model)
        (out / FILE).write_bytes(tflite(model, options.precision))
        return self._variant(out, options, inputs, outputs)

    def check_file(self, path: Path, kind: str, options: ConvertOptions) -> Sequence[Finding]:  # noqa: ARG002 - "tflite" is the only kind besides ONNX
        """Return what is asked for that the file is not: it is taken as it is."""
        from edgeops.model.source import open_source

        if options.precision != "fp16" or open_source(path).precision == "fp16":
            return []
        return [
            Finding(
                "precision-unsupported",
                f"{path.name} cannot be turned into fp16",
                where=str(path),
                why="a .tflite file is taken as it is, and its weights are no halves",
                fix="leave out --precision fp16, or convert the ONNX model that it was made from",
            )
        ]

    def convert_file(self, path: Path, kind: str, out: Path, options: ConvertOptions) -> Variant:  # noqa: ARG002 - "tflite" is the only kind besides ONNX
        """Copy a ``.tflite`` file to ``model.tflite`` in ``out``."""
        import shutil

        from edgeops.model.source import open_source

        source = open_source(path)
        shutil.copyfile(path, out / FILE)
        return self._variant(out, options, source.inputs, source.outputs)

    def reference(self, path: Path, kind: str) -> Session:  # noqa: ARG002 - "tflite" is the only kind that is asked for
        """Return the ``.tflite`` file by itself, on the kernels that its variant runs on.

        LiteRT's reference kernels round otherwise: on a layer with integer weights and float
        inputs they were seen 30 % away from XNNPACK's.
        """
        from edgeops.runtime.engines.litert import LiteRtSession

        return LiteRtSession(path)

    def _variant(
        self,
        out: Path,
        options: ConvertOptions,
        inputs: tuple[TensorInfo, ...],
        outputs: tuple[TensorInfo, ...],
    ) -> Variant:
        from importlib.metadata import version

        return Variant(
            engine=self.name,
            engine_version=version("ai-edge-litert"),
            precision=options.precision,
            model_file=FILE,
            inputs=inputs,
            outputs=outputs,
            source="",
            files=entries(out),
        )


def _refusals(model: Any) -> list[Finding]:
    """Return the nodes of a prepared model that cannot be said in LiteRT's operators."""
    from edgeops.convert import support
    from edgeops.convert.litert.lowering import lower

    try:
        lower(model)
    except RefusedError as error:
        others = [engine for engine in support.takers(model) if engine != LiteRtConverter.name]
        return [
            replace(finding, details={**finding.details, "alternatives": others})
            for finding in error.findings
        ]
    return []
