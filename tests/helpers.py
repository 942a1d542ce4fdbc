"""What many tests build: folders from a dict, tiny models, data that fits them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def build_tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write ``{relative path: content}`` below ``root``; texts are dedented."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(textwrap.dedent(content).lstrip("\n"))
        else:
            path.write_bytes(content)
    return root


def write_tiny_model(path: Path, *, opset: int = 17, hidden: int = 8, seed: int = 0) -> Path:
    """Write a Gemm-Relu-Gemm-Softmax classifier: "x" float32 [N,4] -> "probabilities" [N,3]."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)
    weights = {
        "w1": random.normal(size=(4, hidden)),
        "b1": random.normal(size=hidden),
        "w2": random.normal(size=(hidden, 3)),
        "b2": random.normal(size=3),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("Gemm", ["r", "w2", "b2"], ["scores"], name="second"),
            helper.make_node("Softmax", ["scores"], ["probabilities"], name="softmax", axis=-1),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def write_tiny_data(path: Path, model: Path, *, count: int = 64, seed: int = 1) -> Path:
    """Write "x" [count,4] with the labels that ``model`` itself gives, so that accuracy is 1."""
    import numpy as np
    import onnxruntime

    arrays = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    labels = session.run(["probabilities"], {"x": arrays})[0].argmax(axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x=arrays, labels=labels)
    return path
