"""MNN's tools: ``MNNV2Basic.out``, its successor ``ModuleBasic.out``, and ``benchmark.out``."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from edgeops.validate.devices.phone.tools import (
    INPUT,
    NUMBER,
    RESULT,
    Command,
    Plan,
    Timed,
    TimesOnly,
    last,
    one_size,
    positive,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.core.variant import TensorInfo, Variant

_AVERAGE = (
    rf"Avg=\s*{NUMBER}\s*ms,(?:\s*OpSum\s*=\s*{NUMBER}\s*ms)?"
    rf"\s*min=\s*{NUMBER}\s*ms,\s*max=\s*{NUMBER}\s*ms"
)
_BENCH = re.compile(
    rf"^\[ - \].*max\s*=\s*{NUMBER}\s*ms\s+min\s*=\s*{NUMBER}\s*ms\s+avg\s*=\s*{NUMBER}\s*ms",
    re.MULTILINE,
)
_RUNS = r"Run (\d+) time:"
_LOOPS = r"loop = (\d+)"
_SAYS = "MNN's tools tell the least, the largest and the mean time only"
# Of MNN's precisions: what fp32 computes in, and what fp16 allows.
_HIGH, _LOW = 1, 2
_CPU, _NO_DUMP = 0, 0
_SEPARATOR = b"=output "
# Decimals that read back as the same float32.
_DIGITS = "%.9g"


class MnnBasic:
    """``MNNV2Basic.out``: one input as text beside it, outputs as text below ``output/``.

    It measures with a look at every operator, which costs small models some time.
    """

    name = "MNNV2Basic.out"
    engine = "mnn"
    loops = True
    pad = b"\n"

    def __init__(self, variant: Variant, model: Path) -> None:
        self._variant = variant
        self._model = model
        self.no_outputs = _text(variant)
        if len(variant.inputs) != 1:
            self.no_outputs = "MNNV2Basic.out takes one input only, the others would be zero"

    def timing(self, plan: Plan) -> Command:
        """Return the command that times the model on the input that lies there."""
        return Command(self._argv(plan, plan.loops), self._laid(plan))

    def parse(self, text: str) -> Timed:
        """Return the times of its last line."""
        return _averages(text)

    def encode(self, feed: Mapping[str, Any]) -> list[bytes]:
        """Return the input as lines of numbers."""
        return [_lines(feed[tensor.name]) for tensor in self._variant.inputs]

    def answering(self, plan: Plan) -> Command:
        """Return the command that runs the input once and gathers the outputs."""
        folder = plan.binary.rpartition("/")[0] or "."
        names = [_named(self._variant, "outputs", each) for each in self._variant.outputs]
        files = [f"{folder}/output/{name}.txt" for name in names]
        # A name may hold a slash.
        folders = sorted({file.rpartition("/")[0] for file in files})
        made = f"mkdir -p {shlex.join(folders)} && rm -f {shlex.join(files)}"
        return Command(self._argv(plan, 0), f"{made} && {self._laid(plan)}", _gather(files))

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the outputs from their lines of numbers."""
        return _outputs(self._variant, data)

    def _laid(self, plan: Plan) -> str:
        """Return the command that lays the input where the tool looks for it."""
        if self.no_outputs:
            return ":"
        folder = plan.binary.rpartition("/")[0] or "."
        return f"cp {INPUT.format(0)} {shlex.quote(folder)}/input_0.txt"

    def _argv(self, plan: Plan, loops: int) -> tuple[str, ...]:
        words = [plan.model, loops, _NO_DUMP, _CPU, plan.threads, _precision(plan.variant)]
        tensors = self._variant.inputs
        if len(tensors) == 1 and any(isinstance(size, str) for size in tensors[0].shape):
            words.append("x".join(map(str, plan.shapes[tensors[0].name])))
        return (f"./{plan.binary}", *map(str, words))


