"""Find GELU where a model spells it out by the error function: one kernel instead of thirty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Graph, Op, Tensor

_NEAR = 1e-6


def fuse_gelu(graph: Graph) -> None:
    """Replace ``x * (1 + erf(x / sqrt(2))) * 0.5``, multiplied in any order."""
    if not graph.errors:
        return
    producers, readers = graph.producers(), graph.readers()
    for error, scaled in graph.errors.items():
        x = _unscaled(producers.get(id(scaled)))
        shifted = _only(readers.get(id(error), []), "ADD", 1.0)
        if x is None or shifted is None:
            continue
        product = _product(x, shifted.outputs[0], producers, readers)
        if product is not None and product.outputs[0].dims == x.dims:
            product.code, product.inputs = "GELU", [x]
            product.options = {"approximate": False}


def _unscaled(op: Op | None) -> Tensor | None:
    """Return x of ``x / sqrt(2)``."""
    if op is None or op.code not in {"MUL", "DIV"}:
        return None
    factor = math.sqrt(0.5) if op.code == "MUL" else math.sqrt(2)
    return _beside(op, factor, first=op.code == "MUL")


def _beside(op: Op, number: float, *, first: bool = True) -> Tensor | None:
    """Return the operand beside a constant number; ``first``: the constant may come first."""
    left, right = op.inputs
    for constant, other in ((right, left), (left, right))[: 2 if first else 1]:
        if constant is not None and constant.data is not None and constant.data.size == 1:
            return other if abs(float(constant.data.reshape(())) - number) < _NEAR else None
    return None


def _only(readers: list[Op], code: str, number: float) -> Op | None:
    """Return the operator that joins a constant number to what is read, when there is just one."""
    found = [op for op in readers if op.code == code and _beside(op, number) is not None]
    return found[0] if len(found) == 1 else None


def _product(
    x: Tensor, shifted: Tensor, producers: dict[int, Op], readers: dict[int, list[Op]]
) -> Op | None:
    """Return the operator that makes ``x * shifted * 0.5``."""
    for op in readers.get(id(shifted), []):
        if op.code != "MUL":
            continue
        other = next((t for t in op.inputs if t is not shifted), None)
        if other is x:
            return _only(readers.get(id(op.outputs[0]), []), "MUL", 0.5)
        if _beside(op, 0.5) is shifted:
            after = [
                reader
                for reader in readers.get(id(op.outputs[0]), [])
                if reader.code == "MUL" and x in reader.inputs
            ]
            return after[0] if len(after) == 1 else None
        half = producers.get(id(other)) if other is not None else None
        if half is not None and half.code == "MUL" and _beside(half, 0.5) is x:
            return op
    return None
