"""Pack a LiteRT graph into a flatbuffer.

Format: tflite/converter/schema/schema.fbs, through the classes that ``ai_edge_litert`` ships.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from edgeops.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.convert.litert.ir import Graph, Op, Quant, Tensor

SIGNATURE = "serving_default"
_IDENTIFIER = b"TFL3"
_VERSION = 3
_ROOM = 32
_MOST_BYTES = 2**31 - 1
_PART_BYTES = 1024  # what a tensor, an operator or a buffer takes beside its constants, generously
_ESCAPE = 127  # operators beyond this are in the wide field only (PLACEHOLDER_FOR_GREATER_OP_CODES)

DTYPES = {
    "float32": "FLOAT32",
    "float16": "FLOAT16",
    "float64": "FLOAT64",
    "int8": "INT8",
    "uint8": "UINT8",
    "int16": "INT16",
    "uint16": "UINT16",
    "int32": "INT32",
    "uint32": "UINT32",
    "int64": "INT64",
    "uint64": "UINT64",
    "bool": "BOOL",
}
# The options table of operators whose table is not called after them.
_TABLES = {
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "CONV_3D": "Conv3DOptions",
    "CONV_3D_TRANSPOSE": "Conv3DOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "SPACE_TO_BATCH_ND": "SpaceToBatchNDOptions",
    "BATCH_TO_SPACE_ND": "BatchToSpaceNDOptions",
    "MEAN": "ReducerOptions",
    "SUM": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "REDUCE_ANY": "ReducerOptions",
    "REDUCE_ALL": "ReducerOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "PADV2": "PadV2Options",
    "TOPK_V2": "TopKV2Options",
    "SELECT_V2": "SelectV2Options",
    "REVERSE_V2": "ReverseV2Options",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "NON_MAX_SUPPRESSION_V4": "NonMaxSuppressionV4Options",
    "NON_MAX_SUPPRESSION_V5": "NonMaxSuppressionV5Options",
    "ATAN2": "ATan2Options",
}
# Operators that take no options.
_PLAIN = frozenset(
    [
        "BROADCAST_ARGS", "CEIL", "ELU", "FLOOR", "LOG", "LOGISTIC", "PRELU", "RELU", "RELU6",
        "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN", "SQRT", "TANH",
    ]
)  # fmt: skip


def pack(graph: Graph, description: str = "edgeops") -> memoryview:
    """Return the bytes of a .tflite file with one subgraph and one signature.

    Inputs and outputs have their names in the signature ``serving_default`` too, which is what
    callers and quantizers go by. The graph is used up: each constant is given up when it was
    written, so that a large model is in memory once more and not four times. Raises RefusedError
    ``litert-too-large`` for more than the 2 GiB that a flatbuffer holds.
    """
    import ai_edge_litert.schema_py_generated as schema
    import flatbuffers

    model = schema.ModelT()
    model.version = _VERSION
    model.description = description
    file = _File(schema, _placeholders(graph))
    subgraph = schema.SubGraphT()
    tensors = graph.tensors()
    index = {id(tensor): position for position, tensor in enumerate(tensors)}
    subgraph.name = "main"
    subgraph.tensors = [file.tensor(tensor) for tensor in tensors]
    subgraph.inputs = [index[id(tensor)] for tensor in graph.inputs]
    subgraph.outputs = [index[id(tensor)] for tensor in graph.outputs]
    subgraph.operators = [file.operator(op, index) for op in graph.ops]
    model.subgraphs = [subgraph]
    model.operatorCodes = file.codes
    model.buffers = file.buffers
    model.signatureDefs = [_signature(schema, graph, index)]
    for tensor in tensors:
        tensor.data = None  # the buffers have them now
    builder = flatbuffers.Builder(_room(file.buffers, len(tensors) + len(graph.ops)))
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return memoryview(builder.Bytes)[builder.Head() :]


def _room(buffers: Sequence[Any], parts: int) -> int:
    """Return the bytes to set aside: a builder that has to grow holds everything twice."""
    constants = sum(len(buffer.data) for buffer in buffers if buffer.data is not None)
    room = constants + _PART_BYTES * (parts + len(buffers)) + _PART_BYTES
    if room < _MOST_BYTES:
        return room
    raise RefusedError(
        "litert-too-large",
        f"the constants of the model take {constants / 1e9:.1f} GB, too much for one .tflite file",
        where=".tflite",
        why="a flatbuffer ends at 2 GiB",
        fix="convert with --precision fp16, which halves the weights, or for another engine",
    )


class _File:
    """The parts of a file that operators and tensors share: buffers and operator codes."""

    def __init__(self, schema: Any, sizes: Mapping[str, int]) -> None:
        self._schema = schema
        self._sizes = sizes
        self.buffers = [schema.BufferT()]  # the first is empty, for tensors that are computed
        self.codes: list[Any] = []
        self._known_codes: dict[tuple[str, int], int] = {}
        self._known_buffers: dict[bytes, int] = {}  # by digest

    def tensor(self, tensor: Tensor) -> Any:
        found = self._schema.TensorT()
        found.name = tensor.name
        found.shape = [s if isinstance(s, int) else self._sizes.get(s, 1) for s in tensor.dims]
        found.hasRank = True
        if not tensor.is_static:
            found.shapeSignature = [s if isinstance(s, int) else -1 for s in tensor.dims]
        found.type = getattr(self._schema.TensorType, DTYPES[tensor.dtype])
        found.buffer = self._buffer(tensor.data) if tensor.is_constant else 0
        if tensor.quant is not None:
            found.quantization = self._quantization(tensor.quant)
        return found

    def operator(self, op: Op, index: Mapping[int, int]) -> Any:
        found = self._schema.OperatorT()
        found.opcodeIndex = self._code(op)
        found.inputs = [-1 if tensor is None else index[id(tensor)] for tensor in op.inputs]
        found.outputs = [index[id(tensor)] for tensor in op.outputs]
        table = options_table(op.code)
        if table:
            options = getattr(self._schema, f"{table}T")()
            for name, value in op.options.items():
                assert hasattr(options, name), (op.code, name)  # noqa: S101 - a slip of ours
                setattr(options, name, value)
            found.builtinOptions = options
            found.builtinOptionsType = getattr(self._schema.BuiltinOptions, table)
        return found

    def _code(self, op: Op) -> int:
        from edgeops.convert.litert.versions import version_of

        key = (op.code, version_of(op))
        if key not in self._known_codes:
            code = self._schema.OperatorCodeT()
            code.builtinCode = getattr(self._schema.BuiltinOperator, op.code)
            code.deprecatedBuiltinCode = min(code.builtinCode, _ESCAPE)
            code.version = key[1]
            self._known_codes[key] = len(self.codes)
            self.codes.append(code)
        return self._known_codes[key]

    def _buffer(self, array: Any) -> int:
        import numpy as np

        data = np.ascontiguousarray(array).view(np.uint8).ravel() if array.size else None
        if array.ndim == 0:
            data = np.frombuffer(array.tobytes(), np.uint8)
        if data is None:
            return self._add(np.zeros(0, np.uint8))
        key = hashlib.sha256(data.data).digest()
        if key not in self._known_buffers:
            self._known_buffers[key] = self._add(data)
        return self._known_buffers[key]

    def _add(self, data: Any) -> int:
        buffer = _aligned(self._schema)()
        buffer.data = data
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _quantization(self, quant: Quant) -> Any:
        found = self._schema.QuantizationParametersT()
        found.scale = [float(scale) for scale in quant.scale.ravel()]
        found.zeroPoint = [int(zero) for zero in quant.zero.ravel()]
        found.quantizedDimension = quant.axis
        return found


def options_table(code: str) -> str:
    """Return the name of an operator's options table in the schema, "" when it takes none."""
    if code in _PLAIN:
        return ""
    if code in _TABLES:
        return _TABLES[code]
    return "".join(part.capitalize() for part in code.split("_")) + "Options"


