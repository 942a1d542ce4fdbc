"""``benchmark_model``: LiteRT's (TensorFlow Lite's) tool; quantiles, and outputs for given inputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.validate.devices.phone.tools import (
    INPUT,
    NUMBER,
    RESULT,
    Command,
    Plan,
    Timed,
    last,
    one_size,
    positive,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.variant import TensorInfo, Variant
    from edgeops.model.tflite import TfliteModel, TfliteTensor

_SUMMARY = (
    rf"Init: {NUMBER}, First inference: {NUMBER}, "
    rf"Warmup \(avg\): {NUMBER}, Inference \(avg\): {NUMBER}"
)
_COUNT = re.compile(r"count=(\d+)\b(.*)")
_FIELD = re.compile(rf"\b(min|max|avg|median|curr)={NUMBER}")
_MICRO = 1e-3  # microseconds to ms
_PATIENCE = 4
_WARM_UP_SHARE = 0.25
_NO_LIST = "benchmark_model tells statistics and not the single calls"
_NO_QUANTILE = "benchmark_model tells the 5th, 50th and 95th percentile only"


@dataclass(frozen=True)
class _Port:
    """An input or output of the file, and which of the model's it is.

    ``order`` are the model's axes in the order of the file's, () for the same order.
    """

    tensor: TensorInfo
    file: TfliteTensor
    order: tuple[int, ...]


class BenchmarkModel:
    """LiteRT's tool; the files of inputs hold the bytes of the file's own tensors."""

    name = "benchmark_model"
    engine = "litert"
    loops = False
    pad = b""

    def __init__(self, variant: Variant, model: Path) -> None:
        from edgeops.model.tflite import read_tflite

        self._variant = variant
        read = read_tflite(model)
        self.no_outputs = ""
        try:
            self._in = _ports(read, variant.inputs, variant.extra, "inputs")
            self._out = _ports(read, variant.outputs, variant.extra, "outputs")
        except ValueError as error:
            self.no_outputs = f"the file's tensors cannot be told apart: {error}"
            self._in, self._out = [], []
        odd = [port.file.name for port in self._in if re.search(r"[,\s]", port.file.name)]
        if odd:
            self.no_outputs = f"benchmark_model cannot be told of an input named {odd[0]!r}"
        if any(port.file.dtype == "str" for port in (*self._in, *self._out)):
            self.no_outputs = "benchmark_model takes and gives no text"

    def timing(self, plan: Plan) -> Command:
        """Return the command that times the model, on the inputs that lie there if it can."""
        words = [
            f"--num_runs={plan.least}",
            f"--min_secs={plan.seconds:g}",
            f"--max_secs={plan.seconds * _PATIENCE:g}",
            f"--warmup_min_secs={plan.seconds * _WARM_UP_SHARE:g}",
        ]
        return Command((*self._start(plan), *words))

    def parse(self, text: str) -> Timed:
        """Return the statistics of the timed calls: those before the summary."""
        summary = last(_SUMMARY, text)
        if summary is None:
            raise ValueError("it ended without its summary of timings")
        calls, fields = _statistics(text[: summary.start()])
        init, first, _, mean = (positive(value, _MICRO) for value in summary.groups())
        absent = {
            "latency_ns": _NO_LIST,
            "p90_ms": _NO_QUANTILE,
            "p99_ms": _NO_QUANTILE,
            "p50_ms": "this version of benchmark_model tells no median",
            "peak_bytes": "benchmark_model watches its memory only at the cost of its speed",
            "first_call_ms": "no call came before the timed ones",
        }
        found = {
            "calls": calls or None,
            "mean_ms": mean,
            "p50_ms": fields.get("median"),
            "min_ms": fields.get("min"),
            "max_ms": fields.get("max"),
            "load_ms": init,
            "first_call_ms": first,
        }
        otherwise = "benchmark_model did not say it, or it is below the microsecond that it tells"
        return told(found, absent, otherwise)

    def encode(self, feed: Mapping[str, Any]) -> list[bytes]:
        """Return the bytes of each of the file's inputs."""
        import numpy as np

        found = []
        for port in self._in:
            array = np.asarray(feed[port.tensor.name])
            if port.order:
                array = array.transpose(port.order)
            found.append(np.ascontiguousarray(array, dtype=port.file.dtype).tobytes())
        return found

    def answering(self, plan: Plan) -> Command:
        """Return the command that runs the inputs once and keeps the outputs."""
        words = ["--num_runs=1", "--min_secs=0", "--warmup_runs=0", "--warmup_min_secs=0"]
        return Command((*self._start(plan), *words, f"--output_filepath={RESULT}"))

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the outputs: their bytes follow each other in the file's order."""
        import numpy as np

        sizes = _sizes(self._out, len(data))
        outputs, start = {}, 0
        for port, count in zip(self._out, sizes, strict=True):
            array = np.frombuffer(data, port.file.dtype, count, start)
            start += array.nbytes
            array = array.reshape(one_size(_open(port.file), count))
            if port.order:
                array = array.transpose(port.order)
            outputs[port.tensor.name] = array.astype(port.tensor.dtype)
        return {name: outputs[name] for name in (tensor.name for tensor in self._variant.outputs)}

    def _start(self, plan: Plan) -> list[str]:
        words = [f"./{plan.binary}", f"--graph={plan.model}", f"--num_threads={plan.threads}"]
        if self.no_outputs:
            return words
        shapes, files = [], []
        for index, port in enumerate(self._in):
            shape = plan.shapes[port.tensor.name]
            ordered = [shape[axis] for axis in port.order] if port.order else list(shape)
            shapes.append(",".join(map(str, ordered)))
            escaped = port.file.name.replace(":", "::")
            files.append(f"{escaped}:{INPUT.format(index)}")
        return [
            *words,
            f"--input_layer={','.join(port.file.name for port in self._in)}",
            f"--input_layer_shape={':'.join(shapes)}",
            f"--input_layer_value_files={','.join(files)}",
        ]


