"""Where numbers lie in the bytes of model files, so that each is compared with its old self.

A file that a reader does not understand has no regions, and is compared without knowing its format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edgeops.model.flatbuffer import DamagedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# Kinds of numbers, as the format numbers them.
INT8, INT16, INT32, FLOAT16, BFLOAT16, FLOAT32 = range(1, 7)
SIZES = {INT8: 1, INT16: 2, INT32: 4, FLOAT16: 2, BFLOAT16: 2, FLOAT32: 4}


@dataclass(frozen=True)
class Region:
    """Numbers of one kind that lie at ``offset``; ``name`` is what the same weights have again."""

    offset: int
    length: int
    kind: int
    name: str


def locate(data: memoryview, name: str, beside: Mapping[str, Path]) -> list[Region]:
    """Return the regions of a file, in order and not overlapping.

    ``name`` is the file's own name; ``beside`` are the files that lie with it, by name.
    """
    try:
        found = _reader(name)(data, PurePosixPath(name).name, beside)
    except (DamagedError, ValueError, IndexError, KeyError, OSError, struct.error):
        return []
    regions: list[Region] = []
    end = 0
    for region in sorted(found, key=lambda each: each.offset):
        if region.length and region.offset >= end and region.length % SIZES[region.kind] == 0:
            end = region.offset + region.length
            regions.append(region)
    return regions if end <= len(data) else []


def _reader(name: str) -> Callable[[memoryview, str, Mapping[str, Path]], list[Region]]:
    from edgeops.package.deltas.locate import mnn, ncnn, onnx, tflite

    suffix = PurePosixPath(name).suffix.lower()
    return {
        ".onnx": onnx.regions,
        ".tflite": tflite.regions,
        ".mnn": mnn.regions,
        ".bin": ncnn.regions,
    }.get(suffix, onnx.external_regions)
