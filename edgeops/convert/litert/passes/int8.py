"""Let operators between a dequantization and a quantization work on the integers.

A quantized ONNX graph holds every operator in floats, between DequantizeLinear and QuantizeLinear.
Where LiteRT has the operator in int8 and all its operands lie on integers, those nodes fall away.
The rules of each kernel (which scales must be equal, which are fixed) are LiteRT's own:
ai.google.dev/edge/litert/models/quantization_spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.ir import Op, Quant, Tensor

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Graph

_INT8 = "int8"
_SHIFT = 128  # uint8 and int8 differ by it alone
_LIMIT = 127
_BIAS_LIMIT = 2**31 - 1
_NEAR = 1e-3  # how far from an integer a weight may lie for the rounding of float32

# The axis of output channels in the weights, and where weights and bias stand, by operator.
_WEIGHTED = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (3, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (0, 1, 3),
}
_ACTIVATION = {"TRANSPOSE_CONV": 2}
# Operators that move or choose values: the integers of the output are those of the input.
_MOVING = frozenset(
    {
        "AVERAGE_POOL_2D", "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER",
        "GATHER_ND", "MAX_POOL_2D", "MAXIMUM", "MINIMUM", "MIRROR_PAD", "PACK", "PAD", "RESHAPE",
        "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SLICE", "SPACE_TO_DEPTH",
        "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE",
    }
)  # fmt: skip
# Operators whose kernels take any scales.
_FREE = frozenset({"ADD", "SUB", "MUL", "MEAN", "LEAKY_RELU", "HARD_SWISH", "RELU", "RELU6"})
# Operators whose output has a scale of its own.
_FIXED = {"LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0)}


def to_int8(graph: Graph) -> bool:
    """Let operators work on integers where they can; returns whether anything changed."""
    if not any(op.code == "QUANTIZE" for op in graph.ops):
        return False
    _as_int8(graph)
    changed = False
    for op in list(graph.ops):
        changed |= _Candidate(graph, op).convert()
    return changed


def _as_int8(graph: Graph) -> None:
    """Turn uint8 between QUANTIZE and DEQUANTIZE into int8, which is what the kernels take."""
    ends = {id(tensor) for tensor in (*graph.inputs, *graph.outputs)}
    readers = graph.readers()
    for op in list(graph.ops):
        if op.code == "QUANTIZE" and op.outputs[0].dtype == "uint8":
            out = op.outputs[0]
            inner = all(reader.code == "DEQUANTIZE" for reader in readers.get(id(out), []))
            if id(out) not in ends and inner:
                out.dtype, out.quant = _INT8, _shifted(out.quant)
        elif op.code == "DEQUANTIZE" and op.inputs[0] is not None and op.inputs[0].dtype == "uint8":
            source = op.inputs[0]
            if id(source) not in ends:
                continue
            shifted = Tensor(
                f"{source.name}_int8", source.dims, _INT8, None, _shifted(source.quant)
            )
            graph.ops.insert(graph.ops.index(op), Op("QUANTIZE", [source], [shifted], {}, op.node))
            op.inputs = [shifted]


def _shifted(quant: Quant | None) -> Quant | None:
    return None if quant is None else Quant(quant.scale, quant.zero - _SHIFT, quant.axis)


@dataclass
class _Candidate:
    """An operator in floats that may work on integers."""

    graph: Graph
    op: Op

    def convert(self) -> bool:
        """Replace the operator by its int8 form; returns whether it could be."""
        op = self.op
        if op.code in _WEIGHTED:
            return self._weighted()
        if op.code in _MOVING:
            return self._moving()
        if op.code in _FREE or op.code in _FIXED:
            return self._free()
        return False

    def _free(self) -> bool:
        wanted = self._wanted()
        floats = self._floats()
        operands = [self._operand(tensor) for tensor in floats]
        known = [operand for operand in operands if operand is not None]
        if wanted is None or len(known) < len(floats):
            return False
        fixed = _FIXED.get(self.op.code)
        self._take({id(t): o for t, o in zip(floats, known, strict=True)})
        self._give(wanted, _single(*fixed) if fixed else wanted[0])
        return True

    def _moving(self) -> bool:
        """Move integers; where operands have several scales, the output's is taken for all."""
        floats = self._floats()
        operands = [self._operand(tensor) for tensor in floats]
        known = [operand for operand in operands if operand is not None]
        if len(known) < len(operands) or not known or len(self.op.outputs) > 1:
            return False
        wanted = self._wanted()
        quant = known[0].quant
        assert quant is not None  # noqa: S101 - operands lie on integers
        if any(not same(operand.quant, quant) for operand in known):
            if wanted is None:
                return False
            quant = wanted[0]
            known = [self._requantized(operand, quant) for operand in known]
        self._take({id(t): o for t, o in zip(floats, known, strict=True)})
        if wanted is None:
            self._sink(quant)
        else:
            self._give(wanted, quant)
        return True

    def _weighted(self) -> bool:
        op = self.op
        axis, at, bias_at = _WEIGHTED[op.code]
        x = op.inputs[_ACTIVATION.get(op.code, 0)]
        weights = op.inputs[at]
        bias = op.inputs[bias_at] if bias_at < len(op.inputs) else None
        wanted = self._wanted()
        operand = self._operand(x) if x is not None else None
        if wanted is None or operand is None or weights is None or not weights.is_constant:
            return False
        if bias is not None and not bias.is_constant:
            return False
        integers = self._weights(weights, axis)
        if integers is None or operand.quant is None or integers.quant is None:
            return False
        scale = (operand.quant.scale * integers.quant.scale).astype("float32")
        added = _bias(bias, scale, weights.shape[axis])
        if added is None:
            return False
        op.inputs = [operand if tensor is x else tensor for tensor in op.inputs]
        op.inputs[at] = integers
        if bias_at < len(op.inputs):
            op.inputs[bias_at] = added
        else:
            op.inputs.append(added)
        self._give(wanted, wanted[0])
        return True

    def _floats(self) -> list[Tensor]:
        return [t for t in self.op.inputs if t is not None and t.dtype == "float32"]

    def _operand(self, tensor: Tensor) -> Tensor | None:
        """Return the int8 tensor that ``tensor`` is the numbers of, if there is one."""
        if tensor.is_constant:
            return self._constant(tensor)
        producer = self.graph.producers().get(id(tensor))
        if producer is None or producer.code != "DEQUANTIZE":
            return None
        source = producer.inputs[0]
        if source is None or source.dtype != _INT8 or source.quant is None:
            return None
        return source if source.quant.scale.size == 1 else None

    def _constant(self, tensor: Tensor) -> Tensor | None:
        for quant in self.graph.grids.get(self.op.node, ()):
            if quant.scale.size > 1:
                continue
            integers = _on_grid(tensor.data, quant.scale)
            if integers is not None:
                # The zero point only says which integer stands for a number: 0 serves as well.
                return Tensor(
                    f"{tensor.name}_int8", tensor.dims, _INT8, integers, _single(quant.scale[0], 0)
                )
        return None

    def _weights(self, weights: Tensor, axis: int) -> Tensor | None:
        """Return the weights as the integers of the quantized model, zero at 0."""
        count = weights.shape[axis]
        for quant in self.graph.grids.get(self.op.node, ()):
            if quant.scale.size not in (1, count):
                continue
            shape = [1] * weights.rank
            if quant.scale.size > 1:
                shape[axis] = count
            integers = _on_grid(weights.data, quant.scale.reshape(shape))
            if integers is not None:
                zero = quant.zero * 0
                found = Quant(quant.scale, zero, axis if quant.scale.size > 1 else 0)
                return Tensor(f"{weights.name}_int8", weights.dims, _INT8, integers, found)
        return None

    def _wanted(self) -> tuple[Quant, list[Op]] | None:
        """Return the scale that all readers of the output quantize to, and those readers."""
        out = self.op.outputs[0]
        if out in self.graph.outputs or out.dtype != "float32":
            return None
        readers = self.graph.readers().get(id(out), [])
        quants = [r.outputs[0].quant for r in readers if r.code == "QUANTIZE"]
        ints = all(r.outputs[0].dtype == _INT8 for r in readers)
        if not readers or len(quants) < len(readers) or not ints or quants[0] is None:
            return None
        first = quants[0]
        return (first, readers) if all(same(quant, first) for quant in quants) else None

    def _take(self, operands: dict[int, Tensor]) -> None:
        self.op.inputs = [
            tensor if tensor is None else operands.get(id(tensor), tensor)
            for tensor in self.op.inputs
        ]

    def _give(self, wanted: tuple[Quant, list[Op]], quant: Quant) -> None:
        """Let the operator write integers of ``quant``; they are changed where others are wanted."""
        out = self.op.outputs[0]
        out.dtype, out.quant = _INT8, quant
        if not same(quant, wanted[0]):
            return
        for reader in wanted[1]:
            given = reader.outputs[0]
            if given in self.graph.outputs:
                continue  # an output of the model keeps its own tensor
            self.graph.replace(given, out)
            self.graph.ops.remove(reader)

    def _sink(self, quant: Quant) -> None:
        """Let the operator write integers, and dequantize behind it."""
        out = self.op.outputs[0]
        inner = Tensor(f"{out.name}_int8", out.dims, _INT8, None, quant)
        self.op.outputs = [inner]
        after = self.graph.ops.index(self.op) + 1
        self.graph.ops.insert(after, Op("DEQUANTIZE", [inner], [out], {}, self.op.node))

    def _requantized(self, operand: Tensor, quant: Quant) -> Tensor:
        if same(operand.quant, quant):
            return operand
        out = Tensor(f"{operand.name}_same", operand.dims, _INT8, None, quant)
        at = self.graph.ops.index(self.op)
        self.graph.ops.insert(at, Op("QUANTIZE", [operand], [out], {}, self.op.node))
        return out


