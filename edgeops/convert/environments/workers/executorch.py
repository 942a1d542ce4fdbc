"""The worker of ``executorch``: a torch.export program to a .pte file, and both of them run."""

import os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

LOADED = {}


def check(model):
    """Return the operators of a program as the edge dialect has them that no kernel is there for."""
    from executorch.exir import to_edge
    from executorch.extension.pybindings import portable_lib

    kernels = set(portable_lib._get_operator_names())
    graph = to_edge(program(model)).exported_program().graph
    names = {str(node.target): node.name for node in graph.nodes if node.op == "call_function"}
    used = {edge_name(name): node for name, node in names.items() if name.startswith("aten")}
    return {"unsupported": {name: node for name, node in used.items() if name not in kernels}}


def convert(model, out, precision):
    """Write ``out``, lowered for XNNPACK where it has the operators, else for portable kernels."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    source = program(model)
    edge = to_edge_transform_and_lower(source, partitioner=[XnnpackPartitioner()])
    made = edge.to_executorch()
    with open(out, "wb") as file:
        file.write(made.buffer)
    return {}


def load(model, threads, kind="pte"):
    """Load a .pte file, or a .pt2 file to be run eagerly: the reference of the proof."""
    import torch

    if kind == "pt2":
        torch.set_num_threads(threads)
        LOADED["run"] = program(model).module()
        return {}
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(threads)
    # The method uses memory that program and runtime own.
    LOADED["runtime"] = Runtime.get()
    LOADED["program"] = LOADED["runtime"].load_program(model)
    LOADED["method"] = LOADED["program"].load_method("forward")
    LOADED["run"] = lambda *arrays: LOADED["method"].execute(list(arrays))
    return {}


def run(given, answer):
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


def program(model):
    """Load an exported program."""
    import torch

    return torch.export.load(model)


def flat(found):
    """Return the tensors of an answer in order, whatever they are nested in."""
    import torch
    from torch.utils import _pytree

    leaves, _ = _pytree.tree_flatten(found)
    return [leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf) for leaf in leaves]


def edge_name(target):
    """Return ``aten::add.out`` for the edge dialect's ``aten.add.Tensor``: kernels are out variants."""
    name, _, overload = target.removeprefix("aten.").rpartition(".")
    return f"aten::{name}.{'out' if overload == 'default' else overload + '_out'}"
