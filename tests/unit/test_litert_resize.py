from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgeops.convert.litert.lowering import lower
from tests.unit._litert import check_op, model_of, one_node, refusal

X = np.random.default_rng(2).normal(size=(1, 2, 5, 6)).astype("float32")
WAYS = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def resized(x, *, sizes=None, scales=None, open_axes=None, opset=19, **attributes):
    inputs = {
        "x": x,
        "roi": None,
        "scales": None if scales is None else np.array(scales, "float32"),
    }
    if sizes is not None:
        inputs["sizes"] = np.array(sizes, "int64")
    return one_node(
        "Resize",
        inputs,
        constants=["scales" if sizes is None else "sizes"],
        open_axes={"x": open_axes or {}},
        opset=opset,
        **attributes,
    )


def operators(model):
    return [op.code for op in lower(model).ops]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("sizes", [(1, 2, 10, 12), (1, 2, 3, 13), (1, 2, 2, 3), (2, 4, 5, 7)])
def test_nearest_in_every_way(way, rounding, sizes):
    model = resized(X, sizes=sizes, coordinate_transformation_mode=way, nearest_mode=rounding)
    check_op(model, {"x": X}, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 0.6, 1.7), (1, 1, 3, 1)])
def test_blending_in_every_way(mode, way, scales):
    model = resized(X, scales=scales, mode=mode, coordinate_transformation_mode=way)
    check_op(model, {"x": X})


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_shrinking_with_antialias(mode):
    check_op(resized(X, sizes=(1, 2, 3, 4), mode=mode, antialias=1), {"x": X})


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        (
            {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            "RESIZE_NEAREST_NEIGHBOR",
        ),
        ({"coordinate_transformation_mode": "half_pixel"}, "RESIZE_NEAREST_NEIGHBOR"),
        ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, "RESIZE_BILINEAR"),
        (
            {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
            "RESIZE_BILINEAR",
        ),
        ({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}, "GATHER"),
        ({"mode": "cubic"}, "FULLY_CONNECTED"),
    ],
)
def test_litert_s_own_kernels_are_taken_where_they_pick_the_same_places(attributes, code):
    assert code in operators(resized(X, scales=(1, 1, 2, 2), **attributes))


def test_images_with_channels_last_need_no_transpose():
    x = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    model = resized(x, scales=(1, 2, 2, 1), mode="linear")
    assert operators(model) == ["RESIZE_BILINEAR"]
    check_op(model, {"x": x})


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_open_sizes_by_whole_factors(mode):
    way = "asymmetric" if mode == "nearest" else "half_pixel"
    model = resized(
        X,
        scales=(1, 1, 2, 3),
        mode=mode,
        open_axes={0: "N", 2: "H", 3: "W"},
        coordinate_transformation_mode=way,
        nearest_mode="floor",
    )
    check_op(model, {"x": X})
    check_op(model, {"x": np.concatenate([X, X], axis=2)})


def test_open_sizes_by_other_factors_are_refused():
    model = resized(X, scales=(1, 1, 1.3, 1), mode="linear", open_axes={2: "H"})
    assert refusal(model).code == "dynamic-shape"
    model = resized(X, scales=(1, 1, 2, 2), mode="cubic", open_axes={2: "H"})
    assert refusal(model).code == "dynamic-shape"


def test_sizes_that_the_model_takes_from_another_tensor():
    nodes = [
        helper.make_node("Shape", ["like"], ["all"]),
        helper.make_node("Slice", ["all", "two", "four", "zero"], ["wide"]),
        helper.make_node("Concat", ["front", "wide"], ["sizes"], axis=0),
        helper.make_node(
            "Resize",
            ["x", "", "", "sizes"],
            ["y"],
            mode="linear",
            coordinate_transformation_mode="pytorch_half_pixel",
        ),
    ]
    constants = {
        "two": np.array([2]),
        "four": np.array([4]),
        "zero": np.array([0]),
        "front": np.array([1, 2]),
    }
    like = np.zeros((1, 3, 9, 8), "float32")
    inputs = {"x": X, "like": like}
    axes = {"like": {2: "H", 3: "W"}}
    check_op(model_of(nodes, inputs, ["y"], constants=constants, open_axes=axes), inputs)
    check_op(model_of(nodes, inputs, ["y"], constants=constants), inputs)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float16", "int32"])
def test_nearest_in_other_dtypes(dtype):
    x = (X * 9).astype(dtype)
    check_op(resized(x, scales=(1, 1, 2, 2)), {"x": x})


def test_signals_and_volumes():
    for shape, scales in (((1, 2, 6), (1, 1, 2)), ((1, 1, 2, 3, 4), (1, 1, 2, 2, 2))):
        x = np.arange(int(np.prod(shape)), dtype="float32").reshape(shape)
        for mode in ("nearest", "linear"):
            check_op(resized(x, scales=scales, mode=mode), {"x": x})


def test_axes_name_what_is_resized():
    inputs = {"x": X, "roi": None, "scales": np.array([3, 2], "float32")}
    model = one_node("Resize", inputs, constants=["scales"], axes=[3, 2], mode="linear")
    check_op(model, {"x": X})


def test_what_litert_cannot_resize_is_refused():
    inputs = {
        "x": X,
        "roi": np.array([0, 0, 0, 0, 1, 1, 1, 1], "float32"),
        "scales": None,
        "sizes": np.array([1, 2, 3, 3]),
    }
    crop = one_node(
        "Resize",
        inputs,
        constants=["roi", "sizes"],
        coordinate_transformation_mode="tf_crop_and_resize",
    )
    assert refusal(crop).code == "attribute-unsupported"
    keep = resized(X, sizes=(1, 2, 9, 9), keep_aspect_ratio_policy="not_larger")
    assert refusal(keep).code == "attribute-unsupported"
    whole = (X * 9).astype("uint8")
    assert refusal(resized(whole, scales=(1, 1, 2, 2), mode="linear")).code == "dtype-unsupported"


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_of_opset_9(mode):
    inputs = {"x": X, "scales": np.array([1, 1, 2, 2], "float32")}
    check_op(one_node("Upsample", inputs, constants=["scales"], opset=9, mode=mode), {"x": X})
