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
        self._shapes: tuple[tuple[int, ...], ...] | None = None
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
        wrong = misfit(arrays, self.inputs, self._where)  # MNN would read any bytes as its own
        if wrong:
            raise wrong
        with self._lock:
            feed = [self._variable(index, arrays) for index in range(len(self.inputs))]
            shapes = tuple(arrays[tensor.name].shape for tensor in self.inputs)
            if shapes == self._shapes:
                return self._answers(self._forward(feed), "")
            # MNN plans memory and picks kernels now, and prints what it cannot do.
            self._shapes = None
            with hushed() as said:
                found = self._forward(feed)
            answers = self._answers(found, said.last())
            self._shapes = shapes
            return answers

    def _load(self, path: Path, inputs: list[str], outputs: list[str], threads: int) -> None:
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
        self._expr = expr
        self._types = []
        for tensor, variable in zip(self.inputs, about["inputs"], strict=True):
            dtype = _ENGINE_DTYPES.get(str(variable.dtype).rpartition(".")[2])
            if dtype is None:
                raise _load_failed(path, f"its input {tensor.name!r} is {variable.dtype}")
            self._types.append((tensor.name, dtype, variable.dtype, variable.data_format))

    def _variable(self, index: int, arrays: Mapping[str, Any]) -> Any:
        import numpy as np

        name, dtype, engine_dtype, layout = self._types[index]
        array = arrays[name]
        if array.dtype.name != dtype:
            cast = array.astype(dtype)
            if not np.array_equal(cast, array):
                raise InputError(
                    "input-misfit",
                    f"the input does not fit {self._where}",
                    where=self._where,
                    why=f"{name!r} holds {array.dtype} values that {dtype} cannot hold, "
                    "which is what MNN computes with",
                    fix=f"give values within the range of {dtype}",
                )
            array = cast
        # MNN takes no numpy array of int8, and no array without axes.
        data = array.tobytes() if dtype == "int8" else np.ascontiguousarray(array)
        return self._expr.const(data, list(array.shape), layout, engine_dtype)

    def _forward(self, feed: list[Any]) -> Sequence[Any]:
        try:
            found: Sequence[Any] = self._module.forward(feed)
        except SystemError:
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
        for tensor, variable in zip(self.outputs, found, strict=True):
            array = _values(variable)
            wanted = "object" if tensor.dtype == "str" else tensor.dtype
            answers[tensor.name] = array.astype(wanted, copy=True)
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


def _values(variable: Any) -> Any:
    """Return a view of what MNN computed: memory that it uses again, empty when it has none."""
    import numpy as np

    if 0 in variable.shape:
        return np.zeros(variable.shape, "float32")
    return variable.read()


def _load_failed(path: Path, why: str) -> RefusedError:
    return RefusedError(
        "engine-load-failed",
        f"MNN cannot load {path.name}",
        where=str(path),
        why=why,
        fix="see what it cannot take with: edgeops check MODEL --to mnn",
    )
