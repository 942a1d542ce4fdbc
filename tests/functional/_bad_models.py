"""Broken models and data sets, each made the way it breaks in real life."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.helpers import write_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def changed(path: Path, change) -> Path:
    """Write the tiny model with ``change(proto)`` done to it."""
    proto = onnx.load(write_tiny_model(path))
    change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def weight(proto, index, value):
    """Set the first number of an initializer."""
    tensor = proto.graph.initializer[index]
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] = value
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def external(path: Path, location: str, *, offset: int = 0, length: int | None = None) -> Path:
    """Write the tiny model with its first weight said to lie in another file."""

    def change(proto):
        tensor = proto.graph.initializer[0]
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        about = {"location": location, "offset": offset, "length": length or size}
        for key, value in about.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)

    return changed(path, change)


def custom_operator(path: Path) -> Path:
    """Write a model with an operator of a domain that nobody knows."""
    graph = helper.make_graph(
        [
            helper.make_node("MagicScale", ["x"], ["h"], name="magic", domain="com.acme"),
            helper.make_node("Relu", ["h"], ["y"], name="relu"),
        ],
        "custom",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


def no_kernel(path: Path) -> Path:
    """Write a model with a standard operator that ONNX Runtime has no CPU kernel for."""
    graph = helper.make_graph(
        [helper.make_node("ImageDecoder", ["x"], ["y"], name="decode")],
        "image",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, ["H", "W", 3])],
    )
    opsets = [helper.make_opsetid("", 20)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return path


def linear(path: Path, factor: float) -> Path:
    """Write y = x @ W, all of W being ``factor``."""
    weights = np.full((4, 2), factor, "float32")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="scale"),
            helper.make_node("Neg", ["h"], ["y"], name="minus"),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


def data(path: Path, **arrays) -> Path:
    """Write an .npz."""
    np.savez(path, **arrays)
    return path
