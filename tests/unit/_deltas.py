"""Versions of a network's weights to make deltas of: a seeded CNN, fine-tuned wholly or its head.

The sizes and the noise are those that the known figures for deltas were measured with: 2.8 million
weights; fine-tuning moves each by a share of its tensor's standard deviation.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
from onnx import helper, numpy_helper

SHAPES = [
    *((64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3)),
    *((256, 128, 3, 3), (256, 256, 3, 3), (512, 256, 3, 3), (1000, 512)),
]
SMALL = [(16, 3, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3), (10, 64)]


def weights(shapes=SHAPES, seed=0):
    random = np.random.default_rng(seed)
    return [
        (random.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
        for shape in shapes
    ]


def tuned(arrays, share, *, head_only=False, seed=1):
    """Return weights moved by ``share`` of their standard deviation; of the head alone or all."""
    random = np.random.default_rng(seed)
    moved = [
        array + (random.normal(size=array.shape) * array.std() * share).astype(np.float32)
        for array in arrays
    ]
    return [*arrays[:-1], moved[-1]] if head_only else moved


def network(arrays, kind="fp32"):
    """Return an ONNX network that runs; int8 weights have a scale per channel."""
    nodes, constants, last = [], [], "image"
    for place, array in enumerate(arrays):
        name = f"w{place}"
        if kind == "int8":
            rows = array.reshape(len(array), -1)
            scales = (np.abs(rows).max(1) / 127).astype(np.float32)
            quantized = np.rint(rows / scales[:, None]).astype(np.int8).reshape(array.shape)
            constants += [(f"{name}_q", quantized), (f"{name}_s", scales)]
            nodes.append(
                helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s"], [name], axis=0)
            )
        elif kind == "fp16":
            constants.append((f"{name}_h", array.astype(np.float16)))
            nodes.append(helper.make_node("Cast", [f"{name}_h"], [name], to=1))
        else:
            constants.append((name, array))
        made = f"y{place}"
        if array.ndim == 2:
            nodes += [
                helper.make_node("GlobalAveragePool", [last], ["pooled"]),
                helper.make_node("Flatten", ["pooled"], ["flat"]),
                helper.make_node("Gemm", ["flat", name], [made], transB=1),
            ]
        else:
            nodes.append(helper.make_node("Conv", [last, name], [made], pads=[1, 1, 1, 1]))
        last = made
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("image", 1, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info(last, 1, ["N", arrays[-1].shape[0]])],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def files(folder, old, new, name="model.onnx"):
    """Write two versions, bytes or models, below ``folder``; return their paths."""
    paths = []
    for which, content in (("old", old), ("new", new)):
        path = folder / which / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        paths.append(path)
    return paths


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
