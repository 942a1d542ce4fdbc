"""ONNX to the files that ONNX Runtime opens: ``model.onnx``, or ``model.ort`` on request.

ORT format is what reduced builds of the engine read; it is written at the "extended" optimization
level, the highest whose result does not depend on the processor of the machine that wrote it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import Variant, entries
from edgeops.errors import Finding, RefusedError
from edgeops.model.load import graph_inputs, graph_outputs
from edgeops.model.write import save_onnx

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import ConvertOptions


class OnnxRuntimeConverter:
    """The entry point ``onnxruntime`` of ``edgeops.converters``."""

    name = "onnxruntime"
    api = 1
    precisions = ("fp32", "fp16")
    forms = ("onnx", "ort")

    def available(self) -> Finding | None:
        """Return None when onnx and onnxruntime can be imported, else how to get them."""
        gone = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
        if not gone:
            return None
        return Finding(
            "engine-missing",
            f"converting for onnxruntime needs {' and '.join(gone)}",
            where="onnxruntime",
            why="not installed",
            fix=f"pip install {' '.join(gone)}",
        )

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:
        """Return what the table does not take, and masks that are too short."""
        from edgeops.convert import support

        return [*support.findings(self.name, model, options), *_short_masks(model)]

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write the model file into ``out``.

        Raises RefusedError ``fp16-failed`` or ``ort-format-failed`` with what the engine said.
        """
        import onnxruntime

        if options.precision == "fp16":
            model = _half(model)
        file = "model.onnx"
        if options.form == "ort":
            file = "model.ort"
            _write_ort(model, out / file)
        else:
            save_onnx(model, out / file)
        return Variant(
            engine=self.name,
            engine_version=str(onnxruntime.__version__),
            precision=options.precision,
            model_file=file,
            inputs=graph_inputs(model),
            outputs=graph_outputs(model),
            source="",
            files=entries(out),
        )


def _half(model: Any) -> Any:
    from edgeops.model.half import to_half

    try:
        return to_half(model)
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise RefusedError(
            "fp16-failed",
            "the model cannot be turned into float16",
            where="model",
            why=f"onnxruntime.transformers.float16: {type(error).__name__}: {error}",
            fix="use --precision fp32",
        ) from error


def _write_ort(model: Any, path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    try:
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no base
        raise RefusedError(
            "ort-format-failed",
            "ONNX Runtime cannot write the model in ORT format",
            where=path.name,
            why=str(error).strip().splitlines()[0],
            fix="see what it cannot take with: edgeops check MODEL --to onnxruntime",
        ) from error


def _short_masks(model: Any) -> list[Finding]:
    """Return Attention nodes whose mask is shorter than what it masks; ONNX fills it up."""
    from edgeops.convert.support import takers
    from edgeops.convert.support.facts import read_graph

    nodes = [node for node in read_graph(model).nodes if node.operator == "Attention"]
    return [
        Finding(
            "attribute-unsupported",
            f"onnxruntime does not take Attention (node {node.name!r}) with a mask {sizes}",
            where=node.name,
            why="it takes a mask that is as long as what it masks",
            fix="pad the mask to that length in the model",
            details={"node": node.name, "op": "Attention", "alternatives": list(takers(model))},
        )
        for node in nodes
        if (sizes := _too_short([tensor.shape if tensor else None for tensor in node.inputs]))
    ]


def _too_short(shapes: Sequence[tuple[int | None, ...] | None]) -> str:
    """Return ``for 4 of 6 positions`` from the shapes of Attention's inputs, or ""."""
    by_index = dict(enumerate(shapes))
    key, mask, cache = (by_index.get(index) for index in (1, 3, 4))
    if not key or not mask or cache:
        return ""
    length, covered = key[-2], mask[-1]
    if length is None or covered is None or length == covered:
        return ""
    return f"for {covered} of {length} positions"
