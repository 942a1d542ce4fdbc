"""ONNX to ncnn: ``model.ncnn.param`` and ``model.ncnn.bin``, made by the pnnx program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgeops.convert import support
from edgeops.convert.engines.ncnn_adapt import adapt, is_loop, one_sample
from edgeops.convert.engines.ncnn_batch import refuse_combined
from edgeops.convert.engines.ncnn_check import findings_by_value
from edgeops.convert.engines.ncnn_pnnx import Made, binary, failed, run_pnnx
from edgeops.core.variant import Variant, entries
from edgeops.errors import Finding
from edgeops.model.load import graph_inputs, graph_outputs
from edgeops.runtime.engines.ncnn import NcnnEngine, load_net

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import ConvertOptions
    from edgeops.core.variant import TensorInfo

PARAM = "model.ncnn.param"
WEIGHTS = "model.ncnn.bin"


class NcnnConverter:
    """The entry point ``ncnn`` of ``edgeops.converters``."""

    name = "ncnn"
    api = 1
    precisions = ("fp32", "fp16")

    def available(self) -> Finding | None:
        """Return None when ncnn and the pnnx program are there, else how to get them."""
        missing = NcnnEngine().available()
        if missing is not None or binary() is not None:
            return missing
        return Finding(
            "pnnx-missing",
            "converting for ncnn needs pnnx",
            where="pnnx",
            why="its program comes in a wheel that asks for torch, which is not needed",
            fix="pip install --no-deps pnnx==20261020",
        )

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:
        """Return what ncnn does not take of a prepared model, seen with one sample at a time."""
        single = one_sample(model, simplify=options.simplify)
        return [*support.findings(self.name, single, options), *findings_by_value(model, single)]

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write the network into ``out``.

        Raises RefusedError ``conversion-failed`` when pnnx fails, or made what ncnn does not load.
        """
        inputs, outputs = graph_inputs(model), graph_outputs(model)
        loop = any(map(is_loop, inputs))
        if loop:
            refuse_combined(model, inputs)
        single = one_sample(model, simplify=options.simplify)
        half = options.precision == "fp16"
        plain = adapt(single)
        made = run_pnnx(plain, half=half)
        _refuse_unknown_layers(made)
        (out / PARAM).write_text(made.param)
        (out / WEIGHTS).write_bytes(made.weights)
        load_net(out / PARAM, 1, half=half)
        kinds = _kinds(made.param)
        return Variant(
            engine=self.name,
            engine_version=NcnnEngine().version(),
            precision=options.precision,
            model_file=PARAM,
            inputs=inputs,
            outputs=outputs,
            source="",
            files=entries(out),
            extra={
                "loop": loop,
                "inputs": _ports(graph_inputs(plain), made.inputs, kinds, "in"),
                "outputs": _ports(graph_outputs(plain), made.outputs, kinds, "out"),
            },
        )


def _refuse_unknown_layers(made: Made) -> None:
    import ncnn

    # What pnnx did not lower keeps ONNX's type in its name; ncnn has layers of the same names that
    # mean something else, and crashes on some.
    unknown = sorted(
        {
            words[0]
            for words in _layers(made.param)
            if ncnn.layer_to_index(words[0]) == -1 or re.fullmatch(rf"{words[0]}_\d+", words[1])
        }
    )
    if unknown:
        raise failed(f"pnnx left layers that ncnn does not have: {', '.join(unknown)}")


def _layers(param: str) -> list[list[str]]:
    return [line.split() for line in param.splitlines()[2:] if line.strip()]


def _kinds(param: str) -> dict[str, set[str]]:
    """Return the types of the layers that make or read each blob."""
    kinds: dict[str, set[str]] = {}
    for words in _layers(param):
        for blob in words[4 : 4 + int(words[2]) + int(words[3])]:
            kinds.setdefault(blob, set()).add(words[0])
    return kinds


def _ports(
    tensors: Sequence[TensorInfo],
    axes: dict[str, int | None],
    kinds: dict[str, set[str]],
    prefix: str,
) -> dict[str, Any]:
    """Return which blob each tensor is, and in which form it goes in or comes out."""
    if len(axes) != len(tensors):
        raise failed(f"pnnx made {len(axes)} of {len(tensors)} {prefix}puts")
    ports = {}
    for index, tensor in enumerate(tensors):
        blob = f"{prefix}{index}"
        if blob not in kinds or blob not in axes:
            raise failed(f"pnnx lost the {prefix}put {tensor.name!r}", node=tensor.name)
        looked_up = prefix == "in" and "Embed" in kinds[blob]
        ports[tensor.name] = {
            "blob": blob,
            "batch": axes[blob],
            "dtype": "int32" if looked_up else "float32",
            "shape": [size if isinstance(size, int) else None for size in tensor.shape],
        }
    return ports
