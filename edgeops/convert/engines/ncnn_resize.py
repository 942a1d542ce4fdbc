"""Resize: which of ONNX's many ways of finding pixels are ncnn's, and how pnnx reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeops.convert.engines.ncnn_adapt import Copy

_SCALES, _SIZES = 2, 3


def resize(node: Any, copy: Copy) -> list[Any]:
    """State scales or sizes for all axes, and leave out what changes nothing."""
    import numpy as np
    from onnx import helper

    stated = _stated(node)
    before = copy.sizes(node.input[0])
    scales, sizes = copy.value(node, _SCALES), copy.value(node, _SIZES)
    if before is None:
        return [node]
    axes = stated.pop("axes", None)
    if axes is not None:
        if scales is not None and scales.size:
            whole = np.ones(len(before), np.float32)
            whole[axes] = scales
            scales = whole
        elif sizes is not None and None not in before:
            every = np.asarray(before, np.int64)
            every[axes] = sizes
            sizes = every
    if stated.get("coordinate_transformation_mode") == b"pytorch_half_pixel":
        stated["coordinate_transformation_mode"] = b"half_pixel"
    for name in ("keep_aspect_ratio_policy", "antialias", "extrapolation_value"):
        stated.pop(name, None)
    made = node.output[0]
    inputs = [node.input[0], ""]
    if scales is not None and scales.size:
        inputs.append(copy.add(f"{made}/scales", scales))
    elif sizes is not None:
        inputs += ["", copy.add(f"{made}/sizes", sizes)]
    else:
        return [node]
    return [helper.make_node("Resize", inputs, [made], name=node.name, **stated)]


def why_not(node: Any, copy: Copy) -> str:
    """Return what of a Resize ncnn does otherwise, "" when nothing."""
    stated = _stated(node)
    factors = _factors(node, copy)
    if factors is None:
        return "its scales are not known"
    if any(factor != 1 for factor in factors[:2]):
        return "it resizes the batch or the channels"
    way = stated.get("coordinate_transformation_mode", b"half_pixel").decode()
    if stated.get("mode", b"nearest") == b"nearest":
        rounding = stated.get("nearest_mode", b"round_prefer_floor").decode()
        return _why_not_nearest(factors, way, rounding)
    single = 1 in (copy.sizes(node.output[0]) or ())[2:]
    return "it resizes to a single pixel" if single and way == "pytorch_half_pixel" else ""


def _why_not_nearest(factors: list[float], way: str, rounding: str) -> str:
    """Tell for ncnn, which takes the pixel at ``floor(index / factor)``."""
    whole = all(factor >= 1 and factor == int(factor) for factor in factors)
    parts = all(factor >= 1 or 1 / factor == round(1 / factor) for factor in factors)
    floors = way == "asymmetric" and rounding == "floor"
    centred = way in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round")
    if not floors and not centred:
        return f"nearest pixels by {way} and {rounding}"
    return "" if whole or (floors and parts) else "nearest pixels at a factor that is not whole"


def _factors(node: Any, copy: Copy) -> list[float] | None:
    before = copy.sizes(node.input[0])
    scales, sizes = copy.value(node, _SCALES), copy.value(node, _SIZES)
    if before is None:
        return None
    axes = _stated(node).get("axes", list(range(len(before))))
    factors = [1.0] * len(before)
    if scales is not None and scales.size:
        for axis, scale in zip(axes, scales.tolist(), strict=True):
            factors[axis] = scale
        return factors
    if sizes is None:
        return None
    for axis, size in zip(axes, sizes.tolist(), strict=True):
        known = before[axis]
        if not known:
            return None
        factors[axis] = size / known
    return factors


def _stated(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
