"""The MNN engine: sessions on the CPU from ``model.mnn``, through MNN's Module interface.

Of MNN's two interfaces the Module one is as fast as the Session one on large models, 20 to 40 %
faster on small ones (fewer crossings into C++), and resizes by itself when shapes change.
"""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import read_variant
from edgeops.errors import Finding, InputError, RefusedError
from edgeops.runtime.engines.quiet import hushed
from edgeops.runtime.fit import misfit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.variant import TensorInfo

# Names of MNN's element types (MNN.expr.dtype) to numpy's; it has no bool.
_ENGINE_DTYPES = {"float": "float32", "int": "int32", "uint8": "uint8", "int8": "int8"}


class MnnSession:
    """A loaded MNN model on the CPU; ``run`` may be called from several threads, one at a time.

    MNN's modules keep the tensors of the last call, so calls wait for each other on a lock; for
    work in parallel load one session a thread.
    """

    def __init__(
        self,
        path: Path,
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
        threads: int = 1,
        names: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._where = path.name
        self._lock = threading.Lock()
        self._forms: list[tuple[str, tuple[int, ...], Any]] | None = None
        named = names or {}
        engine_inputs, engine_outputs = (
            [named.get(side, {}).get(tensor.name, tensor.name) for tensor in tensors]
            for side, tensors in (("inputs", self.inputs), ("outputs", self.outputs))
        )
        self._load(path, engine_inputs, engine_outputs, threads)

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call; arrays that are no inputs are ignored.

        Raises InputError ``input-misfit`` when a name, shape or dtype is not the model's or an
        int64 does not fit into the int32 that MNN computes with, RefusedError
        ``engine-run-failed`` when MNN fails, which it shows by answering nothing.
        """
        with self._lock:
            if self._forms is not None and self._is_as_before(arrays):
                return self._answers(self._forward(arrays), "")
            return self._first(arrays)

    def _is_as_before(self, arrays: Mapping[str, Any]) -> bool:
        """Return whether shapes and dtypes are those of the last call, which fitted."""
        for name, shape, dtype in self._forms or ():
            array = arrays.get(name)
            if array is None or getattr(array, "shape", None) != shape or array.dtype != dtype:
                return False
        return True

    def _first(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the first call with its shapes: MNN plans memory and prints what it cannot do."""
        wrong = misfit(arrays, self.inputs, self._where)  # MNN would read any bytes as its own
        if wrong:
            raise wrong
        self._forms = None
        with hushed() as said:
            found = self._forward(arrays)
        answers = self._answers(found, said.last())
        self._forms = [(t.name, arrays[t.name].shape, arrays[t.name].dtype) for t in self.inputs]
        return answers

    def _load(self, path: Path, inputs: list[str], outputs: list[str], threads: int) -> None:
        import numpy as np

        with hushed() as said:
            from MNN import expr, nn

            about: dict[str, Any] = {"inputs": []}
            failure: Exception | None = None
            config = {"backend": "CPU", "numThread": threads, "precision": "high"}
            try:
                self._runtime = nn.create_runtime_manager((config,))
                self._module = nn.load_module_from_file(
                    str(path), inputs, outputs, runtime_manager=self._runtime
                )
                about = self._module.get_info()
            except (SystemError, RuntimeError, ValueError, TypeError) as error:
                failure = error
        if failure is not None:
            raise _load_failed(path, said.last() or str(failure)) from failure
        self._expr, self._numpy = expr, np
        self._wanted = [
            (tensor.name, np.dtype(object if tensor.dtype == "str" else tensor.dtype))
            for tensor in self.outputs
        ]
        self._types = []
        for tensor, variable in zip(self.inputs, about["inputs"]):
            dtype = _ENGINE_DTYPES.get(str(variable.dtype).rpartition(".")[2])
            if dtype is None:
                raise _load_failed(path, f"its input {tensor.name!r} is {variable.dtype}")
            packed = variable.data_format == expr.NC4HW4  # its own layout: given as NCHW
            layout = expr.NCHW if packed else variable.data_format
            types = (np.dtype(dtype), variable.dtype, layout)
            self._types.append((tensor.name, *types))

    def _feed(self, arrays: Mapping[str, Any]) -> list[Any]:
        """Return MNN's own copies of the inputs."""
        const = self._expr.const
        feed = []
        for name, dtype, engine_dtype, layout in self._types:
            array = arrays[name]
            shape = list(array.shape)
            if array.dtype != dtype:
                array = self._cast(name, array, dtype)
            if not array.flags.c_contiguous or not shape:
                array = self._numpy.ascontiguousarray(array)  # which also gives it an axis
            # MNN takes no numpy array of int8.
            data = array.tobytes() if dtype.itemsize == 1 else array
            feed.append(const(data, shape, layout, engine_dtype))
        return feed

    def _cast(self, name: str, array: Any, dtype: Any) -> Any:
        cast = array.astype(dtype)
        if array.dtype.kind not in "iu" or (cast == array).all():
            return cast
        raise InputError(
            "input-misfit",
            f"the input does not fit {self._where}",
            where=self._where,
            why=f"{name!r} holds {array.dtype} values that {dtype} cannot hold, which is what "
            "MNN computes with",
            fix=f"give values within the range of {dtype}",
        )

    def _forward(self, arrays: Mapping[str, Any]) -> Sequence[Any]:
        try:
            found: Sequence[Any] = self._module.forward(self._feed(arrays))
        except SystemError:  # what its binding raises for all that goes wrong
            return ()
        return found

    def _answers(self, found: Sequence[Any], said: str) -> dict[str, Any]:
        if len(found) != len(self.outputs):
            raise RefusedError(
                "engine-run-failed",
                f"MNN failed while running {self._where}",
                where=self._where,
                why=f"it answered {len(found)} of {len(self.outputs)} outputs"
                + (f" and said: {said}" if said else ""),
                fix="the file may be made by another version of MNN or hold operators that this "
                "one has no kernel for; convert its source again: edgeops convert MODEL --to mnn",
            )
        answers = {}
        for (name, dtype), variable in zip(self._wanted, found):
            # What it reads is memory that MNN uses again; of nothing it cannot read.
            empty = 0 in variable.shape
            array = self._numpy.zeros(variable.shape) if empty else variable.read()
            answers[name] = array.astype(dtype)
        return answers


class MnnEngine:
    """The entry point ``mnn`` of ``edgeops.engines``."""

    name = "mnn"
    api = 1

    def available(self) -> Finding | None:
        """Return None when MNN can be imported, else how to get it."""
        if find_spec("MNN") is not None:
            return None
        return Finding(
            "engine-missing",
            "the engine mnn is not installed",
            where="mnn",
            why="the Python package MNN is not there",
            fix="pip install 'edgeops[mnn]'",
        )

    def version(self) -> str:
        """Return the version of the MNN package."""
        from importlib.metadata import version

        return version("MNN")

    def load(self, variant: Path, threads: int = 1) -> MnnSession:
        """Load ``variant``'s model file; names, order and dtypes come from variant.json.

        Raises RefusedError ``engine-load-failed`` with what MNN printed.
        """
        about = read_variant(variant, verify=False)
        return MnnSession(
            variant / about.model_file, about.inputs, about.outputs, threads, about.extra
        )


def _load_failed(path: Path, why: str) -> RefusedError:
    return RefusedError(
        "engine-load-failed",
        f"MNN cannot load {path.name}",
        where=str(path),
        why=why,
        fix="see what it cannot take with: edgeops check MODEL --to mnn",
    )
