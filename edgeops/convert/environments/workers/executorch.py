"""The worker of ``executorch``: a torch.export program to a .pte file, and both of them run."""

# mypy: disable-error-code="import-not-found, import-untyped, no-any-return"
# What it imports is in its own environment, and ships no types.

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

LOADED: dict[str, Any] = {}


def convert(model: str, out: str, precision: str) -> dict[str, Any]:  # noqa: ARG001 - there is one
    """Write ``out``, lowered for XNNPACK where it has the operators, else for portable kernels."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    edge = to_edge_transform_and_lower(program(model), partitioner=[XnnpackPartitioner()])
    made = edge.to_executorch()
    Path(out).write_bytes(made.buffer)
    return {}


def load(model: str, threads: int, kind: str = "pte") -> dict[str, Any]:
    """Load a .pte file, or a .pt2 file to be run eagerly: the reference of the proof."""
    import torch

    if kind == "pt2":
        torch.set_num_threads(threads)
        LOADED["run"] = program(model).module()
        return {}
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(threads)  # noqa: SLF001 - there is no public way
    # The method uses memory that program and runtime own.
    LOADED["runtime"] = Runtime.get()
    LOADED["program"] = LOADED["runtime"].load_program(model)
    LOADED["method"] = LOADED["program"].load_method("forward")
    LOADED["run"] = lambda *arrays: LOADED["method"].execute(list(arrays))
    return {}


def run(given: str, answer: str) -> dict[str, Any]:
    """Run the loaded model on the arrays of one .npz file and write the answer to another."""
    import numpy as np
    import torch

    with np.load(given, allow_pickle=False) as arrays:
        inputs = [torch.from_numpy(arrays[str(place)].copy()) for place in range(len(arrays))]
    with torch.no_grad():
        found = LOADED["run"](*inputs)
    outputs = flat(found)
    np.savez(
        answer,
        **{
            str(place): tensor.detach().contiguous().numpy() for place, tensor in enumerate(outputs)
        },
    )
    return {}


def program(model: str) -> Any:
    """Load an exported program."""
    import torch

    return torch.export.load(model)


def flat(found: Any) -> list[Any]:
    """Return the tensors of an answer in order, whatever they are nested in."""
    import torch
    from torch.utils import _pytree

    leaves, _ = _pytree.tree_flatten(found)
    return [leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf) for leaf in leaves]
