"""Rewrites of the LiteRT graph that keep its meaning, in the order in which they help each other.

``gelu`` finds an activation in its parts, ``transposes`` sinks transposes to where they cancel,
``fuse`` joins factors, biases and activations to what computes them, ``pads`` pads with zeros where
that is as good, ``int8`` lets operators work on integers, ``tidy`` removes what is left without use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Graph


def run_passes(graph: Graph) -> None:
    """Rewrite ``graph`` in place."""
    from edgeops.convert.litert.passes.fuse import fuse
    from edgeops.convert.litert.passes.gelu import fuse_gelu
    from edgeops.convert.litert.passes.int8 import to_int8
    from edgeops.convert.litert.passes.pads import zero_pads
    from edgeops.convert.litert.passes.tidy import tidy
    from edgeops.convert.litert.passes.transposes import cancel_transposes

    fuse_gelu(graph)
    tidy(graph)
    cancel_transposes(graph)
    tidy(graph)
    fuse(graph)
    zero_pads(graph)
    to_int8(graph)
    tidy(graph)
