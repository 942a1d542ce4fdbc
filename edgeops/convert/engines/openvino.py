"""ONNX or TFLite to OpenVINO IR: ``model.xml`` with its weights in ``model.bin``."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.convert.engines.openvino_graph import adapt, settle
from edgeops.convert.variance import steady_variance
from edgeops.core.variant import Variant, entries
from edgeops.errors import Finding, RefusedError
from edgeops.model.load import graph_inputs, graph_outputs
from edgeops.runtime.engines.openvino import reason
from edgeops.runtime.engines.quiet import hushed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.core.contracts import ConvertOptions
    from edgeops.core.variant import TensorInfo

FILE = "model.xml"
WEIGHTS = "model.bin"


class OpenVinoConverter:
    """The entry point ``openvino`` of ``edgeops.converters``."""

    name = "openvino"
    api = 1
    precisions = ("fp32", "fp16")
    sources = ("onnx", "tflite")

    def available(self) -> Finding | None:
        """Return None when openvino and onnx can be imported, else how to get them."""
        if all(find_spec(name) is not None for name in ("openvino", "onnx")):
            return None
        return Finding(
            "engine-missing",
            "converting for openvino needs OpenVINO",
            where="openvino",
            why="the Python package openvino is not there",
            fix="pip install 'edgeops[openvino]'",
        )

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:
        """Return what the table ``convert/support/openvino.toml`` says OpenVINO cannot take."""
        from edgeops.convert import support

        return support.findings(self.name, model, options)

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write ``model.xml`` and ``model.bin``; ``model`` is changed into a form that it reads.

        Raises RefusedError ``conversion-failed`` with what OpenVINO said.
        """
        import onnx

        steady_variance(model)
        adapt(model)
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch) / "model.onnx"
            onnx.save_model(model, source)
            inputs, outputs = graph_inputs(model), graph_outputs(model)
            return self._write(source, out, options, inputs, outputs)

    def check_file(self, path: Path, kind: str, options: ConvertOptions) -> Sequence[Finding]:  # noqa: ARG002 - "tflite" is the only kind besides ONNX
        """Return operators that the TFLite front end lacks, and quantized tensors."""
        from edgeops.convert.engines.tflite_check import findings

        return findings(path, self.name)

    def convert_file(self, path: Path, kind: str, out: Path, options: ConvertOptions) -> Variant:  # noqa: ARG002 - "tflite" is the only kind besides ONNX
        """Write ``model.xml`` and ``model.bin`` into ``out`` from a ``.tflite`` file.

        Raises RefusedError ``conversion-failed`` with what OpenVINO said.
        """
        from edgeops.model.source import open_source

        source = open_source(path)
        return self._write(path, out, options, source.inputs, source.outputs)

    def _write(
        self,
        source: Path,
        out: Path,
        options: ConvertOptions,
        inputs: tuple[TensorInfo, ...],
        outputs: tuple[TensorInfo, ...],
    ) -> Variant:
        from importlib.metadata import version

        # OpenVINO's telemetry keeps silent where it takes itself to be in a CI job.
        os.environ["CI"] = "true"
        with hushed():
            import openvino

            try:
                model = openvino.convert_model(source)
                settle(model)
                _require_names(model, inputs, outputs)
                half = options.precision == "fp16"
                openvino.save_model(model, out / FILE, compress_to_fp16=half)
            except RefusedError:
                raise
            except Exception as error:  # its exceptions share no base
                raise _failed(reason(error)) from error
        if not all((out / name).is_file() for name in (FILE, WEIGHTS)):
            raise _failed("it said nothing, and wrote no files")
        return Variant(
            engine=self.name,
            engine_version=version("openvino"),
            precision=options.precision,
            model_file=FILE,
            inputs=inputs,
            outputs=outputs,
            source="",
            files=entries(out),
        )


def _require_names(model: Any, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> None:
    """Raise RefusedError unless outputs are the source's; inputs that nothing reads may be gone."""
    for side, ports, tensors in (
        ("input", model.inputs, inputs),
        ("output", model.outputs, outputs),
    ):
        has = set().union(*(port.get_names() for port in ports))
        wanted = {tensor.name for tensor in tensors}
        unknown = [port for port in ports if not wanted & port.get_names()]
        if unknown or (side == "output" and not wanted <= has):
            raise _failed(
                f"what it made has the {side}s {', '.join(sorted(has))}, "
                f"not {', '.join(tensor.name for tensor in tensors)}"
            )


def _failed(why: str) -> RefusedError:
    return RefusedError(
        "conversion-failed",
        "OpenVINO cannot convert the model",
        where="openvino",
        why=why,
        fix="convert it for another engine: edgeops check MODEL --all shows which take it",
    )
