"""The worker of ``coreml``: a torch.export program to an .mlpackage folder."""

# mypy: disable-error-code="import-not-found, import-untyped, no-any-return"
# What it imports is in its own environment, and ships no types.

from __future__ import annotations

from pathlib import Path
from typing import Any

NO_STRIDE = 2  # arguments: what is pooled and the kernel
POOLS = ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")


def convert(model: str, out: str, precision: str) -> dict[str, Any]:
    """Write the folder ``out``; return what Core ML calls inputs and outputs.

    coremltools knows operators that PyTorch would take apart, and others only taken apart, so
    both forms of the program are tried; what it says of the first counts when both fail.
    """
    import coremltools
    import torch

    computing = {
        "fp32": coremltools.precision.FLOAT32,
        "fp16": coremltools.precision.FLOAT16,
    }[precision]
    made: Any = None
    first: Exception | None = None
    tries: tuple[Any, ...] = ({}, None)
    for decompositions in tries:
        program = torch.export.load(model).run_decompositions(decompositions)
        try:
            made = coremltools.convert(
                tidied(program),
                convert_to="mlprogram",
                compute_precision=computing,
                skip_model_load=True,
            )
        except (ValueError, NotImplementedError, RuntimeError, TypeError, KeyError) as error:
            first = first or error
            continue
        break
    if first is not None and made is None:
        raise first
    made.save(out)
    # For ExecuTorch's debugger; Core ML never reads it.
    (Path(out) / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)
    specification = made.get_spec()
    return {
        "inputs": [each.name for each in specification.description.input],
        "outputs": [each.name for each in specification.description.output],
        "specification": specification.specificationVersion,
    }


def tidied(program: Any) -> Any:
    """State the stride of pooling, which PyTorch leaves out where it is the kernel's size."""
    for node in program.graph.nodes:
        name = getattr(node.target, "__name__", "").partition(".")[0].removesuffix("_with_indices")
        if node.op == "call_function" and name in POOLS and len(node.args) == NO_STRIDE:
            node.args = (*node.args, node.args[1])
    return program
