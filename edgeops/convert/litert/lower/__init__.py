"""From ONNX operators to LiteRT ones: one file a family, one function an operator.

A function ``(b: Builder, node: Node) -> None`` marked ``@lowers("Conv")`` reads its inputs with
``b.value(name)``, emits operators and gives its results with ``b.bind(name, tensor)``. It keeps
ONNX's layout and meaning exactly, refuses with ``b.refuse`` what it cannot say, and never looks at
other nodes: what belongs together is joined by the passes.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.convert.litert.builder import Builder, Node

    Lower = Callable[[Builder, Node], None]

FAMILIES: tuple[str, ...] = (
    "convolution",
    "deconvolution",
    "pooling",
    "linear",
    "elementwise",
    "transcendental",
    "activation",
    "softmax",
    "normalization",
    "reduction",
    "shape",
    "pieces",
    "padding",
    "generate",
    "gather",
    "scatter",
    "resize",
    "compare",
    "cast",
    "sequence",
    "quantize",
    "detect",
)
_LOWERINGS: dict[tuple[str, str], Lower] = {}


def lowers(*operators: str, domain: str = "") -> Callable[[Lower], Lower]:
    """Mark a function as the one that lowers these operators."""

    def mark(function: Lower) -> Lower:
        for operator in operators:
            assert (domain, operator) not in _LOWERINGS, operator  # noqa: S101 - a slip of ours
            _LOWERINGS[domain, operator] = function
        return function

    return mark


@cache
def lowerings() -> dict[tuple[str, str], Lower]:
    """Return the function of every operator, by domain and name."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
    return _LOWERINGS
