"""The ONNX Runtime engine: sessions on the CPU from ``model.onnx`` or ``model.ort``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import TensorInfo, read_variant
from edgeops.errors import Finding, RefusedError
from edgeops.runtime.fit import misfit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# ORT's names of element types (onnxruntime/core/framework/data_types.cc) to numpy's.
_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "string": "str",
    "bool": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_QUIET = 4  # OrtLoggingLevel.FATAL: what matters comes as an exception, not as a line on stderr


class OnnxRuntimeSession:
    """A loaded ONNX Runtime model on the CPU; safe to call from several threads."""

    def __init__(
        self,
        source: Path | bytes,
        threads: int = 1,
        *,
        inputs: tuple[TensorInfo, ...] = (),
        outputs: tuple[TensorInfo, ...] = (),
        optimize: bool = True,
        where: str = "",
    ) -> None:
        import onnxruntime

        self._where = where or (source.name if not isinstance(source, bytes) else "the model")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        if not optimize:
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        model = source if isinstance(source, bytes) else str(source)
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except _failures() as error:
            raise RefusedError(
                "engine-load-failed",
                f"ONNX Runtime cannot load {self._where}",
                where=str(source) if not isinstance(source, bytes) else self._where,
                why=_reason(error),
                fix="see what it cannot take with: edgeops check MODEL --to onnxruntime",
            ) from error
        self.inputs = inputs or tuple(map(_tensor, self._session.get_inputs()))
        self.outputs = outputs or tuple(map(_tensor, self._session.get_outputs()))
        self._names = [tensor.name for tensor in self.outputs]

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call; arrays that are no inputs are ignored.

        Raises InputError ``input-misfit`` when a name, shape or dtype is not the model's,
        RefusedError ``engine-run-failed`` when the model fails on what fits.
        """
        try:
            feed = {tensor.name: arrays[tensor.name] for tensor in self.inputs}
            return dict(zip(self._names, self._session.run(self._names, feed)))
        except _failures() as error:
            wrong = misfit(arrays, self.inputs, self._where)
            if wrong:
                raise wrong from error
            raise RefusedError(
                "engine-run-failed",
                f"ONNX Runtime failed while running {self._where}",
                where=self._where,
                why=_reason(error),
                fix="check that the input is what the model was made for, then the model itself",
            ) from error


class OnnxRuntimeEngine:
    """The entry point ``onnxruntime`` of ``edgeops.engines``."""

    name = "onnxruntime"
    api = 1

    def available(self) -> Finding | None:
        """Return None when onnxruntime can be imported, else how to get it."""
        if find_spec("onnxruntime") is not None:
            return None
        return Finding(
            "engine-missing",
            "the engine onnxruntime is not installed",
            where="onnxruntime",
            why="the Python package onnxruntime is not there",
            fix="pip install onnxruntime",
        )

    def version(self) -> str:
        """Return the version of the onnxruntime package."""
        import onnxruntime

        return str(onnxruntime.__version__)

    def load(self, variant: Path, threads: int = 1) -> OnnxRuntimeSession:
        """Load ``variant``'s model file; names and shapes come from variant.json."""
        about = read_variant(variant, verify=False)
        return OnnxRuntimeSession(
            variant / about.model_file, threads, inputs=about.inputs, outputs=about.outputs
        )


def _failures() -> tuple[type[Exception], ...]:
    # ORT's exceptions share no base but Exception; these are all that its binding registers.
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "EPFail Fail InvalidArgument InvalidGraph InvalidProtobuf ModelLoaded NoModel "
        "NoSuchFile NotImplemented RuntimeException"
    )
    known = tuple(getattr(state, name) for name in names.split() if hasattr(state, name))
    return (*known, KeyError, ValueError, RuntimeError, TypeError)


def _reason(error: Exception) -> str:
    # "[ONNXRuntimeError] : 1 : FAIL : Load model from /path failed:text" holds build paths of
    # ORT's own sources in some messages; the first line without the prefix is what helps.
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.removeprefix("[ONNXRuntimeError] : ")


def _tensor(node: Any) -> TensorInfo:
    kind, _, inner = node.type.partition("(")
    dtype = _DTYPES.get(inner.rstrip(")"), inner.rstrip(")")) if kind == "tensor" else kind
    shape = tuple("?" if size is None else size for size in node.shape or ())
    return TensorInfo(node.name, shape, dtype)
