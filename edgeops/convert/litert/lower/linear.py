"""Gemm, MatMul and what else is a matrix product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.lower import lowers

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node


@lowers("Gemm")
def gemm(b: Builder, node: Node) -> None:
    """``alpha * A' @ B' + beta * C`` as FULLY_CONNECTED, whose weights are [out, in]."""
    import numpy as np

    a, weights = b.value(node.inputs[0]), b.value(node.inputs[1])
    if node.attr("transA", 0):
        a = b.transpose(a, (1, 0))
    if not node.attr("transB", 0):
        weights = b.transpose(weights, (1, 0))
    dims = b.out_dims(node)
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    if alpha != 1.0:
        weights = (
            b.const(weights.data * np.float32(alpha), weights.name)
            if weights.is_constant
            else b.emit("MUL", [weights, b.const(np.float32(alpha))], weights.dims)
        )
    bias = b.value(node.inputs[2]) if node.has(2) else None
    units = dims[1]
    fused = None
    if (
        bias is not None
        and bias.is_constant
        and isinstance(units, int)
        and bias.data.size in (1, units)
    ):
        flat = np.broadcast_to(bias.data.reshape(-1) * np.float32(beta), (units,))
        fused = b.const(flat.astype("float32"), bias.name)
    out = b.emit("FULLY_CONNECTED", [a, weights, fused], dims)
    if bias is not None and fused is None:
        if beta != 1.0:
            bias = b.emit("MUL", [bias, b.const(np.float32(beta))], bias.dims)
        out = b.emit("ADD", [out, bias], dims)
    b.bind(node.outputs[0], out)