def _statistics(text: str) -> tuple[int, dict[str, float | None]]:
    """Return how many calls the last series had, and its statistics in ms."""
    series = _COUNT.findall(text)
    if not series:
        return 0, {}
    count, rest = series[-1]
    fields = {name: positive(value, _MICRO) for name, value in _FIELD.findall(rest)}
    if "min" not in fields and "(all same)" in rest:
        # All calls took the same time: it says so instead of statistics.
        fields |= dict.fromkeys(("min", "max", "median"), fields.get("curr"))
    return int(count), fields


def _ports(
    model: TfliteModel, tensors: Sequence[TensorInfo], extra: Mapping[str, Any], side: str
) -> list[_Port]:
    """Return the ports in the file's order; raises ValueError when one has no tensor.

    A tensor is found as the engine finds it: as variant.json says, by the signature's names, by
    the tensors' names, or by its place.
    """
    main = model.subgraphs[0]
    indexes = main.inputs if side == "inputs" else main.outputs
    names = {main.tensors[index].name: index for index in reversed(indexes)}
    if len(model.signatures) == 1:
        names |= getattr(model.signatures[0], side)
    found: dict[int, _Port] = {}
    for place, tensor in enumerate(tensors):
        about = extra.get(side, {}).get(tensor.name, {})
        called = about.get("tensor", tensor.name)
        index = called if isinstance(called, int) else names.get(called)
        if index is None and "tensor" not in about and len(indexes) == len(tensors):
            index = indexes[place]
        if index is None or index not in indexes:
            raise ValueError(f"it has no {side[:-1]} {called!r}")
        order = tuple(about.get("permutation") or ())
        found[index] = _Port(tensor, main.tensors[index], order)
    if set(found) != set(indexes):
        raise ValueError(f"it has {len(indexes)} {side}, the model {len(tensors)}")
    return [found[index] for index in indexes]


def _open(tensor: TfliteTensor) -> tuple[int | str, ...]:
    return tuple(size if size >= 0 else "?" for size in tensor.shape)


def _sizes(ports: Sequence[_Port], length: int) -> list[int]:
    """Return how many values each output has; only one of them may have an open size."""
    import math

    import numpy as np

    widths = [np.dtype(port.file.dtype).itemsize for port in ports]
    counts = [
        math.prod(port.file.shape) if all(size >= 0 for size in port.file.shape) else None
        for port in ports
    ]
    known = sum(w * c for w, c in zip(widths, counts, strict=True) if c is not None)
    unknown = [index for index, count in enumerate(counts) if count is None]
    rest = length - known
    if len(unknown) > 1 or (unknown and rest % widths[unknown[0]]) or (not unknown and rest):
        raise ValueError(f"{length} bytes are not what the outputs of the file take")
    return [rest // widths[i] if c is None else c for i, c in enumerate(counts)]
