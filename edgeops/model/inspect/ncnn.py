"""What is inside an ncnn network: a .param text, its weights in a .bin beside it.

Format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure. The first line is the
number 7767517, the second counts layers and blobs, each further line is a layer: type, name,
counts of what it reads and makes, their names, parameters ``number=value``.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError
from edgeops.model.filebytes import damaged, read_bytes
from edgeops.model.flatbuffer import DamagedError
from edgeops.model.inspect.common import document, parameters, product, tensor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAGIC = b"7767517"
WHAT = "an ncnn network"
# How weights are stored, by the four bytes before them (ncnn/src/modelbin.cpp).
_TAGS = {0x01306B47: ("float16", 2), 0x000D4B38: ("int8", 1), 0x0002C056: ("float32", 4)}
_FLOAT = ("float32", 4)
# Layer -> (number of its weight's size, of its bias switch, of its bias's size); weights come first.
_WEIGHTED = {
    **dict.fromkeys(("Convolution", "ConvolutionDepthWise", "Deconvolution"), (6, 5, 0)),
    **dict.fromkeys(
        ("DeconvolutionDepthWise", "Convolution1D", "ConvolutionDepthWise1D"), (6, 5, 0)
    ),
    **dict.fromkeys(("Convolution3D", "ConvolutionDepthWise3D", "Deconvolution1D"), (6, 5, 0)),
    **dict.fromkeys(("Deconvolution3D",), (6, 5, 0)),
    "InnerProduct": (2, 1, 0),
    "Embed": (3, 2, 0),
}
# Layers that keep plain floats: number of the count, how many such rows, number of their switch.
_PLAIN = {
    "BatchNorm": (0, 4, None),
    "PReLU": (0, 1, None),
    "LayerNorm": (0, 2, 2),
    "GroupNorm": (1, 2, 3),
    "InstanceNorm": (0, 2, 2),
    "RMSNorm": (0, 1, 2),
}
_OTHERS = {
    *("LSTM", "GRU", "RNN", "MultiHeadAttention", "Gemm", "Normalize", "Bias", "Scale"),
    *("DeformableConv2D", "Quantize", "Dequantize", "Requantize", "RotaryEmbed", "SDPA"),
}
_MOST_LAYERS = 1_000_000


@dataclass(frozen=True)
class _Layer:
    kind: str
    name: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    numbers: Mapping[int, str]

    def integer(self, key: int, default: int = 0) -> int:
        try:
            return int(self.numbers.get(key, default))
        except ValueError:
            return default


def inspect_ncnn(path: Path) -> dict[str, Any]:
    """Return what is inside; raises InputError ``model-damaged``, ``ncnn-binary-param``."""
    layers = parse(path, read_bytes(path))
    beside = path.with_suffix(".bin")
    notes = []
    if beside.is_file():
        files, data = [path, beside], read_bytes(beside)
    else:
        files, data = [path], None
        notes.append(f"its weights are not beside it: {beside.name}")
    read = {name for layer in layers for name in layer.reads}
    made = [name for layer in layers for name in layer.makes]
    entries = [layer for layer in layers if layer.kind == "Input"]
    shown = [
        layer.kind for layer in layers if layer.kind not in ("Input", "Split", "MemoryData", "Noop")
    ]
    result = document(
        "ncnn",
        files,
        [tensor(layer.makes[0], _sizes(layer), "float32") for layer in entries],
        [tensor(name, None, "float32") for name in made if name not in read],
        shown,
    )
    try:
        weights, problem = _weights(path, layers, data)
    except DamagedError as error:
        raise damaged(path, WHAT, str(error)) from error
    result |= {
        "parameters": None if problem else parameters(weights),
        "weights": dict(weights),
        "macs_reason": "a .param does not hold the shapes inside of the model",
        "layers": len(layers),
        "blobs": len(set(made)),
        "notes": notes,
    }
    if problem:
        result["parameters_reason"] = problem
    return result


def parse(path: Path, data: bytes) -> list[_Layer]:
    """Return the layers of a .param; raises InputError ``model-damaged``."""
    if not data.startswith(MAGIC):
        raise damaged(path, WHAT, "its first line is not 7767517")
    lines = [line.split() for line in data.decode(errors="replace").splitlines() if line.strip()]
    try:
        count, blobs = (int(word) for word in lines[1])
    except (IndexError, ValueError) as error:
        raise damaged(path, WHAT, "its second line does not count layers and blobs") from error
    if count > _MOST_LAYERS or len(lines) - 2 != count:
        why = f"it says that it has {count} layers, and has {len(lines) - 2}"
        raise damaged(path, WHAT, why)
    layers = [_layer(path, number, words) for number, words in enumerate(lines[2:], start=3)]
    known: set[str] = set()
    for layer in layers:
        strange = [name for name in layer.reads if name not in known]
        if strange:
            why = f"the layer {layer.name!r} reads {strange[0]!r}, which nothing before it makes"
            raise damaged(path, WHAT, why)
        known.update(layer.makes)
    if len(known) > blobs:
        raise damaged(path, WHAT, f"it says that it has {blobs} blobs, and has {len(known)}")
    return layers


def _layer(path: Path, number: int, words: list[str]) -> _Layer:
    try:
        reads, makes = int(words[2]), int(words[3])
        names, rest = words[4 : 4 + reads + makes], words[4 + reads + makes :]
        numbers = {int(key): value for key, _, value in (word.partition("=") for word in rest)}
        fits = reads >= 0 and makes >= 0 and len(names) == reads + makes
    except (IndexError, ValueError) as error:
        raise damaged(path, WHAT, f"line {number} is no layer") from error
    if not fits or (words[0] == "Input" and not makes):
        raise damaged(path, WHAT, f"line {number} counts {reads} + {makes} blobs wrongly")
    return _Layer(words[0], words[1], tuple(names[:reads]), tuple(names[reads:]), numbers)


def _sizes(layer: _Layer) -> list[int] | None:
    # w, h, d, c are parameters 0, 1, 11, 2; ncnn leaves out those that an input does not have.
    sizes = [layer.integer(key) for key in (2, 11, 1, 0)]
    known = [size for size in sizes if size > 0]
    return known or None


def _weights(path: Path, layers: list[_Layer], data: bytes | None) -> tuple[Counter[str], str]:
    """Return the weights by element type, and why they are not all counted, "" when they are."""
    counts: Counter[str] = Counter()
    position = 0
    for layer in layers:
        if layer.kind in _OTHERS:
            return counts, f"the weights of {layer.kind} are not counted"
        for count, tagged in blocks(layer):
            kind, size = _FLOAT
            if tagged and data is not None:
                kind, size, position = stored(path, layer, data, position)
            counts[kind] += count
            position += (count * size + 3) // 4 * 4
            if data is not None and position > len(data):
                why = f"its .bin ends at byte {len(data)}, the layer {layer.name!r} at {position}"
                raise damaged(path, WHAT, why)
        if layer.integer(8) and layer.kind in _WEIGHTED:
            return counts, "the scales of int8 layers are not counted"
    return counts, ""


def stored(
    path: Path, layer: _Layer, data: bytes | memoryview, position: int
) -> tuple[str, int, int]:
    """Return how the weights after ``position`` are stored, bytes each, and where they begin."""
    if position + 4 > len(data):
        raise damaged(path, WHAT, f"its .bin ends before the layer {layer.name!r}")
    (tag,) = struct.unpack_from("<I", data, position)
    kind, size = _TAGS.get(tag, _FLOAT)
    return kind, size, position + 4


def blocks(layer: _Layer) -> list[tuple[int, bool]]:
    """Return the weights of a layer: how many numbers, and whether a tag stands before them."""
    if layer.kind in _WEIGHTED:
        size, switch, bias = _WEIGHTED[layer.kind]
        blocks = [(abs(layer.integer(size)), True)]
        if layer.integer(switch):
            blocks.append((abs(layer.integer(bias)), False))
        return blocks
    if layer.kind in _PLAIN:
        count, rows, switch_of = _PLAIN[layer.kind]
        if switch_of is not None and not layer.integer(switch_of, 1):
            return []
        return [(abs(layer.integer(count)), False)] * rows
    if layer.kind == "MemoryData":
        sizes = [layer.integer(key) for key in (0, 1, 11, 2)]
        # Parameter 21 is how it is stored: 1, the default, is plain floats; 0 has a tag.
        return [(abs(product(size for size in sizes if size)), layer.integer(21, 1) == 0)]
    return []


def refuse_binary(path: Path, data: bytes) -> None:
    """Raise InputError ``ncnn-binary-param`` for the binary form of a .param."""
    if data[:4] == struct.pack("<I", 7767517):
        raise InputError(
            "ncnn-binary-param",
            f"{path.name} is a .param.bin: an ncnn network without names",
            where=str(path),
            why="ncnn2mem or ncnnoptimize has replaced layer types and names by numbers",
            fix="give the .param that it was made from",
        )
