"""What is inside a .mnn file.

Format: MNN's MNN.fbs and CaffeOp.fbs; the file has no identifier. Field numbers are those of the
schema; a union takes two of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgeops.model.filebytes import damaged, read_bytes
from edgeops.model.flatbuffer import DamagedError, Flatbuffer
from edgeops.model.inspect.common import document, parameters, product, tensor
from edgeops.model.inspect.mnn_names import dtype_name, operator_name, source_name

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.model.flatbuffer import Table

WHAT = "an MNN model"
# Members of the union OpParameter, by number.
_BLOB, _CONVOLUTION, _DENSE, _INPUT, _PRELU, _SCALE, _CONVOLUTION_3D = 7, 9, 20, 21, 32, 58, 80
_BATCH_NORM, _LAYER_NORM = 5, 88
# Where float weights lie in parameters that have nothing else to count.
_FLOATS = {_PRELU: (1,), _SCALE: (1, 2), _BATCH_NORM: (1, 2, 3, 4), _LAYER_NORM: (2, 3)}
# Operators whose weights lie where this reader does not look.
_UNKNOWN = {
    *("LSTM", "RNN", "RNNSequenceGRU", "LSTMBlockCell", "MoE", "Extra", "Plugin", "FusedLinear"),
    *("TfQuantizedConv2D", "QuantizedDepthwiseConv2D", "Normalize", "GroupNorm", "TrainableParam"),
    *("RoPE", "LinearAttention", "GatedRMSNorm"),
}
_HALF, _INT8_KINDS = 3, {1: "int8", 2: "int8", 4: "int8"}  # IDSTQuan.type


def inspect_mnn(path: Path) -> dict[str, Any]:
    """Return what is inside; raises InputError ``model-damaged``."""
    data = read_bytes(path)
    try:
        return _inspect(path, Flatbuffer(data).root())
    except DamagedError as error:
        raise damaged(path, WHAT, str(error)) from error


def _inspect(path: Path, root: Table) -> dict[str, Any]:
    names = list(root.texts(7))
    ops = list(root.tables(3))
    kinds = [operator_name(op.integer(5)) for op in ops]
    inner = [operator_name(op.integer(5)) for graph in root.tables(10) for op in graph.tables(4)]
    if not ops or not names:
        message = "it has no operators"
        raise DamagedError(message)
    beside = path.with_name(f"{path.name}.weight")
    files = [path, beside] if beside.is_file() else [path]
    shown = [kind for kind in (*kinds, *inner) if kind not in ("Input", "Const")]
    inputs = [_input(op, names) for op, kind in zip(ops, kinds, strict=True) if kind == "Input"]
    outputs = list(root.texts(4)) or _never_read(ops, names)
    result = document("mnn", files, inputs, [tensor(n, None, "unknown") for n in outputs], shown)
    weights: Counter[str] = Counter()
    for op in ops:
        weights.update(_weights(op))
    hidden = sorted({*kinds, *inner} & _UNKNOWN)
    extra = root.table(2)
    result |= {
        "parameters": None if hidden else parameters(weights),
        "weights": dict(weights),
        "macs_reason": "a .mnn file does not hold the shapes inside of the model",
        "mnn_version": (extra.text(2) if extra else "") or None,
        "made_from": source_name(root.integer(6, "int8")) or None,
        "quantized": _quantized(kinds, ops),
        "notes": _notes(root, path),
    }
    if hidden:
        result["parameters_reason"] = f"the weights of {', '.join(hidden)} are not counted"
    return result


def _notes(root: Table, path: Path) -> list[str]:
    notes = []
    if not root.has(4):
        notes.append("the file names no outputs: shown is what nothing reads")
    if (
        any(op.text(7) for op in root.tables(3))
        and not path.with_name(f"{path.name}.weight").is_file()
    ):
        notes.append(f"its weights are in another file, and {path.name}.weight is not beside it")
    return notes


def _input(op: Table, names: list[str]) -> dict[str, Any]:
    about = op.table(2) if op.integer(1, "uint8") == _INPUT else None
    outputs = op.integers(4)
    name = _name(outputs[0], names) if outputs else op.text(3)
    if about is None:
        return tensor(name, None, "unknown")
    return tensor(name, about.integers(0), dtype_name(about.integer(1, default=1)))


def _never_read(ops: list[Table], names: list[str]) -> list[str]:
    read = {index for op in ops for index in op.integers(0)}
    made = [index for op in ops for index in op.integers(4)]
    return [_name(index, names) for index in made if index not in read]


def _name(index: int, names: list[str]) -> str:
    if not 0 <= index < len(names):
        message = f"an operator names tensor {index}, of {len(names)}"
        raise DamagedError(message)
    return names[index]


def _weights(op: Table) -> Counter[str]:
    """Return the weights of an operator by element type."""
    kind, about = op.integer(1, "uint8"), op.table(2)
    if about is None:
        return Counter()
    if kind in _FLOATS:
        return Counter(float32=sum(about.span(field, 4)[1] for field in _FLOATS[kind]))
    if kind == _BLOB:
        return Counter({dtype_name(about.integer(2, default=1)): abs(product(about.integers(0)))})
    if kind == _DENSE:
        return Counter(float32=about.span(3, 4)[1] + about.span(4, 4)[1])
    if kind in (_CONVOLUTION, _CONVOLUTION_3D):
        return _of_convolution(about, quantizable=kind == _CONVOLUTION)
    return Counter()


def _of_convolution(about: Table, *, quantizable: bool) -> Counter[str]:
    weights = Counter(float32=about.span(1, 4)[1] + about.span(2, 4)[1])
    if not quantizable:
        return weights
    packed, symmetric, common = about.table(3), about.table(4), about.table(0)
    if symmetric and symmetric.span(0, 1)[1]:
        weights["int8"] += symmetric.span(0, 1)[1]
    elif packed and common and not about.span(1, 4)[1]:
        # Packed weights are compressed: how many there are follows from the layer's sizes.
        sizes = [common.integer(field, default=1) for field in (2, 3)]
        group = max(common.integer(9, default=1), 1)
        outputs, inputs = common.integer(10), common.integer(11)
        count = abs(product(sizes) * outputs * max(inputs // group, 1))
        kind = packed.integer(2)
        weights["float16" if kind == _HALF else _INT8_KINDS.get(kind, "packed")] += count
    return +weights


def _quantized(kinds: list[str], ops: list[Table]) -> dict[str, int] | None:
    found = Counter(kind for kind in kinds if kind in ("ConvInt8", "DepthwiseConvInt8"))
    for op, kind in zip(ops, kinds, strict=True):
        about = op.table(2) if op.integer(1, "uint8") == _CONVOLUTION else None
        packed = about.table(3) if about else None
        if packed and packed.integer(2) in _INT8_KINDS and kind not in found:
            found["weight_only_layers"] += 1
    return dict(found) or None
