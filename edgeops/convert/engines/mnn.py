"""ONNX or TFLite to ``model.mnn``, by MNN's converter called as a function.

Its console scripts and ``MNN.tools`` are never touched: they install a package and send usage
data. The converter returns True whatever happens, so it is believed only when it said so and left
a file that MNN can open, with the inputs and outputs of the source.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.convert.engines.mnn_graph import adapt
from edgeops.convert.variance import steady_variance
from edgeops.core.variant import Variant, entries
from edgeops.errors import Finding, RefusedError
from edgeops.model.load import graph_inputs, graph_outputs
from edgeops.runtime.engines.quiet import hushed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeops.core.contracts import ConvertOptions
    from edgeops.core.variant import TensorInfo

FILE = "model.mnn"
_FRAMEWORKS = {"onnx": "ONNX", "tflite": "TFLITE"}
_SUCCESS = "Converted Success!"


class MnnConverter:
    """The entry point ``mnn`` of ``edgeops.converters``."""

    name = "mnn"
    api = 1
    precisions = ("fp32", "fp16")
    sources = ("onnx", "tflite")

    def available(self) -> Finding | None:
        """Return None when MNN and its converter can be imported, else how to get them."""
        if all(find_spec(name) is not None for name in ("MNN", "_tools", "onnx")):
            return None
        return Finding(
            "engine-missing",
            "converting for mnn needs MNN",
            where="mnn",
            why="the Python package MNN is not there",
            fix="pip install 'edgeops[mnn]'",
        )

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:
        """Return what the table ``convert/support/mnn.toml`` says MNN cannot take."""
        from edgeops.convert import support

        found: Sequence[Finding] = support.findings(self.name, model, options)
        return found

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write ``model.mnn`` into ``out``; ``model`` is changed into a form that MNN reads.

        Raises RefusedError ``conversion-failed`` with what the converter printed.
        """
        import onnx

        steady_variance(model)
        adapt(model)
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch) / "model.onnx"
            onnx.save_model(model, source)
            recurrent = any(node.op_type in ("LSTM", "GRU", "RNN") for node in model.graph.node)
            _mnnconvert(source, "onnx", out, options, recurrent=recurrent)
        inputs, outputs = graph_inputs(model), graph_outputs(model)
        return self._variant(out, options, inputs, outputs)

    def check_file(self, path: Path, kind: str, options: ConvertOptions) -> Sequence[Finding]:  # noqa: ARG002 - "tflite" is the only kind besides ONNX
        """Return operators that the TFLite front end lacks, and quantized tensors."""
        from edgeops.convert.engines.tflite_check import findings

        return findings(path, self.name)

    def convert_file(self, path: Path, kind: str, out: Path, options: ConvertOptions) -> Variant:
        """Write ``model.mnn`` into ``out`` from a source file of ``kind`` "tflite".

        Raises RefusedError ``conversion-failed`` with what the converter printed.
        """
        from edgeops.model.source import open_source

        source = open_source(path)
        _mnnconvert(path, kind, out, options)
        return self._variant(out, options, source.inputs, source.outputs)

    def _variant(
        self,
        out: Path,
        options: ConvertOptions,
        inputs: tuple[TensorInfo, ...],
        outputs: tuple[TensorInfo, ...],
    ) -> Variant:
        from importlib.metadata import version

        _same_interface(out / FILE, inputs, outputs)
        return Variant(
            engine=self.name,
            engine_version=version("MNN"),
            precision=options.precision,
            model_file=FILE,
            inputs=inputs,
            outputs=outputs,
            source="",
            files=entries(out),
        )


def _mnnconvert(
    source: Path, kind: str, out: Path, options: ConvertOptions, *, recurrent: bool = False
) -> None:
    made = out / FILE
    command = ["mnnconvert", "-f", _FRAMEWORKS[kind], "--modelFile", str(source)]
    command += ["--MNNModel", str(made), "--bizCode", "edgeops"]
    command += ["--useGeluApproximation", "0"]  # the default is wrong in the fourth digit
    if options.precision == "fp16":
        command.append("--fp16")
    if recurrent:
        # Without it an LSTM whose optional inputs are left out ends the process (bad_alloc).
        command.append("--useOriginRNNImpl")
    with hushed() as said:
        import _tools

        _tools.mnnconvert(command)
    if _SUCCESS in said.text and made.is_file() and made.stat().st_size > 0:
        return
    made.unlink(missing_ok=True)
    raise _failed(said.last())


def _same_interface(
    path: Path, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
) -> None:
    """Raise RefusedError ``conversion-failed`` unless MNN's file has the source's names."""
    with hushed() as said:
        from MNN import nn

        try:
            about = nn.load_module_from_file(str(path), [], []).get_info()
        except SystemError:
            about = None
    if about is None:
        raise _failed(f"MNN cannot open what it wrote; {said.last()}")
    for side, tensors in (("inputNames", inputs), ("outputNames", outputs)):
        wanted, has = {tensor.name for tensor in tensors}, set(about[side])
        if wanted != has:
            raise _failed(
                f"the {side.removesuffix('Names')}s of what it wrote are {', '.join(sorted(has))}, "
                f"not {', '.join(sorted(wanted))}"
            )


def _einsums(model: Any) -> Iterator[Finding]:
    """Yield Einsum nodes that take a diagonal or name no axes, which no table can say."""
    from onnx import helper

    for node in model.graph.node:
        if node.op_type != "Einsum":
            continue
        equation = helper.get_node_attr_value(node, "equation").decode().replace(" ", "")
        terms = equation.partition("->")[0].split(",")
        if "." not in equation and all(len(set(term)) == len(term) for term in terms):
            continue
        name = node.name or node.output[0]
        yield Finding(
            "attribute-unsupported",
            f"mnn does not take Einsum (node {name!r}) with equation = {equation!r}",
            where=name,
            why="it takes each axis by a letter of its own, once an operand",
            fix="write it as MatMul, Transpose and ReduceSum",
            details={"node": name, "op": "Einsum", "alternatives": ["onnxruntime", "openvino"]},
        )


def _failed(why: str) -> RefusedError:
    return RefusedError(
        "conversion-failed",
        "MNN's converter cannot convert the model",
        where="mnn",
        why=why or "it said nothing",
        fix="convert it for another engine: edgeops check MODEL --all shows which take it",
    )
