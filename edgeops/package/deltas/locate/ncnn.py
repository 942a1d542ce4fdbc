"""Weights in a .bin: an ncnn network's, by the order of the layers in the .param beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.errors import InputError
from edgeops.model.inspect.ncnn import blocks, parse, stored
from edgeops.package.deltas.locate import FLOAT16, FLOAT32, INT8, Region

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KINDS = {"float32": FLOAT32, "float16": FLOAT16, "int8": INT8}
_INT8_SCALES = 8  # parameter of layers whose weights are followed by scales of other counts


def regions(data: memoryview, name: str, beside: Mapping[str, Path]) -> list[Region]:
    """Return the weights up to the first layer of which only ncnn knows how many it has."""
    param = beside.get(name.removesuffix(".bin") + ".param")
    if param is None:
        return []
    found: list[Region] = []
    position = 0
    try:
        for layer in parse(param, param.read_bytes()):
            for place, (count, tagged) in enumerate(blocks(layer)):
                kind, size = "float32", 4
                if tagged:
                    kind, size, position = stored(param, layer, data, position)
                found.append(Region(position, count * size, _KINDS[kind], f"{layer.name}/{place}"))
                position += (count * size + 3) // 4 * 4
            if layer.integer(_INT8_SCALES) and blocks(layer):
                break
    except InputError:
        return []
    return [region for region in found if region.offset + region.length <= len(data)]
