"""The three ways to make a model smaller: static int8 (QDQ), dynamic int8, float16.

Each takes a model from ``graph.prepare`` and answers a new one; none touches a file. The input is
never changed.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgeops.errors import RefusedError
from edgeops.model.graph import sort_nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from edgeops.quantize.calibrate import Ranges

Scheme = Literal["static", "dynamic", "fp16"]
SCHEMES: tuple[Scheme, ...] = ("static", "dynamic", "fp16")
# Where nearly all of a network's arithmetic is, with what ONNX Runtime fuses into it for nothing.
COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "Clip")
# ONNX Runtime's dynamic kernels; LSTM needs the pre-fused form and Gather is a table of weights.
DYNAMIC = ("Conv", "Gemm", "MatMul", "Attention", "LSTM", "Gather")
DYNAMIC_COMPUTE = ("Gemm", "MatMul")
HALF_MAX = 65504.0
_METADATA = ("onnx.infer", "onnx.quant.pre_process")


@dataclass(frozen=True)
class Quantized:
    """A quantized onnx.ModelProto, and which nodes became what, by the names they had before."""

    model: Any
    changed: tuple[str, ...]
    kept_float: tuple[str, ...]


def static_operators() -> tuple[str, ...]:
    """Return the operator types that ONNX Runtime's static quantizer takes by default, sorted."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return tuple(sorted({*QDQRegistry, *QLinearOpsRegistry}))


def static_int8(
    model: Any,
    ranges: Ranges,
    *,
    operators: Sequence[str],
    exclude: Collection[str] = (),
    per_channel: bool = True,
) -> Quantized:
    """Return the model with unsigned 8-bit activations and signed, symmetric 8-bit weights.

    Nodes that touch a tensor without bounds stay in float beside those of ``exclude``. Raises
    RefusedError ``quantizer-failed`` and ``nothing-to-quantize``.
    """
    left_out = {*exclude, *_touching(model, ranges.unbounded)}
    # Adjusting weights so that an int32 bias cannot overflow is worth having, and fails on some
    # models (onnxruntime issue 24815): those go without it, and the accuracy check sees the rest.
    with _refusing("static"):
        try:
            result = _qdq(model, ranges, operators, left_out, per_channel=per_channel, adjust=True)
        except ValueError:
            result = _qdq(model, ranges, operators, left_out, per_channel=per_channel, adjust=False)
    made = {name for n in result.graph.node if n.op_type == "DequantizeLinear" for name in n.output}
    reads = {node.name: set(node.input) for node in result.graph.node}
    changed = [
        node.name
        for node in model.graph.node
        if node.op_type in operators
        and node.name not in left_out
        and (node.name not in reads or reads[node.name] & made)
    ]
    return _quantized(model, result, changed, static_operators())