def _placeholders(graph: Graph) -> dict[str, int]:
    """Return the sizes that stand in the file for open axes, by name.

    A reader may plan memory before it resizes the inputs, so kernels must have room in them; a
    batch is the first axis, and 1.
    """
    firsts = {tensor.dims[0] for tensor in graph.inputs if tensor.dims}
    names = {s for tensor in graph.inputs for s in tensor.dims if isinstance(s, str)}
    return {name: 1 if name in firsts else _ROOM for name in names}


def _signature(schema: Any, graph: Graph, index: Mapping[int, int]) -> Any:
    def mapped(tensors: list[Tensor]) -> list[Any]:
        entries = []
        for tensor in tensors:
            entry = schema.TensorMapT()
            entry.name = tensor.name
            entry.tensorIndex = index[id(tensor)]
            entries.append(entry)
        return entries

    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE
    signature.inputs = mapped(graph.inputs)
    signature.outputs = mapped(graph.outputs)
    return signature


def _aligned(schema: Any) -> Any:
    """Return BufferT packing its bytes at multiples of 16, as ``force_align`` of the schema asks."""

    class Aligned(schema.BufferT):  # type: ignore[misc] # the schema's classes have no types
        data: Any

        def Pack(self, builder: Any) -> Any:  # noqa: N802 - flatbuffers' name
            data = None
            if self.data is not None:
                builder.StartVector(1, len(self.data), 16)
                builder.head = builder.Head() - len(self.data)
                head = builder.Head()
                builder.Bytes[head : head + len(self.data)] = self.data.data
                data = builder.EndVector()
                self.data = None
            schema.BufferStart(builder)
            if data is not None:
                schema.BufferAddData(builder, data)
            return schema.BufferEnd(builder)

    return Aligned
