"""ONNX to ncnn: ``model.ncnn.param`` and ``model.ncnn.bin``, made by the pnnx program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert import support
from edgeops.convert.engines.ncnn_adapt import adapt, with_batch
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
        """Return what ncnn's table does not take of a prepared model."""
        return support.findings(self.name, model, options)

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write the network into ``out``.

        Raises RefusedError ``conversion-failed`` when pnnx fails, or made what ncnn does not load.
        """
        inputs, outputs = graph_inputs(model), graph_outputs(model)
        loop = any(t.shape and not isinstance(t.shape[0], int) for t in inputs)
        plain = adapt(with_batch(model, 1) if loop else model)
        half = options.precision == "fp16"
        made = run_pnnx(plain, half=half, shapes=[])
        _refuse_unknown_layers(made)
        (out / PARAM).write_text(made.param)
        (out / WEIGHTS).write_bytes(made.weights)
        net = load_net(out / PARAM, 1, half=half)
        blobs = (
            {blob.name for blob in net.blobs()}
            if callable(net.blobs)
            else {b.name for b in net.blobs}
        )
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
                "inputs": _ports(inputs, graph_inputs(plain), made.inputs, blobs, "in"),
                "outputs": _ports(outputs, graph_outputs(plain), made.outputs, blobs, "out"),
            },
        )


def _refuse_unknown_layers(made: Made) -> None:
    import ncnn

    kinds = {line.split()[0] for line in made.param.splitlines()[2:] if line.strip()}
    unknown = sorted(kind for kind in kinds if ncnn.layer_to_index(kind) == -1)
    if unknown:
        raise failed(f"pnnx left layers that ncnn does not have: {', '.join(unknown)}")


def _ports(
    tensors: Sequence[TensorInfo],
    single: Sequence[TensorInfo],
    axes: dict[str, int | None],
    blobs: set[str],
    prefix: str,
) -> dict[str, Any]:
    ports = {}
    for index, (tensor, one) in enumerate(zip(tensors, single, strict=True)):
        blob = f"{prefix}{index}"
        if blob not in blobs or blob not in axes:
            raise failed(f"pnnx lost the {prefix}put {tensor.name!r}", node=tensor.name)
        ports[tensor.name] = {
            "blob": blob,
            "batch": axes[blob],
            "dtype": "float32",
            "shape": [size if isinstance(size, int) else None for size in one.shape],
        }
    return ports
