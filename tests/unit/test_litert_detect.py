"""NonMaxSuppression and NonZero become LiteRT operators that answer as ONNX Runtime does."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("ai_edge_litert", reason="needs edgeops[litert]")

from tests.unit._litert import check_op, one_node, refusal


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 2)])
def test_nonzero_lists_the_indices_by_axis(dtype, shape):
    x = (np.random.default_rng(1).random(shape) > 0.5).astype(dtype)
    check_op(one_node("NonZero", {"x": x}), {"x": x})


def test_nonzero_of_nothing_is_empty():
    x = np.zeros((3, 4), "float32")
    (found,) = check_op(one_node("NonZero", {"x": x}), {"x": x})
    assert found.shape == (2, 0)


def nms(batches=1, classes=1, count=40, most=10, iou=0.5, score=None, **attributes):
    """Return a model of one NonMaxSuppression with constant limits, and inputs for it."""
    random = np.random.default_rng(3)
    corner = random.random((batches, count, 2)).astype("float32")
    size = (random.random((batches, count, 2)) * 0.4 + 0.1).astype("float32")
    second = size if attributes.get("center_point_box") else corner + size
    boxes = np.concatenate([corner, second], axis=2)
    scores = random.random((batches, classes, count)).astype("float32")
    limits = {"most": np.array([most], "int64"), "iou": np.array([iou], "float32")}
    if score is not None:
        limits["score"] = np.array([score], "float32")
    node = helper.make_node(
        "NonMaxSuppression", ["boxes", "scores", *limits], ["y"], name="nms", **attributes
    )
    graph = helper.make_graph(
        [node],
        "nms",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, boxes.shape),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, scores.shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["rows", 3])],
        [numpy_helper.from_array(array, name) for name, array in limits.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, {"boxes": boxes, "scores": scores}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"score": 0.6},
        {"score": 2.0},
        {"iou": 0.0},
        {"iou": 0.99, "most": 100},
        {"batches": 2, "classes": 3, "score": 0.4},
        {"center_point_box": 1},
    ],
)
def test_nms_selects_the_same_boxes_in_the_same_order(options):
    check_op(*nms(**options))


def test_nms_that_drops_nothing_is_refused():
    model, _ = nms(iou=1.0)
    (finding,) = refusal(model).findings
    assert finding.where == "nms"
    assert "TopK" in finding.fix


def test_nms_without_a_limit_is_refused_for_it_selects_nothing():
    model, _ = nms(most=0)
    (finding,) = refusal(model).findings
    assert finding.where == "nms"
    assert "max_output_boxes_per_class" in finding.fix
