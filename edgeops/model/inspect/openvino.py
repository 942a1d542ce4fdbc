"""What is inside an OpenVINO IR: an .xml, its weights in a .bin beside it.

Format: OpenVINO's IR, versions 10 and 11 (https://docs.openvino.ai, "Operation Sets in OpenVINO").
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from edgeops.errors import InputError
from edgeops.model.filebytes import damaged, read_bytes
from edgeops.model.inspect.common import document, one_sample, parameters, product, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHAT = "an OpenVINO IR"
_BITS = {"boolean": 8, "bf16": 16, "u1": 1, "nf4": 4, "f4e2m1": 4, "f8e4m3": 8, "f8e5m2": 8}
_NAMES = {"boolean": "bool", "bf16": "bfloat16", "string": "str", "f8e4m3": "float8_e4m3fn"}
_KINDS = {"f": "float", "i": "int", "u": "uint"}
_NO_OPERATORS = {"Parameter", "Result", "Const", "Constant"}
_OTHERS = {
    *("LSTMSequence", "GRUSequence", "RNNSequence", "LSTMCell", "GRUCell", "RNNCell", "Loop", "If"),
    *("TensorIterator", "Einsum", "DeformableConvolution", "ScaledDotProductAttention"),
}


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str]
    children: list[_Element] = field(default_factory=list)
    text: str = ""

    def all(self, *path: str) -> Iterator[_Element]:
        first, *rest = path
        for child in self.children:
            if child.tag == first:
                yield from child.all(*rest) if rest else [child]

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")


@dataclass(frozen=True)
class _Port:
    shape: tuple[int, ...]
    dtype: str
    names: str


@dataclass(frozen=True)
class _Layer:
    name: str
    kind: str
    data: dict[str, str]
    reads: tuple[_Port, ...]
    makes: tuple[_Port, ...]


def inspect_openvino(path: Path) -> dict[str, Any]:
    """Return what is inside.

    Raises InputError ``model-damaged``, or ``xml-doctype`` for a file that declares entities.
    """
    net = _parse(path, read_bytes(path))
    beside = path.with_suffix(".bin")
    notes = [] if beside.is_file() else [f"its weights are not beside it: {beside.name}"]
    try:
        layers = {one.get("id"): _layer(one) for one in net.all("layers", "layer")}
        makers = {
            (edge.get("to-layer"), edge.get("to-port")): edge.get("from-layer")
            for edge in net.all("edges", "edge")
        }
        result = _describe(path, net, layers, makers)
    except (ValueError, OverflowError) as error:
        raise damaged(path, WHAT, str(error)) from error
    return result | {"notes": notes}


def _describe(
    path: Path, net: _Element, layers: dict[str, _Layer], makers: dict[tuple[str, str], str]
) -> dict[str, Any]:
    beside = path.with_suffix(".bin")
    files = [path, beside] if beside.is_file() else [path]
    every = list(layers.values())
    inputs = [_named(one, one.makes) for one in every if one.kind == "Parameter"]
    outputs = [
        _output(one, layers.get(makers.get((key, "0"), "")))
        for key, one in layers.items()
        if one.kind == "Result"
    ]
    shown = [one.kind for one in every if one.kind not in _NO_OPERATORS]
    result = document("openvino", files, inputs, outputs, shown)
    weights = _weights(path, every, beside.stat().st_size if beside.is_file() else None)
    macs, reason = _macs(every)
    opsets = Counter(one.get("version") for one in net.all("layers", "layer") if one.get("version"))
    result |= {
        "parameters": parameters(weights),
        "weights": dict(weights),
        "macs": macs,
        "macs_reason": reason,
        "opsets": dict(opsets),
        "ir_version": int(net.get("version") or 0),
        "name": net.get("name"),
        "openvino_version": _rt_info(net, "Runtime_version"),
    }
    if "FakeQuantize" in result["ops"]:
        result["quantized"] = {"FakeQuantize": result["ops"]["FakeQuantize"]}
    return result


def _rt_info(net: _Element, name: str) -> str | None:
    found = next(net.all("rt_info", name), None)
    return found.get("value") or None if found else None


def _parse(path: Path, data: bytes) -> _Element:
    parser = expat.ParserCreate()
    root = _Element("", {})
    open_ones = [root]

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = _Element(tag, attributes)
        open_ones[-1].children.append(element)
        open_ones.append(element)

    def end(_: str) -> None:
        open_ones.pop()

    def text(content: str) -> None:
        if open_ones[-1].tag == "dim":
            open_ones[-1].text += content

    def doctype(*_: object) -> None:
        raise InputError(
            "xml-doctype",
            f"{path.name} declares XML entities",
            where=str(path),
            why="an OpenVINO IR never does; entities can make a small file endless or read others",
            fix="do not trust this file; make the IR again from its model",
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise damaged(
            path, WHAT, f"line {error.lineno}: {expat.ErrorString(error.code)}"
        ) from error
    net = next(root.all("net"), None)
    if net is None or not any(net.all("layers", "layer")):
        raise damaged(path, WHAT, "it has no <net> with layers")
    return net


def _layer(element: _Element) -> _Layer:
    data = next(element.all("data"), None)
    return _Layer(
        element.get("name"),
        element.get("type"),
        data.attributes if data else {},
        tuple(map(_port, element.all("input", "port"))),
        tuple(map(_port, element.all("output", "port"))),
    )


def _port(element: _Element) -> _Port:
    shape = tuple(int(dim.text) for dim in element.all("dim"))
    return _Port(shape, _dtype(element.get("precision").lower()), element.get("names"))


def _dtype(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    bits = name[1:].removeprefix("p")
    return (
        f"{_KINDS[name[0]]}{bits}" if name[:1] in _KINDS and bits.isdigit() else name or "unknown"
    )


def _named(layer: _Layer, ports: tuple[_Port, ...]) -> dict[str, Any]:
    port = ports[0] if ports else _Port((), "unknown", "")
    return tensor(port.names.split(",")[0] or layer.name, port.shape, port.dtype)


def _output(result: _Layer, maker: _Layer | None) -> dict[str, Any]:
    if maker is None:
        return _named(result, result.reads)
    ports = [port for port in maker.makes if port.names] or list(maker.makes)
    own = next(
        (port for port in ports if not result.reads or port.shape == result.reads[0].shape), None
    )
    return _named(maker, (own,) if own else result.reads)


def _weights(path: Path, layers: list[_Layer], size: int | None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for layer in layers:
        if layer.kind not in ("Const", "Constant"):
            continue
        end = int(layer.data.get("offset", "0")) + int(layer.data.get("size", "0"))
        if size is not None and end > size:
            why = f"its .bin ends at byte {size}, the constant {layer.name!r} at {end}"
            raise damaged(path, WHAT, why)
        dtype = _dtype(layer.data.get("element_type", ""))
        shape = [int(part) for part in layer.data.get("shape", "").split(",") if part.strip()]
        counts[dtype] += abs(product(shape))
    return counts


def _macs(layers: list[_Layer]) -> tuple[int | None, str]:
    left_out = sorted({layer.kind for layer in layers} & _OTHERS)
    if left_out:
        return None, f"no formula for {', '.join(left_out)}"
    total = 0
    for layer in layers:
        if layer.kind not in _FORMULAS or len(layer.reads) < 2 or not layer.makes:  # noqa: PLR2004 - data and weight
            continue
        shapes = [one_sample(port.shape) for port in (*layer.reads[:2], layer.makes[0])]
        if any(shape is None for shape in shapes):
            return None, f"a shape of {layer.kind} {layer.name!r} is open"
        total += _FORMULAS[layer.kind](layer, *shapes)
    return total, ""


def _conv(_: _Layer, __: Any, weight: Any, out: Any) -> int:
    return product(out) * product(weight[1:])


def _group_conv(_: _Layer, __: Any, weight: Any, out: Any) -> int:
    return product(out) * product(weight[2:])


def _conv_back(_: _Layer, given: Any, weight: Any, __: Any) -> int:
    return product(given) * product(weight[1:])


def _group_conv_back(_: _Layer, given: Any, weight: Any, __: Any) -> int:
    return product(given) * product(weight[2:])


def _matmul(layer: _Layer, first: Any, _: Any, out: Any) -> int:
    turned = layer.data.get("transpose_a") in ("true", "1")
    inner = first[-2] if turned and len(first) > 1 else first[-1] if first else 1
    return product(out) * inner


_FORMULAS = {
    "Convolution": _conv,
    "GroupConvolution": _group_conv,
    "ConvolutionBackpropData": _conv_back,
    "GroupConvolutionBackpropData": _group_conv_back,
    "MatMul": _matmul,
}
