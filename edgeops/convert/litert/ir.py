"""The LiteRT graph in memory: tensors, operators, and what can be asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Dims = tuple[int | str, ...]


@dataclass(frozen=True)
class Quant:
    """How integers stand for numbers: ``real = scale * (integer - zero)``.

    ``scale`` (float32) and ``zero`` (int64) have one entry, or one for each index of ``axis``.
    """

    scale: Any
    zero: Any
    axis: int = 0


@dataclass(eq=False, slots=True)
class Tensor:
    """A value: ``data`` holds the array of a constant.

    ``dims`` are sizes, or names for axes that are decided when the model runs; two axes of one
    name have one size. ``dtype`` is numpy's name.
    """

    name: str
    dims: Dims
    dtype: str
    data: Any = None
    quant: Quant | None = None

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes that stand in the file: 1 for open axes."""
        return tuple(size if isinstance(size, int) else 1 for size in self.dims)

    @property
    def is_static(self) -> bool:
        """Whether all sizes are known."""
        return all(isinstance(size, int) for size in self.dims)

    @property
    def is_constant(self) -> bool:
        """Whether the value is known."""
        return self.data is not None


@dataclass(eq=False, slots=True)
class Op:
    """An operator: ``code`` is its name in the schema's BuiltinOperator.

    ``options`` are fields of its options table, in the schema's own spelling. ``node`` is the ONNX
    node that it came from.
    """

    code: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    node: str = ""


@dataclass(eq=False, slots=True)
class Graph:
    """Operators in an order in which they can run.

    ``grids`` tells, by ONNX node, on which integers its constant inputs lie: a quantized model's
    weights arrive as floats, and become those integers again where the whole operator can.
    ``errors`` tells which tensors are the error function of which: LiteRT has it in GELU only.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    ops: list[Op]
    grids: dict[str, list[Quant]] = field(default_factory=dict)
    errors: dict[Tensor, Tensor] = field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        """Return every tensor once: inputs first, then in the order of use."""
        found: dict[int, Tensor] = {}
        for tensor in self.inputs:
            found.setdefault(id(tensor), tensor)
        for op in self.ops:
            for one in (*op.inputs, *op.outputs):
                if one is not None:
                    found.setdefault(id(one), one)
        for tensor in self.outputs:
            found.setdefault(id(tensor), tensor)
        return list(found.values())

    def producers(self) -> dict[int, Op]:
        """Return the operator that makes each tensor, by ``id(tensor)``."""
        return {id(tensor): op for op in self.ops for tensor in op.outputs}

    def readers(self) -> dict[int, list[Op]]:
        """Return the operators that read each tensor, by ``id(tensor)``; one entry a use."""
        found: dict[int, list[Op]] = {}
        for op in self.ops:
            for tensor in op.inputs:
                if tensor is not None:
                    found.setdefault(id(tensor), []).append(op)
        return found

    def unite(self, out: Tensor, source: Tensor) -> bool:
        """Let ``source`` stand for its copy ``out`` everywhere; return whether it may.

        An output of the model needs a tensor of its own, which an operator makes.
        """
        if any(tensor is out for tensor in self.outputs):
            ends = (*self.inputs, *self.outputs)
            if source.is_constant or any(tensor is source for tensor in ends):
                return False
            self.outputs = [source if tensor is out else tensor for tensor in self.outputs]
            source.name = out.name
        self.replace(out, source)
        return True

    def replace(self, old: Tensor, new: Tensor, ops: Iterable[Op] | None = None) -> None:
        """Let ``ops`` (all, when not given) read ``new`` where they read ``old``."""
        for op in self.ops if ops is None else ops:
            op.inputs = [new if tensor is old else tensor for tensor in op.inputs]