class ModuleBasic(MnnBasic):
    """``ModuleBasic.out``: inputs and outputs by name, as ``input.json`` says."""

    name = "ModuleBasic.out"

    def __init__(self, variant: Variant, model: Path) -> None:
        super().__init__(variant, model)
        self.no_outputs = _text(variant)

    def timing(self, plan: Plan) -> Command:
        """Return the command that times the model on the inputs that lie there."""
        return Command(self._argv(plan, plan.loops), self._laid(plan))

    def answering(self, plan: Plan) -> Command:
        """Return the command that runs the inputs and gathers the outputs."""
        files = [f"output/0_{index}.txt" for index in range(len(self._variant.outputs))]
        return Command(self._argv(plan, 0), self._laid(plan), _gather(files))

    def _laid(self, plan: Plan) -> str:
        """Return the commands that lay input.json and the inputs where it looks for them."""
        names = [_named(self._variant, "inputs", tensor) for tensor in self._variant.inputs]
        shapes = [list(plan.shapes[tensor.name]) for tensor in self._variant.inputs]
        inputs = [{"name": n, "shape": s} for n, s in zip(names, shapes, strict=True)]
        outputs = [_named(self._variant, "outputs", each) for each in self._variant.outputs]
        about = json.dumps({"inputs": inputs, "outputs": outputs, "repeat": 1})
        copies = [
            f"cp {INPUT.format(index)} {shlex.quote(f'given/{name}.txt')}"
            for index, name in enumerate(names)
        ]
        made = ["mkdir -p given output", f"printf %s {shlex.quote(about)} >given/input.json"]
        return " && ".join((*made, *copies))

    def _argv(self, plan: Plan, loops: int) -> tuple[str, ...]:
        precision = _precision(plan.variant)
        words = [plan.model, "given", _NO_DUMP, _CPU, loops, plan.threads, precision]
        return (f"./{plan.binary}", *map(str, words))


class MnnBenchmark(TimesOnly):
    """``benchmark.out``: times all models of a folder; here the variant's alone."""

    name = "benchmark.out"
    engine = "mnn"
    loops = True
    no_outputs = "benchmark.out gives no outputs; MNNV2Basic.out does"

    def __init__(self, variant: Variant, model: Path) -> None:
        self._variant = variant
        self._model = model

    def timing(self, plan: Plan) -> Command:
        """Return the command; the folder holds nothing but the model."""
        warm_up = max(1, plan.loops // 4)
        words = ["bench", plan.loops, warm_up, _CPU, plan.threads, _precision(plan.variant)]
        laid = f"mkdir -p bench && cp -f {shlex.quote(plan.model)} bench/model.mnn"
        return Command((f"./{plan.binary}", *map(str, words)), laid)

    def parse(self, text: str) -> Timed:
        """Return the times of the only model."""
        rows = _BENCH.findall(text)
        if len(rows) != 1:
            raise ValueError(f"it tells the times of {len(rows)} models, not of one")
        loops = last(_LOOPS, text)
        most, least, mean = (positive(value) for value in rows[0])
        fields = {
            "calls": int(loops[1]) or None if loops else None,
            "mean_ms": mean,
            "min_ms": least,
            "max_ms": most,
        }
        return told(fields, {}, _SAYS)


def _averages(text: str) -> Timed:
    found = last(_AVERAGE, text)
    if found is None:
        raise ValueError("it ended without its line of times")
    runs = last(_RUNS, text)
    mean, _, least, most = (positive(value) for value in found.groups())
    fields = {
        "calls": int(runs[1]) or None if runs else None,
        "mean_ms": mean,
        "min_ms": least,
        "max_ms": most,
    }
    return told(fields, {}, _SAYS)


def _precision(variant: Variant) -> int:
    return _LOW if variant.precision == "fp16" else _HIGH


def _text(variant: Variant) -> str:
    texts = any(tensor.dtype == "str" for tensor in (*variant.inputs, *variant.outputs))
    return "MNN has no text" if texts else ""


def _named(variant: Variant, side: str, tensor: TensorInfo) -> str:
    return str(variant.extra.get(side, {}).get(tensor.name, tensor.name))


def _lines(array: Any) -> bytes:
    import numpy as np

    flat = np.asarray(array).reshape(-1)
    form = _DIGITS if flat.dtype.kind == "f" else "%d"
    return "".join(f"{form % value}\n" for value in flat).encode()


def _gather(files: list[str]) -> str:
    """Return the commands that write the output files one after the other into the result."""
    parts = [
        f"{{ echo {_SEPARATOR.decode().strip()!r}; cat {shlex.quote(file)}; }}" for file in files
    ]
    return f"{{ {' && '.join(parts)}; }} >{RESULT}"


def _outputs(variant: Variant, data: bytes) -> dict[str, Any]:
    import numpy as np

    parts = data.split(_SEPARATOR.strip() + b"\n")[1:]
    if len(parts) != len(variant.outputs):
        raise ValueError(f"it wrote {len(parts)} of {len(variant.outputs)} outputs")
    outputs = {}
    for tensor, part in zip(variant.outputs, parts, strict=True):
        values = np.array(part.split(), dtype=np.float64)
        outputs[tensor.name] = values.reshape(one_size(tensor.shape, len(values))).astype(
            tensor.dtype
        )
    return outputs
