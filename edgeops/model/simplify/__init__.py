"""Making a graph smaller without changing what it computes: one pass a file, run to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.model.simplify.affine import fold_affine
from edgeops.model.simplify.branches import inline_branches
from edgeops.model.simplify.clean import drop_dead, drop_idle
from edgeops.model.simplify.defaults import write_defaults
from edgeops.model.simplify.duplicates import merge_constants, merge_nodes
from edgeops.model.simplify.expands import fix_expands, skip_expands
from edgeops.model.simplify.fold import allowance, fold_constants, fold_values
from edgeops.model.simplify.infer import infer
from edgeops.model.simplify.joins import add_pairs, join_concats, scale_resizes
from edgeops.model.simplify.model import finished, opened
from edgeops.model.simplify.pads import fold_pads, write_pads
from edgeops.model.simplify.propagate import propagate
from edgeops.model.simplify.reshapes import fix_reshapes, join_reshapes
from edgeops.model.simplify.softmaxes import unflatten_softmax
from edgeops.model.simplify.transposes import join_transposes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeops.model.simplify.graph import Graph

_ROUNDS = 4  # of inference: each needs what the one before made known
_LEAST = 13  # the opset from which on operators mean what the passes take them to mean
_TURNS = 8  # of the passes between two inferences
PASSES: tuple[Callable[[Graph], bool], ...] = (
    inline_branches,
    fold_values,
    drop_idle,
    fix_reshapes,
    join_reshapes,
    unflatten_softmax,
    join_transposes,
    join_concats,
    add_pairs,
    scale_resizes,
    skip_expands,
    fix_expands,
    write_defaults,
    write_pads,
    fold_pads,
    fold_affine,
    merge_constants,
    merge_nodes,
    drop_dead,
)


def simplified(model: Any, tensors: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Return the finished model made of one without weights and its constants, and notes.

    ``model`` is used up. Inputs and outputs come back as they were.
    """
    graph = opened(model, tensors)
    if graph.opset < _LEAST:
        write_defaults(graph)
        return finished(graph), (f"not simplified: opset {graph.opset} is too old for it",)
    notes = simplify(graph)
    return finished(graph), notes


def finish(model: Any, tensors: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Return the same without making it smaller: shapes inferred, nodes named."""
    graph = opened(model, tensors)
    write_defaults(graph)
    note = infer(graph)
    return finished(graph), (note,) if note else ()


def simplify(graph: Graph) -> tuple[str, ...]:
    """Run all passes until nothing changes; return notes about what was left out.

    Shapes are inferred as seldom as possible: once, and again only after something became known
    that ONNX's inference can make more of.
    """
    notes = dict.fromkeys(filter(None, [infer(graph)]))
    left = allowance(graph)
    for _ in range(_ROUNDS):
        changed = False
        for _ in range(_TURNS):
            grown = fold_constants(graph, left)
            left -= max(grown or 0, 0)
            propagate(graph)
            turned = [run(graph) for run in PASSES]
            if grown is None and not any(turned):
                break
            changed = True
        if not changed:
            break
        notes |= dict.fromkeys(filter(None, [infer(graph)]))
    return tuple(notes)
