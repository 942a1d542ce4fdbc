"""The ncnn engine: sessions on the CPU from ``model.ncnn.param`` and ``model.ncnn.bin``.

ncnn knows tensors of one to four axes. ``variant.extra`` says for each input and output which blob
it is and which of its axes ncnn carries as a batch (``batch``; None for none); where the model's
first axis is open (``loop``), the network was made for one sample and is run sample by sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import read_variant
from edgeops.errors import Finding, InputError, RefusedError
from edgeops.runtime.fit import misfit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.core.variant import TensorInfo, Variant


@dataclass(frozen=True)
class _Port:
    """How one input or output goes in or out of one call.

    ``shape`` is the model's (-1 where open), ``mat`` that without the batch axis that ncnn carries
    apart, None when a size is open or the batch is larger than 1.
    """

    name: str
    blob: str
    batch: int | None
    dtype: Any
    source: Any
    shape: tuple[int, ...]
    mat: tuple[int, ...] | None


class NcnnSession:
    """A loaded ncnn network; safe to call from several threads, each call has its own extractor."""

    def __init__(self, folder: Path, about: Variant, threads: int = 1) -> None:
        import ncnn
        import numpy as np

        self.inputs, self.outputs = about.inputs, about.outputs
        self._where = about.model_file
        self._loop = bool(about.extra["loop"])
        read = [tensor for tensor in about.inputs if tensor.name in about.extra["inputs"]]
        self._all_read = len(read) == len(about.inputs)
        self._in = [_port(tensor, about.extra["inputs"]) for tensor in read]
        self._out = [_port(tensor, about.extra["outputs"]) for tensor in about.outputs]
        self._mat, self._numpy = ncnn.Mat, np
        self._net = load_net(folder / about.model_file, threads, half=about.precision == "fp16")

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call; arrays that are no inputs are ignored.

        Raises InputError ``input-misfit`` when a name, shape or dtype is not the model's,
        RefusedError ``engine-run-failed`` when the model fails on what fits.
        """
        if not self._fits_one(arrays):
            # ncnn takes any shape and type for what it expects, and computes with it.
            wrong = misfit(arrays, self.inputs, self._where)
            if wrong:
                raise wrong
            if self._loop:
                return self._each(arrays)
        return self._once(arrays)

    def _fits_one(self, arrays: Mapping[str, Any]) -> bool:
        """Return whether the arrays are exactly what one call of the network takes."""
        for port in self._in:
            array = arrays.get(port.name)
            shape = getattr(array, "shape", None)
            if shape != port.shape or getattr(array, "dtype", None) != port.source:
                return False
        return self._all_read

    def _each(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        looped = [t.name for t in self.inputs if t.shape and not isinstance(t.shape[0], int)]
        count = len(arrays[looped[0]])
        if not count or any(len(arrays[name]) != count for name in looped):
            raise InputError(
                "input-misfit",
                f"the input does not fit {self._where}",
                where=self._where,
                why="; ".join(f"{name!r} has {len(arrays[name])} samples" for name in looped),
                fix="give the same number of samples, at least one, for each input",
            )
        answers = []
        for row in range(count):
            one = {name: arrays[name][row : row + 1] for name in looped}
            answers.append(self._once({**arrays, **one}))
        join = self._numpy.concatenate
        return {name: join([answer[name] for answer in answers]) for name in answers[0]}

    def _once(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        extractor = self._net.create_extractor()
        for port in self._in:
            if extractor.input(port.blob, self._feed(port, arrays[port.name])) != 0:
                raise self._failed(f"it does not take the input {port.name!r}")
        answer = {}
        for port in self._out:
            status, mat = extractor.extract(port.blob)
            if status != 0:
                raise self._failed(f"status {status} at the output {port.name!r}")
            answer[port.name] = self._answer(port, mat)
        return answer

    def _feed(self, port: _Port, array: Any) -> Any:
        array = self._numpy.ascontiguousarray(array, dtype=port.dtype)
        if array.size == 0:
            raise self._failed(f"the input {port.name!r} has no values")
        if port.batch is not None and array.shape[port.batch] != 1:
            return self._mat(array, batch_index=port.batch)
        if port.mat is not None:
            array = array.reshape(port.mat)
        elif port.batch is not None:
            array = array.squeeze(port.batch)
        # The copy has the alignment that ncnn's kernels want, and outlives the array.
        return self._mat(array).clone()

    def _answer(self, port: _Port, mat: Any) -> Any:
        numpy = self._numpy
        if mat.dims == 0 or mat.elempack != 1:
            raise self._failed(f"{port.name!r} came out empty")
        if port.batch is not None and mat.n > 1:
            array = mat.numpy(port.dtype.char, batch_index=port.batch)
        elif port.dtype.kind == "f":
            array = numpy.array(mat)
        else:
            array = numpy.array(mat.numpy(port.dtype.char))
        if port.mat is None and port.batch is not None and array.ndim < len(port.shape):
            array = numpy.expand_dims(array, port.batch)
        # What nobody knew before is what came out; a size that was known must be that.
        shape = port.shape
        if port.mat is None and array.ndim == len(shape):
            shape = tuple(size if want < 0 else want for size, want in zip(array.shape, shape))
        try:
            return array.reshape(shape).astype(port.source, copy=False)
        except ValueError as error:
            raise self._failed(f"{port.name!r} came out as {list(array.shape)}") from error

    def _failed(self, why: str) -> RefusedError:
        return RefusedError(
            "engine-run-failed",
            f"ncnn failed while running {self._where}",
            where=self._where,
            why=why,
            fix="check that the input is what the model was made for, then the model itself",
        )


class NcnnEngine:
    """The entry point ``ncnn`` of ``edgeops.engines``."""

    name = "ncnn"
    api = 1

    def available(self) -> Finding | None:
        """Return None when ncnn can be imported, else how to get it."""
        if find_spec("ncnn") is not None:
            return None
        return Finding(
            "engine-missing",
            "the engine ncnn is not installed",
            where="ncnn",
            why="the Python package ncnn is not there",
            fix="pip install 'edgeops[ncnn]'",
        )

    def version(self) -> str:
        """Return the version of the ncnn package."""
        from importlib.metadata import version

        return version("ncnn")

    def load(self, variant: Path, threads: int = 1) -> NcnnSession:
        """Load ``variant``'s network; raises RefusedError ``engine-load-failed``."""
        about = read_variant(variant, verify=False)
        try:
            return NcnnSession(variant, about, threads)
        except (KeyError, TypeError) as error:
            raise load_failed(variant, "variant.json does not say which blobs to use") from error


def load_net(param: Path, threads: int, *, half: bool = False) -> Any:
    """Return an ``ncnn.Net`` from a .param file and the .bin beside it.

    In float32 nothing is kept in a narrower type; with ``half`` ncnn uses what the processor has.
    Raises RefusedError ``engine-load-failed``.
    """
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    if not half:
        for name in (
            "fp16_packed",
            "fp16_storage",
            "fp16_arithmetic",
            "bf16_storage",
            "bf16_packed",
        ):
            setattr(net.opt, f"use_{name}", False)
    if not param.is_file() or net.load_param(str(param)) != 0:
        raise load_failed(param, "ncnn does not take its layers")
    weights = param.with_suffix(".bin")
    if not weights.is_file() or net.load_model(str(weights)) != 0:
        raise load_failed(weights, "ncnn does not take its weights")
    return net


def load_failed(path: Path, why: str) -> RefusedError:
    """Return the error for a network that ncnn does not load."""
    return RefusedError(
        "engine-load-failed",
        f"ncnn cannot load {path.name}",
        where=str(path),
        why=why,
        fix="convert the model again; what ncnn cannot take: edgeops check MODEL --to ncnn",
    )


def _port(tensor: TensorInfo, extra: Mapping[str, Any]) -> _Port:
    import numpy as np

    stated = extra[tensor.name]
    shape = tuple(-1 if size is None else int(size) for size in stated["shape"])
    batch = stated["batch"]
    mat = None
    if -1 not in shape and (batch is None or shape[batch] == 1):
        mat = tuple(size for axis, size in enumerate(shape) if axis != batch) or (1,)
    return _Port(
        tensor.name,
        stated["blob"],
        batch,
        np.dtype(stated["dtype"]),
        np.dtype(tensor.dtype),
        shape,
        mat,
    )
