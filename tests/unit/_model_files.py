"""Small files of every format that inspect reads, written without any engine."""

from __future__ import annotations

import struct

from tests.unit._flatbuffers import Num, Nums, pack

CONV_2D, CUSTOM = 3, 32


def _ints(*values):
    return Nums("int32", values)


def tflite(*, custom=(), metadata=(), scales=(), open_batch=False):
    """Return a .tflite: a 1x1 convolution 2 -> 3 channels of "image" [1,4,4,2], then customs."""
    shape = {0: _ints(1, 4, 4, 2), 3: "image", 2: Num("uint32", 0)}
    if open_batch:
        shape[7] = _ints(-1, 4, 4, 2)
    weight = {0: _ints(3, 1, 1, 2), 3: "weight", 2: Num("uint32", 1)}
    if scales:
        weight |= {1: Num("int8", 9), 4: {2: Nums("float32", tuple(scales))}}
    tensors = [shape, weight, {0: _ints(3), 3: "bias", 2: Num("uint32", 2)}]
    tensors.append({0: _ints(1, 4, 4, 3), 3: "scores", 2: Num("uint32", 0)})
    codes = [{0: Num("int8", CONV_2D), 3: Num("int32", CONV_2D)}]
    operators = [{0: Num("uint32", 0), 1: _ints(0, 1, 2), 2: _ints(3)}]
    for index, name in enumerate(custom, start=1):
        codes.append({0: Num("int8", CUSTOM), 1: name, 3: Num("int32", CUSTOM)})
        operators.append({0: Num("uint32", index), 1: _ints(3), 2: _ints(3)})
    buffers = [{}, {0: bytes(24)}, {0: bytes(12)}]
    entries = []
    for name, content in (("min_runtime_version", b"2.3.0\0\0\0"), *metadata):
        entries.append({0: name, 1: Num("uint32", len(buffers))})
        buffers.append({0: content})
    model = {
        0: Num("uint32", 3),
        1: codes,
        2: [{0: tensors, 1: _ints(0), 2: _ints(3), 3: operators, 4: "main"}],
        3: "made for a test",
        4: buffers,
        6: entries,
        7: [
            {
                0: [{0: "x", 1: Num("uint32", 0)}],
                1: [{0: "y", 1: Num("uint32", 3)}],
                2: "serve",
            }
        ],
    }
    return pack(model, b"TFL3")


def mnn():
    """Return a .mnn: a 3x3 convolution 2 -> 4 channels of "image" [1,2,8,8], then a ReLU."""
    common = {
        2: Num("int32", 3),
        3: Num("int32", 3),
        10: Num("int32", 4),
        11: Num("int32", 2),
    }
    entry = {0: _ints(1, 2, 8, 8), 1: Num("int32", 1)}
    weights = {0: common, 1: Nums("float32", (0.5,) * 72), 2: Nums("float32", (0.0,) * 4)}
    ops = [
        {1: Num("uint8", 21), 2: entry, 3: "image", 4: _ints(0), 5: Num("int32", 34)},
        {0: _ints(0), 1: Num("uint8", 9), 2: weights, 3: "c", 4: _ints(1), 5: Num("int32", 12)},
        {0: _ints(1), 3: "r", 4: _ints(2), 5: Num("int32", 69)},
    ]
    return pack(
        {
            2: {2: "3.6.1"},
            3: ops,
            4: ["answer"],
            6: Num("int8", 3),
            7: ["image", "inner", "answer"],
        }
    )


def ort():
    """Return an .ort: a Gemm of "x" [N,4] with a weight [4,3]."""

    def value(name, *dims):
        sizes = [
            {0: {0: Num("int8", 2), 2: size} if isinstance(size, str) else _fixed(size)}
            for size in dims
        ]
        about = {0: Num("int32", 1), 1: {0: sizes}}
        return {0: name, 2: {1: Num("uint8", 1), 2: about}}

    weight = {0: "w", 2: Nums("int64", (4, 3)), 3: Num("int32", 1), 4: bytes(48)}
    graph = {
        0: [weight],
        1: [value("x", "N", 4), value("y", "N", 3)],
        2: [{0: "gemm", 2: "", 5: "Gemm"}, {0: "fast", 2: "com.microsoft", 5: "FusedGemm"}],
        5: ["x", "w"],
        6: ["y"],
    }
    opset = {0: "", 1: Num("int64", 17)}
    model = {0: Num("int64", 8), 1: [opset], 2: "test", 7: graph}
    return pack({0: "6", 1: model}, b"ORTM")


def _fixed(size):
    return {0: Num("int8", 1), 1: Num("int64", size)}


PARAM = """7767517
4 4
Input            image   0 1 image 0=8 1=8 2=2
Convolution      conv    1 1 image inner 0=4 1=3 5=1 6=72
PReLU            prelu   1 1 inner warm 0=4
Softmax          soft    1 1 warm answer 0=0 1=1
"""


def ncnn_weights(tag=0, size=4):
    """Return the .bin that goes with PARAM: 72 weights of ``size`` bytes each, bias, slopes."""
    return struct.pack("<I", tag) + bytes((72 * size + 3) // 4 * 4) + bytes(16) + bytes(16)


XML = """<?xml version="1.0"?>
<net name="small" version="11">
<layers>
<layer id="0" name="image" type="Parameter" version="opset1">
<data shape="?,2,8,8" element_type="f32"/>
<output><port id="0" precision="FP32" names="image"><dim>-1</dim><dim>2</dim><dim>8</dim><dim>8</dim></port></output>
</layer>
<layer id="1" name="weight" type="Const" version="opset1">
<data element_type="f16" shape="4, 2, 3, 3" offset="0" size="144"/>
<output><port id="0" precision="FP16"><dim>4</dim><dim>2</dim><dim>3</dim><dim>3</dim></port></output>
</layer>
<layer id="2" name="conv" type="Convolution" version="opset1">
<data strides="1, 1" pads_begin="0, 0" pads_end="0, 0" dilations="1, 1"/>
<input>
<port id="0" precision="FP32"><dim>-1</dim><dim>2</dim><dim>8</dim><dim>8</dim></port>
<port id="1" precision="FP32"><dim>4</dim><dim>2</dim><dim>3</dim><dim>3</dim></port>
</input>
<output><port id="2" precision="FP32" names="answer"><dim>-1</dim><dim>4</dim><dim>6</dim><dim>6</dim></port></output>
</layer>
<layer id="3" name="out" type="Result" version="opset1">
<input><port id="0" precision="FP32"><dim>-1</dim><dim>4</dim><dim>6</dim><dim>6</dim></port></input>
</layer>
</layers>
<edges>
<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
</edges>
<rt_info><Runtime_version value="2026.4.1"/></rt_info>
</net>
"""


def write_all(folder):
    """Write one file of each format and return their paths by format."""
    files = {
        "tflite": ("m.tflite", tflite(scales=(0.1, 0.2, 0.3))),
        "mnn": ("m.mnn", mnn()),
        "ort": ("m.ort", ort()),
        "ncnn": ("n.param", PARAM.encode()),
        "openvino": ("o.xml", XML.encode()),
    }
    for name, content in files.values():
        (folder / name).write_bytes(content)
    (folder / "n.bin").write_bytes(ncnn_weights())
    (folder / "o.bin").write_bytes(bytes(144))
    return {kind: folder / name for kind, (name, _) in files.items()}
