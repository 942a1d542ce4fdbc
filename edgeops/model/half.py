"""float32 to float16: the one place that calls ONNX Runtime's converter."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from edgeops.model.external import tensors
from edgeops.model.graph import sort_nodes

if TYPE_CHECKING:
    from collections.abc import Collection


def to_half(model: Any, keep: Collection[str] = ()) -> Any:
    """Return a copy of an onnx.ModelProto in float16 inside, its inputs and outputs as they were.

    The nodes named in ``keep`` stay in float32. Raises whatever onnxruntime.transformers.float16
    raises, which differs by model: RuntimeError, ValueError, KeyError, AttributeError, TypeError.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        # It warns of every weight below float16's smallest number; parity and metric judge that.
        warnings.simplefilter("ignore")
        result = convert_float_to_float16(
            copy, keep_io_types=True, node_block_list=sorted(keep) or None
        )
    # It appends its casts to the end; ONNX wants makers before readers.
    sort_nodes(result)
    _write_raw(result)
    return result


def _write_raw(model: Any) -> None:
    """Store halves as the two bytes that they are: it stores each as a number of up to three."""
    import numpy as np

    for tensor in tensors(model):
        if tensor.data_type == tensor.FLOAT16 and tensor.int32_data:
            data = np.array(tensor.int32_data, "<u2").tobytes()
            tensor.ClearField("int32_data")
            tensor.raw_data = data
