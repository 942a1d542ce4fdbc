from __future__ import annotations

import weakref
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the extra [litert] is not installed")

from edgeops.convert.litert import write
from edgeops.convert.litert.ir import Graph, Op, Quant, Tensor
from edgeops.convert.litert.versions import version_of
from edgeops.convert.litert.write import pack
from edgeops.errors import RefusedError
from tests.unit._litert import one_node, run_litert, to_tflite
from tests.unit._litert_kernels import noise


def read(content):
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(content)


def tensor(*dims, dtype="float32", data=None, quant=None):
    return Tensor("t", dims, dtype, data, quant)


def test_file_names_inputs_and_outputs_in_a_signature():
    model = read(to_tflite(one_node("Add", {"a": noise(2), "b:0": noise(2)}, outputs=["sum/y"])))
    (signature,) = model.signatureDefs
    assert signature.signatureKey == b"serving_default"
    assert [entry.name for entry in signature.inputs] == [b"a", b"b:0"]
    assert [entry.name for entry in signature.outputs] == [b"sum/y"]
    tensors = model.subgraphs[0].tensors
    assert [tensors[entry.tensorIndex].name for entry in signature.outputs] == [b"sum/y"]


def test_equal_constants_stand_in_the_file_once():
    weights = noise(64, 64)
    content = to_tflite(
        one_node("Sum", {"x": noise(64, 64, seed=1), "a": weights, "b": weights}, constants="ab")
    )
    assert weights.nbytes < len(content) < 1.5 * weights.nbytes


def test_constants_are_aligned():
    weights = noise(5, 7)
    content = to_tflite(one_node("Add", {"x": noise(5, 7, seed=1), "w": weights}, constants="w"))
    assert content.index(weights.tobytes()) % 16 == 0


def test_open_axes_are_written_as_such_with_room_to_plan_in():
    x = noise(1, 3, 8, 8)
    inputs = {"x": x, "w": noise(2, 3, 5, 5)}
    axes = {"x": {0: "N", 2: "H", 3: "W"}}
    model = read(to_tflite(one_node("Conv", inputs, constants=["w"], open_axes=axes)))
    graph = model.subgraphs[0]
    given = graph.tensors[graph.inputs[0]]
    assert list(given.shape) == [1, 3, 32, 32]
    assert list(given.shapeSignature) == [-1, 3, -1, -1]


def test_file_of_fixed_sizes_has_no_signature_of_shapes():
    model = read(to_tflite(one_node("Relu", {"x": noise(2, 3)})))
    assert all(found.shapeSignature is None for found in model.subgraphs[0].tensors)


def test_quantized_tensors_carry_their_scales():
    quant = Quant(np.array([0.5, 0.25], "float32"), np.array([0, 0], "int64"), 1)
    weights = tensor(1, 2, dtype="int8", data=np.array([[4, -8]], "int8"), quant=quant)
    out = Tensor("y", (1, 2), "float32")
    content = bytes(pack(Graph([], [out], [Op("DEQUANTIZE", [weights], [out])])))
    found = read(content).subgraphs[0].tensors[0].quantization
    assert (list(found.scale), list(found.zeroPoint), found.quantizedDimension) == (
        [0.5, 0.25],
        [0, 0],
        1,
    )
    np.testing.assert_array_equal(run_litert(content, {}, ["y"], delegate=False)[0], [[2, -2]])


X, W, B = tensor(1, 8, 8, 4), tensor(8, 3, 3, 4), tensor(8)
BYTES = tensor(1, 8, 8, 4, dtype="int8")


@pytest.mark.parametrize(
    ("op", "version"),
    [
        (Op("CONV_2D", [X, W, B], [X]), 1),
        (Op("CONV_2D", [X, tensor(8, 3, 3, 2), B], [X]), 6),
        (Op("CONV_2D", [BYTES, BYTES, B], [BYTES]), 3),
        (Op("DEPTHWISE_CONV_2D", [X, W, B], [X]), 1),
        (Op("DEPTHWISE_CONV_2D", [X, W, B], [X], {"dilationHFactor": 2}), 2),
        (Op("FULLY_CONNECTED", [X, W, B], [X]), 1),
        (Op("FULLY_CONNECTED", [X, W, B], [X], {"keepNumDims": True}), 5),
        (Op("FULLY_CONNECTED", [X, W, None], [X]), 6),
        (Op("TRANSPOSE_CONV", [B, W, X], [X]), 1),
        (Op("TRANSPOSE_CONV", [B, W, X, B], [X]), 3),
        (Op("TRANSPOSE", [X, B], [X]), 1),
        (Op("TRANSPOSE", [tensor(1, 2, 3, 4, 5), B], [X]), 4),
        (Op("SPLIT", [B, BYTES], [X]), 2),
        (Op("RESIZE_BILINEAR", [X, B], [X], {"halfPixelCenters": True}), 3),
        (Op("RESIZE_BILINEAR", [X, B], [X], {"alignCorners": True}), 1),
        (Op("DEQUANTIZE", [tensor(4, dtype="float16")], [X]), 3),
        (Op("BROADCAST_TO", [X, B], [X]), 2),
        (Op("RELU", [X], [X]), 1),
    ],
)
def test_version_is_that_of_the_first_runtime_which_knows_the_use(op, version):
    assert version_of(op) == version


def test_what_does_not_fit_into_a_flatbuffer_is_refused_before_it_is_packed():
    vast = np.broadcast_to(np.int8(1), (2**31,))  # one byte of memory
    with pytest.raises(RefusedError) as refused:
        write._room([SimpleNamespace(data=vast)], 1)
    assert refused.value.code == "litert-too-large"
    assert "2.1 GB" in refused.value.what


def test_constants_are_given_up_once_written():
    """A large model is in memory once more while it is written, not four times."""
    weights = np.zeros((64, 1024), "float32")
    source = Tensor("w", (64, 1024), "float32", weights)
    out = Tensor("y", (64, 1024), "float32")
    left = weakref.ref(weights)
    del weights
    content = pack(Graph([], [out], [Op("DEQUANTIZE", [source], [out])]))
    assert left() is None
    assert 4 * 64 * 1024 < len(content) < 4 * 64 * 1024 + 2048
