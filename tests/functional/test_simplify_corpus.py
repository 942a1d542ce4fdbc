"""Real models: prepared, they answer the same, and no more is left of them than must be."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from edgeops.model.prepare import prepare
from tests.unit._graphs import attributes, inputs_of, kinds, run

# Nodes left, at most. What onnxsim 0.8.1 leaves stands beside it.
LEFT = {
    "basic_pitch/nmp": 180,  # 180
    "hand_keypoint/keypoint_classifier_argmax": 9,  # 9
    "magika_v3_3/model": 75,  # 93
    "mnist_cnn/mnist": 9,  # 8: MatMul and Add are not made one Gemm here
    "mtcnn/onet": 24,  # 24
    "mtcnn/pnet": 13,  # 13
    "mtcnn/rnet": 19,  # 19
    "ultraface_rfb320/version-RFB-320": 125,  # 128
    "ultraface_rfb320/version-RFB-320_without_postprocessing": 110,  # 110
    "ultraface_rfb320/version-slim-320": 110,  # 113
}


def open_axes(model):
    given = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if value.name not in given
    }


def agree(model, made, arrays):
    for one, other in zip(run(model, arrays), run(made, arrays), strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 5e-6 * max(1.0, float(np.abs(one).max()))


@pytest.mark.parametrize("name", LEFT)
def test_prepared_model_answers_as_the_source_does(corpus, name):
    model = onnx.load(corpus / f"{name}.onnx")
    made = prepare(model)
    assert made.notes == ()
    onnx.checker.check_model(made.proto, full_check=True)
    assert len(made.proto.graph.node) <= LEFT[name]
    assert made.proto.ByteSize() <= model.ByteSize() * 1.2 + 4096
    for side in ("input", "output"):
        given = {tensor.name for tensor in model.graph.initializer}
        before = [v for v in getattr(model.graph, side) if v.name not in given]
        assert list(getattr(made.proto.graph, side)) == before
    for seed, batch in enumerate((1, 3)):
        arrays = inputs_of(model, batch, seed)
        if "pnet" in name:
            arrays = {"input_1": np.random.default_rng(seed).random((batch, 24, 31, 3), np.float32)}
        agree(model, made.proto, arrays)


@pytest.mark.parametrize("name", LEFT)
def test_with_fixed_shapes_nothing_is_computed_from_shapes(corpus, name):
    model = onnx.load(corpus / f"{name}.onnx")
    shapes = {
        value: [size or (48 if axis else 1) for axis, size in enumerate(sizes)]
        for value, sizes in open_axes(model).items()
    }
    made = prepare(model, input_shapes=shapes)
    assert made.notes == ()
    assert not {"Shape", "Size", "ConstantOfShape", "Range"} & set(kinds(made.proto))
    pads = {attributes(node).get("auto_pad", b"NOTSET") for node in made.proto.graph.node}
    assert pads == {b"NOTSET"}
    for value in made.proto.graph.value_info:
        dims = value.type.tensor_type.shape.dim
        assert math.prod(dim.dim_value for dim in dims) > 0, value.name
    agree(model, made.proto, inputs_of(made.proto, 1))


def test_magika_keeps_its_batch_open_without_computing_it(corpus):
    made = prepare(onnx.load(corpus / "magika_v3_3" / "model.onnx")).proto
    assert not {"Shape", "Expand", "Slice"} & set(kinds(made))
    batch = made.graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param
    names = {
        value.type.tensor_type.shape.dim[0].dim_param
        for value in made.graph.value_info
        if value.type.tensor_type.shape.dim
    }
    assert names == {batch.dim_param}
