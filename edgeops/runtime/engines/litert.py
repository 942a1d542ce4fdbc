"""The LiteRT engine: sessions on the CPU from ``model.tflite``.

LiteRT was TensorFlow Lite; ``tflite_runtime`` is the same interpreter under its old name and serves
where only that is installed.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import TensorInfo, read_variant
from edgeops.errors import Finding, InputError, RefusedError
from edgeops.runtime.fit import misfit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PACKAGES = ("ai_edge_litert", "tflite_runtime")  # the first that is installed serves
_FAILURES = (ValueError, RuntimeError)  # all that the interpreter's binding raises
_CUSTOM = re.compile(r"Encountered unresolved custom op: ([^\s.]+)|\((Flex\w+)\) failed to prepare")
_NO_KERNEL = re.compile(f"{_CUSTOM.pattern}|Didn't find op for builtin opcode")
_STDERR = 2


class LiteRtSession:
    """A loaded .tflite model on the CPU; ``run`` may be called from several threads.

    The interpreter keeps the tensors of the last call, so calls wait for each other on a lock; for
    work in parallel load one session a thread. ``sides`` says what the file calls inputs and
    outputs, where that is not what the source model does:
    ``{"inputs": {name: {"tensor": name or index, "permutation": [...]}}, "outputs": {...}}``.
    An input is handed over with its axes in the order of ``permutation``, an output comes back so.
    """

    def __init__(
        self,
        source: Path | bytes,
        inputs: Sequence[TensorInfo] = (),
        outputs: Sequence[TensorInfo] = (),
        threads: int = 1,
        *,
        sides: Mapping[str, Any] | None = None,
        reference: bool = False,
    ) -> None:
        self._where = "the model" if isinstance(source, bytes) else source.name
        self._lock = threading.Lock()
        self._shapes: list[tuple[int, ...]] | None = None
        try:
            with _without_notices():
                self._interpreter = _interpreter(source, threads, reference=reference)
                self._bind(tuple(inputs), tuple(outputs), sides or {})
                self._allocate()
        except _FAILURES as error:
            where = self._where if isinstance(source, bytes) else str(source)
            raise _load_failed(self._where, where, str(error)) from error

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call; arrays that are no inputs are ignored.

        Raises InputError ``input-misfit`` when a name, shape or dtype is not the model's or an
        int64 does not fit into the int32 that the file computes with, RefusedError
        ``engine-run-failed`` when the model fails on what fits.
        """
        with self._lock:
            try:
                return self._answer(arrays)
            except (*_FAILURES, KeyError, TypeError, AttributeError) as error:
                self._shapes = None
                wrong = misfit(arrays, self.inputs, self._where)
                if wrong:
                    raise wrong from error
                raise RefusedError(
                    "engine-run-failed",
                    f"LiteRT failed while running {self._where}",
                    where=self._where,
                    why=_reason(str(error)),
                    fix="check that the input is what the model was made for, then the model",
                ) from error

    def _answer(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        given = [arrays[tensor.name] for tensor in self.inputs]
        feeds = [part.feed(array) for part, array in zip(self._feeds, given)]
        shapes = [feed.shape for feed in feeds]
        if shapes != self._shapes:
            self._resize(arrays, shapes)
        set_tensor, get_tensor = self._interpreter.set_tensor, self._interpreter.get_tensor
        for part, feed in zip(self._feeds, feeds):
            set_tensor(part.index, feed)
        self._interpreter.invoke()
        # get_tensor copies: what callers hold is not overwritten by the next call.
        return {part.name: part.fetch(get_tensor(part.index)) for part in self._fetches}

    def _allocate(self) -> None:
        """Plan memory for the sizes in the file, or leave that to the first call.

        The sizes that stand in a file for open axes may be too small for its windows.
        """
        try:
            self._interpreter.allocate_tensors()
        except _FAILURES as error:
            details = self._interpreter.get_input_details()
            is_open = any((detail["shape_signature"] < 0).any() for detail in details)
            if not is_open or _NO_KERNEL.search(str(error)):
                raise
            self._shapes = None

    def _resize(self, arrays: Mapping[str, Any], shapes: list[tuple[int, ...]]) -> None:
        wrong = misfit(arrays, self.inputs, self._where)
        if wrong:
            raise wrong
        self._shapes = None
        for part, shape in zip(self._feeds, shapes):
            self._interpreter.resize_tensor_input(part.index, shape)
        with _without_notices():
            self._interpreter.allocate_tensors()
        self._shapes = shapes

    def _bind(
        self,
        inputs: tuple[TensorInfo, ...],
        outputs: tuple[TensorInfo, ...],
        sides: Mapping[str, Any],
    ) -> None:
        """Find the file's tensor of each input and output."""
        ins, outs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.inputs = inputs or tuple(map(_tensor_info, ins))
        self.outputs = outputs or tuple(map(_tensor_info, outs))
        names = _signature_names(self._interpreter)
        self._feeds = _parts("inputs", self.inputs, ins, names[0], sides)
        self._fetches = _parts("outputs", self.outputs, outs, names[1], sides)
        by_index = {detail["index"]: detail for detail in ins}
        self._shapes = [
            tuple(int(size) for size in by_index[part.index]["shape"]) for part in self._feeds
        ]


class LiteRtEngine:
    """The entry point ``litert`` of ``edgeops.engines``."""

    name = "litert"
    api = 1

    def available(self) -> Finding | None:
        """Return None when LiteRT or tflite-runtime can be imported, else how to get it."""
        if any(find_spec(package) is not None for package in PACKAGES):
            return None
        return Finding(
            "engine-missing",
            "the engine litert is not installed",
            where="litert",
            why="neither the Python package ai-edge-litert nor tflite-runtime is there",
            fix="pip install 'edgeops[litert]'",
        )

    def version(self) -> str:
        """Return the version of the package that serves."""
        from importlib.metadata import version

        return version(_package().replace("_", "-"))

    def load(self, variant: Path, threads: int = 1) -> LiteRtSession:
        """Load ``variant``'s model file; names, order and dtypes come from variant.json.

        Raises RefusedError ``engine-load-failed``, naming operators that LiteRT has no kernel for.
        """
        about = read_variant(variant, verify=False)
        return LiteRtSession(
            variant / about.model_file, about.inputs, about.outputs, threads, sides=about.extra
        )


class _Part:
    """One input or output: the file's tensor, and how to get from the caller's array to it."""

    def __init__(self, tensor: TensorInfo, detail: Mapping[str, Any], order: Any) -> None:
        import numpy as np

        self.name = tensor.name
        self.index = int(detail["index"])
        self._order = order
        self._engine = np.dtype(detail["dtype"])
        self._model = np.dtype("O" if tensor.dtype == "str" else tensor.dtype)
        self._same = order is None and self._engine == self._model

    def feed(self, array: Any) -> Any:
        """Return what the file takes for the caller's array."""
        if self._same or array.dtype != self._model:
            return array  # of another dtype: the interpreter refuses it
        if self._order is not None:
            array = array.transpose(self._order)
        if self._engine == self._model:
            return array
        cast = array.astype(self._engine)
        if (cast != array).any():
            raise InputError(
                "input-misfit",
                "the input does not fit the model",
                where=self.name,
                why=f"{self.name!r} holds {self._model} values that {self._engine} cannot hold, "
                "which is what the .tflite file computes with",
                fix=f"give values within the range of {self._engine}",
            )
        return cast

    def fetch(self, array: Any) -> Any:
        """Return the caller's array for what the file answered."""
        if self._same:
            return array
        if self._order is not None:
            array = array.transpose(self._order).copy()
        return array.astype(self._model, copy=False)


def _package() -> str:
    return next(package for package in PACKAGES if find_spec(package) is not None)


def _interpreter(source: Path | bytes, threads: int, *, reference: bool) -> Any:
    """Return an interpreter; ``reference`` takes the plain kernels instead of the fast ones."""
    module = import_module(f"{_package()}.interpreter")
    options: dict[str, Any] = {"num_threads": threads}
    if isinstance(source, bytes):
        options["model_content"] = source
    else:
        options["model_path"] = str(source)
    if reference:
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_REF
    return module.Interpreter(**options)


def _parts(
    side: str,
    tensors: Sequence[TensorInfo],
    details: Sequence[Mapping[str, Any]],
    signature: Mapping[str, str],
    sides: Mapping[str, Any],
) -> list[_Part]:
    """Return the file's tensor of each of the model's: as ``sides`` says, else by name or place.

    Names are those of the file's signature first, then of its tensors.
    """
    by_index = {int(detail["index"]): detail for detail in details}
    by_name = {detail["name"]: detail for detail in reversed(details)}
    by_name |= {name: by_index[int(index)] for name, index in signature.items()}
    parts = []
    for place, tensor in enumerate(tensors):
        about = sides.get(side, {}).get(tensor.name, {})
        called = about.get("tensor", tensor.name)
        detail = by_index.get(called) if isinstance(called, int) else by_name.get(called)
        if detail is None and "tensor" not in about and len(details) == len(tensors):
            detail = details[place]
        if detail is None:
            message = f"it has no {side[:-1]} {called!r}, only {', '.join(map(repr, by_name))}"
            raise ValueError(message)
        parts.append(_Part(tensor, detail, about.get("permutation")))
    return parts


def _signature_names(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tensor of each input and output of the only signature; nothing without one."""
    keys = list(interpreter.get_signature_list())
    if len(keys) != 1:
        return {}, {}
    runner = interpreter.get_signature_runner(keys[0])
    sides = runner.get_input_details(), runner.get_output_details()
    ins, outs = ({name: about["index"] for name, about in side.items()} for side in sides)
    return ins, outs


def _tensor_info(detail: Mapping[str, Any]) -> TensorInfo:
    import numpy as np

    signature = detail.get("shape_signature", detail["shape"])
    shape = tuple(int(size) if size >= 0 else "?" for size in signature)
    return TensorInfo(str(detail["name"]), shape, np.dtype(detail["dtype"]).name)


def _load_failed(name: str, where: str, said: str) -> RefusedError:
    found = _CUSTOM.search(said)
    custom = found and (found[1] or found[2])
    if custom is None:
        fix = "see what it cannot take with: edgeops check MODEL --to litert"
    elif custom.startswith("Flex"):
        fix = "convert it without TensorFlow's own operators (only TFLITE_BUILTINS)"
    else:
        fix = "export the model with standard operators"
    return RefusedError(
        "engine-load-failed",
        f"LiteRT cannot load {name}",
        where=where,
        why=f"it has no kernel for the operator {custom}" if custom else _reason(said),
        fix=fix,
    )


def _reason(said: str) -> str:
    """Return the lines that tell something as one; the interpreter ends with an echo of itself."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return "; ".join(lines[:2]) or "it did not say why"


@contextmanager
def _without_notices() -> Iterator[None]:
    """Keep lines such as "INFO: Created TensorFlow Lite XNNPACK delegate" off standard error.

    LiteRT's binding has no switch for them. Everything else that is printed meanwhile comes out
    afterwards.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        before = os.dup(_STDERR)
    except OSError:  # standard error is closed
        yield
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(before, _STDERR)
            os.close(before)
            file.seek(0)
            kept = [line for line in file if not line.startswith(b"INFO:")]
            os.write(_STDERR, b"".join(kept)) if kept else None