def dynamic_int8(
    model: Any,
    *,
    operators: Sequence[str],
    exclude: Collection[str] = (),
    per_channel: bool = True,
) -> Quantized:
    """Return the model with 8-bit weights whose activations are quantized as they come.

    Raises RefusedError ``quantizer-failed`` and ``nothing-to-quantize``.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    with _refusing("dynamic"):
        quantizer = ONNXQuantizer(
            _inferred(model),
            per_channel,
            False,
            QuantizationMode.IntegerOps,
            False,
            QuantType.QInt8,
            QuantType.QUInt8,
            None,
            [],
            sorted(exclude),
            list(operators),
            {"MatMulConstBOnly": True},
        )
        result = quantizer.quantize_model()
    left = {node.name: node.op_type for node in result.graph.node}
    changed = [
        node.name
        for node in model.graph.node
        if node.op_type in operators and left.get(node.name) != node.op_type
    ]
    return _quantized(model, result, changed, DYNAMIC)


def half(
    model: Any,
    *,
    operators: Sequence[str] | None = None,
    exclude: Collection[str] = (),
    ranges: Ranges | None = None,
) -> Quantized:
    """Return the model in float16 inside, its inputs and outputs as they were.

    ``operators`` limits it to some types of node. Nodes that touch a value beyond float16's greatest (65504) stay in float32 when ``ranges`` are
    known. Raises RefusedError ``quantizer-failed`` and ``nothing-to-quantize``.
    """
    from edgeops.model.half import to_half

    large = [
        name
        for name, (low, high) in (ranges.bounds if ranges else {}).items()
        if max(-low, high) > HALF_MAX
    ]
    left_out = {*exclude, *_touching(model, large)}
    if operators is not None:
        left_out |= {node.name for node in model.graph.node if node.op_type not in operators}
    with _refusing("fp16"):
        result = to_half(model, left_out)
    halves = _half_tensors(result)
    changed = [
        node.name
        for node in result.graph.node
        if node.op_type != "Cast" and {*node.input, *node.output} & halves
    ]
    known = {node.name for node in model.graph.node}
    return _quantized(model, result, [name for name in changed if name in known], None)


def _qdq(
    model: Any,
    ranges: Ranges,
    operators: Sequence[str],
    exclude: Collection[str],
    *,
    per_channel: bool,
    adjust: bool,
) -> Any:
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    bounds = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.bounds.items()
    }
    quantizer = QDQQuantizer(
        _inferred(model),
        per_channel,
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, bounds),
        [],
        sorted(exclude),
        list(operators),
        {"QDQDisableWeightAdjustForInt32Bias": not adjust},
    )
    return quantizer.quantize_model()


def _inferred(model: Any) -> Any:
    """Return a copy that ONNX Runtime's quantizer does not write to disk to infer shapes again."""
    import onnx
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    add_infer_metadata(copy)
    return copy


def _quantized(
    before: Any, result: Any, changed: Sequence[str], operators: Sequence[str] | None
) -> Quantized:
    if not changed:
        raise RefusedError(
            "nothing-to-quantize",
            "no node of the model was quantized",
            why="its operators are " + ", ".join(sorted({n.op_type for n in before.graph.node})),
            fix="keep the model in fp32, or try --precision fp16",
        )
    # ONNX Runtime's tools append new nodes to the end; ONNX wants makers before readers.
    sort_nodes(result)
    kept = [props for props in result.metadata_props if props.key not in _METADATA]
    del result.metadata_props[:]
    result.metadata_props.extend(kept)
    done = set(changed)
    left = [
        node.name
        for node in before.graph.node
        if node.name not in done and (operators is None or node.op_type in operators)
    ]
    return Quantized(result, tuple(changed), tuple(left))


def _half_tensors(model: Any) -> set[str]:
    import onnx

    half_type = onnx.TensorProto.FLOAT16
    named = {t.name for t in model.graph.initializer if t.data_type == half_type}
    named |= {
        info.name for info in model.graph.value_info if info.type.tensor_type.elem_type == half_type
    }
    for node in model.graph.node:
        to = next((a.i for a in node.attribute if a.name == "to"), None)
        if node.op_type == "Cast" and to == half_type:
            named.update(node.output)
    return named


def _touching(model: Any, tensors: Collection[str]) -> list[str]:
    wanted = set(tensors)
    return [n.name for n in model.graph.node if wanted & {*n.input, *n.output}]


@contextmanager
def _refusing(scheme: str) -> Iterator[None]:
    """Turn what ONNX Runtime's quantizers raise into a refusal, and keep their log quiet.

    They warn on the root logger about what ``graph.prepare`` has done already.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    except (ValueError, RuntimeError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise RefusedError(
            "quantizer-failed",
            f"ONNX Runtime's {scheme} quantizer cannot take this model",
            why=f"{type(error).__name__}: {error}",
            fix="keep the node it names in float (--keep-float NODE), or try another --scheme",
        ) from error
    finally:
        logging.disable(before)