def same(one: Quant | None, other: Quant | None) -> bool:
    """Return whether two tensors of one scale each lie on the same integers."""
    if one is None or other is None:
        return False
    return bool(
        one.scale.shape == other.scale.shape
        and (one.scale == other.scale).all()
        and (one.zero == other.zero).all()
    )


def _single(scale: float, zero: int) -> Quant:
    import numpy as np

    return Quant(np.array([scale], "float32"), np.array([zero], "int64"))


def _on_grid(data: Any, scale: Any) -> Any:
    """Return ``data / scale`` as int8 when all of it is whole numbers in range, else None."""
    import numpy as np

    if (scale == 0).any():
        return None
    scaled = data / scale
    whole = np.rint(scaled)
    fits = (
        np.abs(scaled - whole).max(initial=0.0) <= _NEAR
        and np.abs(whole).max(initial=0.0) <= _LIMIT + 1
    )
    if not fits or whole.max(initial=0.0) > _LIMIT:
        return None
    return whole.astype(_INT8)


def _bias(bias: Tensor | None, scale: Any, count: int) -> Tensor | None:
    """Return the bias as int32 of input scale times weight scale; None when it does not fit."""
    import numpy as np

    data = np.zeros(count, "float32") if bias is None else bias.data
    whole = np.rint(data.astype("float64") / scale)
    if not (np.abs(whole) <= _BIAS_LIMIT).all():
        return None
    name = "bias" if bias is None else bias.name
    quant = Quant(scale, np.zeros(scale.shape, "int64"))
    return Tensor(f"{name}_int32", (count,), "int32", whole.astype("int32"), quant)
