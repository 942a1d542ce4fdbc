"""Rewrites of the LiteRT graph that keep its meaning; each is a function ``(Graph) -> bool``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Graph


def run_passes(graph: Graph) -> None:
    """Rewrite ``graph`` in place until nothing changes."""
    del graph
