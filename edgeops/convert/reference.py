"""The source model itself, ready to run: what a converted model is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError, MissingError, RefusedError
from edgeops.runtime.fit import misfit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.core.contracts import Converter, Session
    from edgeops.core.variant import TensorInfo
    from edgeops.model.source import Source


def reference(source: Source, converter: Converter) -> Session:
    """Return a session of the source, with the inputs that ``source`` states.

    ONNX runs on ONNX Runtime, other kinds on what the converter brings along, .tflite on LiteRT's
    reference kernels where it brings nothing. Raises RefusedError ``engine-load-failed`` or ``reference-missing``,
    MissingError ``engine-missing``, InputError ``model-changed``.
    """
    if source.kind == "onnx":
        from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

        where = f"the source model {source.path.name}"
        return OnnxRuntimeSession(
            source.path, where=where, inputs=source.inputs, outputs=source.outputs
        )
    make = getattr(converter, "reference", None)
    if source.kind == "tflite" and make is None:
        return TfliteReference(source)
    if make is None:
        raise RefusedError(
            "reference-missing",
            f"nothing here can run {source.path.name} to compare with",
            where=str(source.path),
            why=f"{converter.name} converts {source.kind} files, but brings nothing to run them",
            fix="export the model to ONNX and convert that",
        )
    session: Session = make(source.path, source.kind)
    return session


def otherwise(source: Source) -> list[Session]:
    """Return sessions that run the source in another way: ONNX without optimizations."""
    if source.kind != "onnx":
        return []
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    plain = OnnxRuntimeSession(
        source.path, inputs=source.inputs, outputs=source.outputs, optimize=False
    )
    return [plain]


class TfliteReference:
    """A .tflite model on LiteRT's reference kernels: slow, plain loops, without delegates."""

    def __init__(self, source: Source) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise MissingError(
                "engine-missing",
                f"comparing with {source.path.name} needs ai-edge-litert",
                where="litert",
                why="its reference kernels run the source, whichever engine it is converted for",
                fix="pip install 'edgeops[litert]'",
            ) from error
        self.inputs: tuple[TensorInfo, ...] = source.inputs
        self.outputs: tuple[TensorInfo, ...] = source.outputs
        self._where = f"the source model {source.path.name}"
        try:
            self._interpreter = Interpreter(
                str(source.path),
                experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
                experimental_preserve_all_tensors=False,
                num_threads=1,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise RefusedError(
                "engine-load-failed",
                f"LiteRT cannot load {self._where}",
                where=str(source.path),
                why=str(error).strip().splitlines()[0] if str(error).strip() else "it said nothing",
                fix="make the file again with another version of its converter",
            ) from error
        self._ins = [about["index"] for about in self._interpreter.get_input_details()]
        self._outs = [about["index"] for about in self._interpreter.get_output_details()]
        self._shapes = [tuple(tensor.shape) for tensor in source.inputs]

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call; raises InputError ``input-misfit``, RefusedError ``engine-run-failed``."""
        wrong = misfit(arrays, self.inputs, self._where)
        if wrong:
            raise wrong
        try:
            return self._run([arrays[tensor.name] for tensor in self.inputs])
        except (ValueError, RuntimeError) as error:
            raise RefusedError(
                "engine-run-failed",
                f"LiteRT failed while running {self._where}",
                where=self._where,
                why=str(error).strip() or "it said nothing",
                fix="check that the input is what the model was made for, then the model itself",
            ) from error

    def _run(self, given: list[Any]) -> dict[str, Any]:
        shapes = [array.shape for array in given]
        if shapes != self._shapes:
            for index, shape in zip(self._ins, shapes, strict=True):
                self._interpreter.resize_tensor_input(index, shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for index, array in zip(self._ins, given, strict=True):
            self._interpreter.set_tensor(index, array)
        self._interpreter.invoke()
        names = [tensor.name for tensor in self.outputs]
        values = [self._interpreter.get_tensor(index) for index in self._outs]
        return dict(zip(names, values, strict=True))


class Unchanged:
    """Watches that a file stays what it was while it is read more than once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = self._about()

    def _about(self) -> tuple[int, int, int] | None:
        try:
            about = self._path.stat()
        except OSError:
            return None  # what reads the file says what is wrong with it
        return about.st_ino, about.st_size, about.st_mtime_ns

    def check(self) -> None:
        """Raise InputError ``model-changed`` when the file is another than at the beginning."""
        if self._about() == self._before:
            return
        raise InputError(
            "model-changed",
            f"{self._path.name} changed while it was being converted",
            where=str(self._path),
            why="something else is writing the file",
            fix="wait until it is written, then convert it again",
        )
